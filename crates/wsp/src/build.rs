//! What this library was built of.

use std::fmt;

use serde::Serialize;

/// The version of this library, and the commit it was built of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Build {
    /// The version of the crate `wsp`.
    pub version: &'static str,
    /// The hash of the commit, 12 digits of it; `None` in a debug build, and where the source was
    /// neither a git work tree nor an archive that git made.
    pub commit: Option<&'static str>,
    /// The day of the commit, `YYYY-MM-DD`; `None` where the commit is not known.
    pub commit_date: Option<&'static str>,
}

/// What this library was built of.
pub const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    commit: option_env!("WSP_COMMIT"),
    commit_date: option_env!("WSP_COMMIT_DATE"),
};

/// `VERSION (COMMIT DATE)`, or what of it is known.
impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.commit, self.commit_date) {
            (Some(commit), Some(date)) => write!(f, "{} ({commit} {date})", self.version),
            (Some(commit), None) => write!(f, "{} ({commit})", self.version),
            (None, _) => write!(f, "{} (commit unknown)", self.version),
        }
    }
}

#[cfg(test)]
#[path = "../build/commit.rs"]
mod commit;

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;

    fn git(folder: &Path, args: &[&str]) {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@t"];
        let mut command = Command::new("git");
        command.arg("-C").arg(folder).args(identity).args(args);
        assert!(command.output().unwrap().status.success(), "git {args:?}");
    }

    #[test]
    fn a_build_is_shown_with_what_is_known_of_its_commit() {
        let mut build = BUILD;
        (build.commit, build.commit_date) = (Some("0123456789ab"), Some("2026-01-28"));
        let version = build.version;
        assert_eq!(
            build.to_string(),
            format!("{version} (0123456789ab 2026-01-28)")
        );
        build.commit = None;
        assert_eq!(build.to_string(), format!("{version} (commit unknown)"));
    }

    #[test]
    fn an_archive_says_its_commit_and_a_checkout_leaves_it_to_git() {
        let hash = "0123456789abcdef0123456789abcdef01234567";
        let parsed = commit::parse(&format!("{hash} 2026-01-28T09:00:00+01:00\n")).unwrap();
        assert_eq!(
            (&*parsed.hash, parsed.date.as_deref()),
            (&hash[..12], Some("2026-01-28"))
        );
        assert_eq!(commit::parse(&hash[..8]).unwrap().date, None);
        for unusable in [
            "",
            "$Format:%H %cI$",
            "main",
            "0123",
            "0123456789ab yesterday!",
        ] {
            let date = commit::parse(unusable).and_then(|commit| commit.date);
            assert_eq!(date, None, "{unusable}");
        }
        let text = include_str!("../build/commit.txt");
        assert!(
            text.starts_with("$Format:") || commit::parse(text).is_some(),
            "{text}"
        );
    }

    #[test]
    fn only_the_root_of_a_work_tree_is_of_its_commit() {
        let folder = tempfile::tempdir().unwrap();
        let (root, absent) = (folder.path(), folder.path().join("commit.txt"));
        git(root, &["init", "-q"]);
        assert_eq!(
            commit::of_tree(root, &absent),
            None,
            "there is no commit yet"
        );
        git(root, &["commit", "-q", "--allow-empty", "-m", "one"]);
        let found = commit::of_tree(root, &absent).unwrap();
        assert_eq!((found.hash.len(), found.date.unwrap().len()), (12, 10));
        assert!(!commit::watched_files(root).is_empty());
        let unpacked = root.join("tarball");
        std::fs::create_dir(&unpacked).unwrap();
        assert_eq!(commit::of_tree(&unpacked, &absent), None);
        std::fs::write(&absent, "fedcba9876543210 2026-02-03").unwrap();
        assert_eq!(
            commit::of_tree(&unpacked, &absent).unwrap().hash,
            "fedcba987654"
        );
    }
}
