//! Corruptions of whole parts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Corruption;
use super::evidence::{flip_middle_byte, lacking, link_outside, remove_file, write};
use crate::{Error, World};

/// Applies the corruption if it is one of a file; says whether it was.
pub(super) fn apply(corruption: Corruption, world: &World) -> Result<bool, Error> {
    let part = first_part(world)?;
    match corruption {
        Corruption::OutputEmpty => {
            let output = world.options().outputs.first();
            let parts = output
                .map(|output| world.parts(&output.output_id))
                .unwrap_or_default();
            parts.iter().try_for_each(|part| remove_file(part))?;
        }
        Corruption::PartTruncated => {
            let length = fs::metadata(part)
                .map_err(Error::io("measuring", part))?
                .len();
            let file = fs::File::options().write(true).open(part);
            file.and_then(|file| file.set_len(length / 2))
                .map_err(Error::io("cutting", part))?;
        }
        Corruption::PartGarbage => write(part, &b"this was never Parquet\n".repeat(100))?,
        Corruption::PartZeroBytes => write(part, b"")?,
        Corruption::PartLinkedOutside => link_outside(part, world)?,
        Corruption::PartByteFlipped => flip_middle_byte(part)?,
        Corruption::PartUnlisted => {
            let copy = part.with_file_name("part-999999.parquet");
            fs::copy(part, &copy).map_err(Error::io("copying", part))?;
        }
        Corruption::PartUnreadable => {
            let nobody = fs::Permissions::from_mode(0o000);
            fs::set_permissions(part, nobody).map_err(Error::io("locking", part))?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

pub(super) fn first_part(world: &World) -> Result<&Path, Error> {
    let output = world.options().outputs.first();
    let part = output.and_then(|output| world.parts(&output.output_id).first());
    part.map(AsRef::as_ref).ok_or_else(|| lacking("a part"))
}
