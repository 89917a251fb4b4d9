//! Where the file and object backends keep a key, as the existing producer does:
//! `<root>/<pack_key>/output_id=<id with / as _>/`.

use model::Hex64;

use crate::key::CursorKey;

/// The longest file name that every common file system holds, in bytes.
const MAX_NAME_BYTES: usize = 255;

/// The folder name of an output. An id that does not fit a file name is hashed; the record inside
/// says whose it is either way.
pub(crate) fn folder_name(key: &CursorKey) -> String {
    let name = format!("output_id={}", key.output_id().as_str().replace('/', "_"));
    let fits = name.len() <= MAX_NAME_BYTES
        && !name.contains(|c: char| c.is_control() || matches!(c, '\\' | ':'));
    if fits {
        return name;
    }
    format!(
        "output_id=sha256-{}",
        Hex64::sha256_of(key.output_id().as_str())
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::PackKey;

    fn name_of(output_id: &str) -> String {
        folder_name(&CursorKey::new(PackKey::of_root("r"), output_id).unwrap())
    }

    #[test]
    fn a_plain_id_is_named_as_the_existing_producer_names_it() {
        assert_eq!(
            name_of("s2_event_stream_6B"),
            "output_id=s2_event_stream_6B"
        );
        assert_eq!(name_of("a/b"), "output_id=a_b");
        assert_eq!(name_of("überweisung"), "output_id=überweisung");
    }

    #[test]
    fn an_id_that_fits_no_file_name_is_hashed() {
        for id in ["a\\b", "c:d", "e\nf", &"é".repeat(256)] {
            let name = name_of(id);
            assert!(name.starts_with("output_id=sha256-"), "{name}");
            assert_eq!(name.len(), 81);
        }
    }
}
