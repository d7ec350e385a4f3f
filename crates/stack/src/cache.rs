//! The cache of fetched programs. An entry is complete or absent: it is filled beside its place and renamed into it,
//! under a lock, so that two processes that want it at once fetch it once.

use std::env;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tokio::task::spawn_blocking;

use crate::error::Error;
use crate::user::OrdinaryUser;

/// Where the cache is for root, whose home the parts' user cannot read.
const ROOT_DIRECTORY: &str = "/var/cache/posthaste";

/// A directory of entries.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// `$POSTHASTE_CACHE`, else the user's cache directory, else the system's, which is also taken when the parts'
    /// user cannot reach the chosen one.
    pub(crate) fn open(user: Option<OrdinaryUser>) -> Result<Self, Error> {
        let variable = |name: &str| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let cache = Self::at(directory(user.is_some(), variable))?;
        match user {
            Some(user) if !user.can_reach(&cache.directory) => Self::at(ROOT_DIRECTORY.into()),
            _ => Ok(cache),
        }
    }

    fn at(directory: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&directory).map_err(Error::io("cannot create", &directory))?;
        Ok(Self { directory })
    }

    /// The entry `name`, or the right to fill it. Waits while another fills any entry.
    pub(crate) async fn entry(&self, name: &str) -> Result<Entry, Error> {
        let entry = self.directory.join(name);
        if entry.is_dir() {
            return Ok(Entry::Complete(entry));
        }
        // One lock for all entries: Maven's own repository is not made for two fetches at once either.
        let lock = lock(self.directory.join("fetch.lock")).await?;
        if entry.is_dir() {
            return Ok(Entry::Complete(entry));
        }
        let partial = self.directory.join(format!(".{name}.partial"));
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(Error::io("cannot remove", &partial))?;
        }
        fs::create_dir(&partial).map_err(Error::io("cannot create", &partial))?;
        Ok(Entry::Absent(Filling {
            partial,
            entry,
            _lock: lock,
        }))
    }
}

/// What the cache has under a name.
#[derive(Debug)]
pub(crate) enum Entry {
    /// The entry's directory.
    Complete(PathBuf),
    /// Nothing yet.
    Absent(Filling),
}

/// The right to fill one entry. Dropping it leaves the entry absent.
#[derive(Debug)]
pub(crate) struct Filling {
    partial: PathBuf,
    entry: PathBuf,
    _lock: File,
}

impl Filling {
    /// The directory, empty at first, to put the entry's files in.
    pub(crate) fn directory(&self) -> &Path {
        &self.partial
    }

    /// Makes the entry complete.
    pub(crate) fn complete(self) -> Result<PathBuf, Error> {
        make_readable(&self.partial)?;
        fs::rename(&self.partial, &self.entry).map_err(Error::io("cannot complete", &self.entry))?;
        Ok(self.entry)
    }
}

fn directory(is_root: bool, variable: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    if let Some(chosen) = variable("POSTHASTE_CACHE") {
        return chosen;
    }
    let home = variable("HOME").filter(|_| !is_root);
    match home {
        None => ROOT_DIRECTORY.into(),
        Some(home) if cfg!(target_os = "macos") => home.join("Library/Caches/posthaste"),
        Some(home) => variable("XDG_CACHE_HOME")
            .unwrap_or_else(|| home.join(".cache"))
            .join("posthaste"),
    }
}

async fn lock(path: PathBuf) -> Result<File, Error> {
    spawn_blocking(move || {
        let file = File::create(&path).map_err(Error::io("cannot create", &path))?;
        file.lock().map_err(Error::io("cannot lock", &path))?;
        Ok(file)
    })
    .await
    .expect("locking does not panic")
}

/// Lets everybody read the entry, whatever the umask was: the parts may run as another user.
fn make_readable(path: &Path) -> Result<(), Error> {
    let failed = || Error::io("cannot make readable", path);
    let metadata = fs::symlink_metadata(path).map_err(failed())?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    let passable = if metadata.is_dir() || mode & 0o100 != 0 {
        0o555
    } else {
        0o444
    };
    fs::set_permissions(path, Permissions::from_mode(mode | passable)).map_err(failed())?;
    if metadata.is_dir() {
        for child in fs::read_dir(path).map_err(failed())? {
            make_readable(&child.map_err(failed())?.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_the_chosen_one_then_the_homes_then_the_systems() {
        let variables = |name: &str| match name {
            "HOME" => Some(PathBuf::from("/home/a")),
            "XDG_CACHE_HOME" => Some(PathBuf::from("/x")),
            _ => None,
        };
        assert_eq!(directory(true, |_| Some("/chosen".into())), Path::new("/chosen"));
        assert_eq!(directory(true, variables), Path::new(ROOT_DIRECTORY));
        assert_eq!(directory(false, |_| None), Path::new(ROOT_DIRECTORY));
        if cfg!(target_os = "linux") {
            assert_eq!(directory(false, variables), Path::new("/x/posthaste"));
        }
    }

    #[tokio::test]
    async fn an_entry_that_was_not_completed_is_absent_and_starts_empty_again() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path().into()).unwrap();
        let Entry::Absent(filling) = cache.entry("a").await.unwrap() else {
            panic!("nothing has filled it")
        };
        fs::write(filling.directory().join("half"), "").unwrap();
        drop(filling);
        let Entry::Absent(filling) = cache.entry("a").await.unwrap() else {
            panic!("it was not completed")
        };
        assert!(!filling.directory().join("half").exists());
        fs::write(filling.directory().join("whole"), "").unwrap();
        let entry = filling.complete().unwrap();
        assert!(entry.join("whole").exists());
        assert!(matches!(cache.entry("a").await.unwrap(), Entry::Complete(path) if path == entry));
    }

    #[tokio::test]
    async fn of_two_that_want_an_entry_at_once_one_fills_it_and_the_other_waits() {
        let root = tempfile::tempdir().unwrap();
        let cache = Cache::at(root.path().into()).unwrap();
        let want = async || match cache.entry("a").await.unwrap() {
            Entry::Complete(_) => 0,
            Entry::Absent(filling) => {
                tokio::task::yield_now().await;
                filling.complete().unwrap();
                1
            }
        };
        let (first, second) = tokio::join!(want(), want());
        assert_eq!(first + second, 1);
    }
}
