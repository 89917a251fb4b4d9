//! Striking out what names the machine that made a fixture.

use std::fs;
use std::io;
use std::path::Path;

/// Texts of a machine, and what stands in for each: as long, so that what is counted in bytes stays
/// where it is.
#[derive(Debug)]
pub struct Scrub(Vec<(Vec<u8>, Vec<u8>)>);

impl Scrub {
    /// Strikes out the host's name and a folder that fixtures were made in.
    pub fn of(folder: &Path) -> Self {
        let folder = folder.display().to_string();
        let stand_in = |text: &str, with: &str| {
            let with = with.bytes().chain(std::iter::repeat(b'x'));
            (text.as_bytes().to_vec(), with.take(text.len()).collect())
        };
        let mut texts = vec![stand_in(&folder, "/srv/wsp")];
        if let Some(host) = host_name().filter(|host| host.len() > 3) {
            texts.push(stand_in(&host, "wsp-host-"));
        }
        Self(texts)
    }

    /// The bytes without what names the machine.
    pub fn bytes(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        for (from, to) in &self.0 {
            let mut at = 0;
            while let Some(found) = find(&bytes[at..], from) {
                bytes[at + found..at + found + to.len()].copy_from_slice(to);
                at += found + to.len();
            }
        }
        bytes
    }

    /// The text without what names the machine.
    ///
    /// # Panics
    /// Never: texts are replaced by texts.
    pub fn text(&self, text: &str) -> String {
        let bytes = self.bytes(text.as_bytes().to_vec());
        String::from_utf8(bytes).expect("text was replaced by text")
    }

    /// Strikes it out of every file below a folder.
    ///
    /// # Errors
    /// The file system's.
    pub fn tree(&self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                self.tree(&path)?;
            } else {
                fs::write(&path, self.bytes(fs::read(&path)?))?;
            }
        }
        Ok(())
    }
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    bytes.windows(text.len()).position(|window| window == text)
}

/// The name of this machine, as the system's own program tells it.
fn host_name() -> Option<String> {
    let told = std::process::Command::new("uname")
        .arg("-n")
        .output()
        .ok()?;
    Some(String::from_utf8(told.stdout).ok()?.trim().to_owned())
}
