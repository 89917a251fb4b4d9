//! Who may produce: the id of the profile, on the list of those allowed.

use std::io::ErrorKind;

use crate::profile::{Producer, Profile, read_text};
use crate::{Error, ReasonCode};

/// The id of a producer that is on the allowlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedProducer(String);

impl AllowedProducer {
    /// The id, as envelopes carry it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A producer that the calling program vouches for.
    pub(crate) fn trusted(producer: &Producer) -> Self {
        Self(producer.as_str().to_owned())
    }

    /// Checks the profile's producer against its allowlist: one id a line, `#`
    /// starts a comment.
    ///
    /// # Errors
    /// `PRODUCER_ID_MISSING`, `PRODUCER_ALLOWLIST_MISSING`,
    /// `PRODUCER_ALLOWLIST_UNREADABLE`, `PRODUCER_ALLOWLIST_EMPTY`,
    /// `PRODUCER_NOT_ALLOWED`.
    pub fn check(profile: &Profile) -> Result<Self, Error> {
        let Some(id) = profile
            .producer
            .producer_id
            .as_deref()
            .map(str::trim)
            .filter(|id| !id.is_empty())
        else {
            return Err(Error::new(
                ReasonCode::ProducerIdMissing,
                "The profile names no producer",
                "Add `producer_id` and `allowlist_ref` to the block `wiring.wsp_producer`.",
            ));
        };
        let Some(reference) = profile.producer.allowlist_ref.as_deref() else {
            return Err(Error::new(
                ReasonCode::ProducerAllowlistMissing,
                "The profile names no producer allowlist",
                "Set `wiring.wsp_producer.allowlist_ref`.",
            ));
        };
        let path = profile.resolve_ref(reference);
        let text = read_text(&path).map_err(|error| {
            let code = match error.kind() {
                ErrorKind::NotFound => ReasonCode::ProducerAllowlistMissing,
                _ => ReasonCode::ProducerAllowlistUnreadable,
            };
            let what = format!("The producer allowlist {} cannot be read", path.display());
            Error::caused(
                code,
                what,
                "Mend the file, or `wiring.wsp_producer.allowlist_ref`.",
                error,
            )
        })?;
        let mut allowed = allowed_ids(&text).peekable();
        if allowed.peek().is_none() {
            return Err(Error::new(
                ReasonCode::ProducerAllowlistEmpty,
                format!("The producer allowlist {} holds no id", path.display()),
                "Write one id a line.",
            ));
        }
        if !allowed.any(|entry| entry == id) {
            return Err(Error::new(
                ReasonCode::ProducerNotAllowed,
                format!(
                    "The producer `{id}` is not on the allowlist {}",
                    path.display()
                ),
                "Have it added, or set another `wiring.wsp_producer.producer_id`.",
            ));
        }
        Ok(Self(id.to_owned()))
    }
}

fn allowed_ids(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(|line| {
            line.split_once('#')
                .map_or(line, |(before, _)| before)
                .trim()
        })
        .filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blank_lines_are_no_ids() {
        let ids: Vec<_> = allowed_ids("# who may\n\n svc:a # the main one\nsvc:b\r\n").collect();
        assert_eq!(ids, ["svc:a", "svc:b"]);
    }
}
