//! Whether stream views are read although nothing proves their bytes.

use oracle_store::{OutputId, Posture, StreamView, WorldStore, has_view};

use crate::error::{Error, ReasonCode};

/// Whether the bytes of stream views are trusted on the word of their receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewTrust {
    /// Their receipts are enough: local posture, or the operator says so.
    Receipts,
    /// Something would have to prove them, and nothing does.
    Proof,
}

impl ViewTrust {
    /// What a posture asks for, where the operator does or does not trust views.
    pub fn of(posture: Posture, operator_trusts: bool) -> Self {
        match posture {
            Posture::Local => Self::Receipts,
            Posture::Strict if operator_trusts => Self::Receipts,
            Posture::Strict => Self::Proof,
        }
    }

    /// Refuses a view that is there and may not be trusted. One that is not there is for
    /// [`StreamView::open`] to refuse.
    ///
    /// # Errors
    /// `STREAM_VIEW_UNPROVEN`; `ORACLE_READ_FAILED`.
    pub async fn check(self, store: &WorldStore, output: &OutputId) -> Result<(), Error> {
        let is_refused =
            self == Self::Proof && has_view(store, output).await.map_err(Error::oracle)?;
        if !is_refused {
            return Ok(());
        }
        let what = format!(
            "Strict posture reads proven bytes, and nothing proves those of the stream view of \
             {output}"
        );
        let folder = StreamView::folder_of(output);
        let error = Error::new(ReasonCode::StreamViewUnproven, what);
        Err(error.object(store.full_name(&folder)))
    }
}
