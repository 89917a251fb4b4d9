//! What can go wrong while a world is built or the stand-in gate is started.

use std::path::{Path, PathBuf};

/// The closed set of reasons this crate fails for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReasonCode {
    /// The options contradict each other or the catalogue.
    SandboxOptionsInvalid,
    /// The catalogue or gate map to build against cannot be used.
    SandboxContractInvalid,
    /// A file of the world, or the file of kept envelopes, could not be written or read.
    SandboxIo,
    /// The stand-in gate cannot listen at the address it was given.
    SandboxGateUnbound,
    /// A fault rule cannot be understood.
    SandboxFaultInvalid,
}

impl ReasonCode {
    /// Every code there is.
    pub const ALL: &'static [Self] = &[
        Self::SandboxOptionsInvalid,
        Self::SandboxContractInvalid,
        Self::SandboxIo,
        Self::SandboxGateUnbound,
        Self::SandboxFaultInvalid,
    ];

    /// The stable upper-snake form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SandboxOptionsInvalid => "SANDBOX_OPTIONS_INVALID",
            Self::SandboxContractInvalid => "SANDBOX_CONTRACT_INVALID",
            Self::SandboxIo => "SANDBOX_IO",
            Self::SandboxGateUnbound => "SANDBOX_GATE_UNBOUND",
            Self::SandboxFaultInvalid => "SANDBOX_FAULT_INVALID",
        }
    }
}

/// A failure of the sandbox: what, where, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// See [`ReasonCode::SandboxOptionsInvalid`].
    #[error("the world cannot be built as asked: {0}")]
    OptionsInvalid(String),
    /// See [`ReasonCode::SandboxContractInvalid`].
    #[error("{file} cannot be built against: {detail}")]
    ContractInvalid {
        /// The catalogue or gate map, or the entry in it.
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// See [`ReasonCode::SandboxIo`].
    #[error("{operation} {} failed; check the disk and its permissions", path.display())]
    Io {
        /// What was being done, as a gerund.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// See [`ReasonCode::SandboxGateUnbound`].
    #[error("the stand-in gate cannot listen at {address}; is another one running there?")]
    GateUnbound {
        /// Where it should have listened.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// See [`ReasonCode::SandboxFaultInvalid`].
    #[error("the fault rule '{rule}' is not understood: {detail}")]
    FaultInvalid {
        /// The rule as it was given.
        rule: String,
        /// What is wrong with it.
        detail: String,
    },
}

impl Error {
    /// The stable code of this failure.
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::OptionsInvalid(_) => ReasonCode::SandboxOptionsInvalid,
            Self::ContractInvalid { .. } => ReasonCode::SandboxContractInvalid,
            Self::Io { .. } => ReasonCode::SandboxIo,
            Self::GateUnbound { .. } => ReasonCode::SandboxGateUnbound,
            Self::FaultInvalid { .. } => ReasonCode::SandboxFaultInvalid,
        }
    }

    pub(crate) fn io(
        operation: &'static str,
        path: &Path,
    ) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io {
            operation,
            path,
            source,
        }
    }
}
