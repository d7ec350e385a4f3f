//! The ordinary user that the parts run as when this process is root: Postgres refuses root, and nothing here needs it.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use crate::error::Error;

/// In order of preference: Postgres' own user exists where a package installed it.
const NAMES: [&str; 2] = ["postgres", "nobody"];

/// A user to run the parts as.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OrdinaryUser {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl OrdinaryUser {
    /// The user to change to, or `None` when this process is not root and stays who it is.
    pub(crate) fn to_run_as() -> Result<Option<Self>, Error> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let user = NAMES.iter().find_map(|name| {
            Some(Self {
                uid: id("-u", name)?,
                gid: id("-g", name)?,
            })
        });
        user.map(Some).ok_or(Error::NoOrdinaryUser)
    }

    /// Whether this user may pass through every directory on the way to `path`, and through `path` itself.
    pub(crate) fn can_reach(self, path: &Path) -> bool {
        path.ancestors()
            .filter_map(|directory| fs::metadata(directory).ok())
            .all(|metadata| {
                let shift = match (metadata.uid() == self.uid, metadata.gid() == self.gid) {
                    (true, _) => 6,
                    (false, true) => 3,
                    (false, false) => 0,
                };
                (metadata.mode() >> shift) & 0o1 == 0o1
            })
    }

    /// Gives `path` (not what is in it) to this user.
    pub(crate) fn own(self, path: &Path) -> Result<(), Error> {
        chown(path, Some(self.uid), Some(self.gid)).map_err(Error::io("cannot change the owner of", path))
    }
}

fn id(option: &str, name: &str) -> Option<u32> {
    let output = Command::new("id").args([option, name]).output().ok()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_private_directory_of_another_is_out_of_reach() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        fs::create_dir(&inner).unwrap();
        let stranger = OrdinaryUser {
            uid: u32::MAX - 7,
            gid: u32::MAX - 7,
        };
        fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert!(!stranger.can_reach(&inner));
        fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(stranger.can_reach(&inner));
    }
}
