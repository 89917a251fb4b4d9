//! The proof of a plan's data, for the threads that open its parts.

use gates::{DataEvidence, DataVerified};
use oracle_store::Part;
use replay::ProvePart;
use tokio::runtime::Handle;

use crate::Error;

/// Proves each part of a plan before its first row is used.
#[derive(Debug, Clone)]
pub struct DataProof {
    evidence: DataEvidence,
    runtime: Handle,
}

impl DataProof {
    /// Proves parts by what is known of the data, with reads on the runtime of the caller, or else
    /// of the crate `durable`.
    ///
    /// # Errors
    /// `STREAM_INTERNAL` if the system gives no thread.
    pub(crate) fn new(evidence: DataEvidence) -> Result<Self, Error> {
        let runtime = durable::runtime();
        let runtime =
            runtime.map_err(|source| replay::Error::no_thread("Parts cannot be proven", source))?;
        Ok(Self { evidence, runtime })
    }

    /// How the data is proven.
    pub fn verified(&self) -> DataVerified {
        self.evidence.verified()
    }

    /// Hashes a part, where that is asked for, before its first row is used. Blocks; for threads
    /// that drive no runtime.
    ///
    /// # Errors
    /// `DATA_MISMATCH`, `ORACLE_READ_FAILED`.
    pub fn verify_part(&self, part: &Part) -> Result<(), oracle_store::Error> {
        if self.verified() != DataVerified::Sha256 {
            return Ok(());
        }
        self.runtime.block_on(self.evidence.verify_part(part))
    }
}

impl ProvePart for DataProof {
    fn prove(&self, part: &Part) -> Result<(), replay::Error> {
        Ok(self.verify_part(part)?)
    }
}
