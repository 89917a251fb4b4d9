//! Hex digests as types: a value that exists is well-formed.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

macro_rules! hex_type {
    ($(#[doc = $doc:literal])+ $name:ident, $digits:literal) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        pub struct $name(String);

        impl $name {
            /// Parses a text of exactly as many lowercase hex digits as this type has; `None` for any
            /// other text.
            pub fn parse(text: &str) -> Option<Self> {
                is_lower_hex(text, $digits).then(|| Self(text.to_owned()))
            }

            /// The lowercase hex digits.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| {
                    serde::de::Error::custom(concat!("not ", $digits, " lowercase hex digits"))
                })
            }
        }
    };
}

hex_type! {
    /// 64 lowercase hex digits: a sha256 digest or a world's fingerprint.
    Hex64, 64
}
hex_type! {
    /// The id of one run of the engine: 32 lowercase hex digits.
    EngineRunId, 32
}
hex_type! {
    /// The id of a pack, derived from its manifest's fields: 64 lowercase hex digits.
    PackId, 64
}

impl PackId {
    /// The pack id as a plain digest.
    pub fn digest(&self) -> Hex64 {
        Hex64(self.0.clone())
    }
}

impl From<Hex64> for PackId {
    fn from(digest: Hex64) -> Self {
        Self(digest.0)
    }
}

impl Hex64 {
    /// The SHA-256 digest of some bytes.
    pub fn sha256_of(bytes: impl AsRef<[u8]>) -> Self {
        Self::of_digest(Sha256::digest(bytes).into())
    }

    /// A digest given by its 32 bytes.
    pub fn of_digest(bytes: [u8; 32]) -> Self {
        use fmt::Write as _;
        let mut digits = String::with_capacity(64);
        for byte in bytes {
            write!(digits, "{byte:02x}").expect("writing to a string cannot fail");
        }
        Self(digits)
    }
}

fn is_lower_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lowercase_hex_of_the_exact_length_is_taken() {
        let digits = "0123456789abcdef".repeat(4);
        assert_eq!(Hex64::parse(&digits).unwrap().as_str(), digits);
        assert_eq!(Hex64::parse(&digits.to_uppercase()), None);
        assert_eq!(Hex64::parse(&digits[1..]), None);
        assert_eq!(Hex64::parse(&format!("{digits}0")), None);
        assert_eq!(EngineRunId::parse(&format!("{}g", &digits[..31])), None);
        assert!(EngineRunId::parse(&digits[..32]).is_some());
    }

    #[test]
    fn the_digest_of_nothing_is_the_known_one() {
        assert_eq!(
            Hex64::sha256_of(b"").as_str(),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }
}
