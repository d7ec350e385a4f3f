//! The files of one stack: who holds the directory, where its data really is, and what may be wiped.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::options::Part;
use crate::process;
use crate::progress::{Progress, Step};
use crate::user::OrdinaryUser;

/// Says that a directory was made by this crate, so that it may be wiped.
const MARKER: &str = "made-by-posthaste-stack";
const LOCK: &str = "stack.lock";
/// Where the data is when the parts' user cannot reach the chosen directory.
const ROOT_DIRECTORY: &str = "/var/lib/posthaste";
/// A socket's path holds 104 bytes on macOS and 108 on Linux; `/.s.PGSQL.65535` and the end take 16 of them.
const SOCKET_DIRECTORY_BYTES_MAX: usize = 88;

/// A data directory, held by this process for as long as the value lives.
#[derive(Debug)]
pub(crate) struct DataDir {
    given: PathBuf,
    stack: PathBuf,
    socket_directory: PathBuf,
    pub(crate) user: Option<OrdinaryUser>,
    /// Released by the system with the process, however that ends.
    _lock: File,
}

impl DataDir {
    /// Takes hold of `given`, ends what an earlier stack left running in it, and wipes its data when `fresh`.
    pub(crate) async fn open(
        given: &Path,
        fresh: bool,
        user: Option<OrdinaryUser>,
        progress: &dyn Progress,
    ) -> Result<Self, Error> {
        fs::create_dir_all(given).map_err(Error::io("cannot create", given))?;
        let given = given.canonicalize().map_err(Error::io("cannot find", given))?;
        let lock = hold(&given)?;
        let stack = place(&given, user, progress)?;
        if !is_empty(&stack)? && !stack.join(MARKER).exists() {
            return Err(Error::NotOurs { path: stack });
        }
        for part in [Part::Connect, Part::Registry, Part::Kafka, Part::Postgres] {
            process::end_leftover(&pid_file(&stack, part), part).await;
        }
        if fresh {
            wipe(&stack)?;
        }
        prepare(&stack, user)?;
        let socket_directory = socket_directory(&stack, user)?;
        Ok(Self {
            given,
            stack,
            socket_directory,
            user,
            _lock: lock,
        })
    }

    /// A file or directory of the stack.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.stack.join(name)
    }

    pub(crate) fn log(&self, part: Part) -> PathBuf {
        self.stack.join("logs").join(part.slug()).with_extension("log")
    }

    pub(crate) fn pid_file(&self, part: Part) -> PathBuf {
        pid_file(&self.stack, part)
    }

    /// Where Postgres' Unix socket is: always short enough for one.
    pub(crate) fn socket_directory(&self) -> &Path {
        &self.socket_directory
    }

    /// An empty directory that the parts' user owns, to build in what is then renamed to `name`.
    pub(crate) fn staging(&self, name: &str) -> Result<PathBuf, Error> {
        let staging = self.stack.join(format!("{name}.new"));
        if staging.exists() {
            fs::remove_dir_all(&staging).map_err(Error::io("cannot remove", &staging))?;
        }
        create_owned(&staging, self.user, 0o700)?;
        Ok(staging)
    }

    /// Puts what was built in `staging` in its place, at once.
    pub(crate) fn complete(&self, staging: &Path, name: &str) -> Result<(), Error> {
        let place = self.stack.join(name);
        fs::rename(staging, &place).map_err(Error::io("cannot complete", &place))
    }

    /// Removes everything, the given directory included. Only for a temporary stack whose parts have ended.
    pub(crate) fn remove(&self) {
        for path in [&self.socket_directory, &self.stack, &self.given] {
            if path.exists()
                && let Err(error) = fs::remove_dir_all(path)
            {
                tracing::warn!(path = %path.display(), %error, "a temporary directory stays behind");
            }
        }
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        if !self.socket_directory.starts_with(&self.stack) {
            // Fails, as it should, while a socket is still in it.
            let _in_use = fs::remove_dir(&self.socket_directory);
        }
    }
}

/// Whether a stack held `given` and its process is gone. `None` when there is no telling.
pub(crate) fn is_abandoned(given: &Path) -> Option<bool> {
    let mut file = File::open(given.join(LOCK)).ok()?;
    let mut holder = String::new();
    file.read_to_string(&mut holder).ok()?;
    // One that is just being taken says nothing yet, and must not find us in its way.
    (!holder.is_empty()).then(|| file.try_lock().is_ok())
}

fn hold(given: &Path) -> Result<File, Error> {
    let path = given.join(LOCK);
    let failed = || Error::io("cannot lock", &path);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(failed())?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(failed())?;
            return Err(Error::InUse {
                data_dir: given.to_owned(),
                pid: pid.trim().to_owned(),
            });
        }
        Err(TryLockError::Error(source)) => return Err(failed()(source)),
    }
    file.set_len(0).map_err(failed())?;
    writeln!(file, "{}", std::process::id()).map_err(failed())?;
    Ok(file)
}

/// The directory that holds the data: in `given`, or where a link in `given` leads.
fn place(given: &Path, user: Option<OrdinaryUser>, progress: &dyn Progress) -> Result<PathBuf, Error> {
    let link = given.join("stack");
    if user.is_none_or(|user| user.can_reach(given)) {
        return Ok(link);
    }
    let real = Path::new(ROOT_DIRECTORY).join(format!("{:016x}", fnv1a(given.as_os_str().as_bytes())));
    fs::create_dir_all(&real).map_err(Error::io("cannot create", &real))?;
    if !link.is_symlink() {
        symlink(&real, &link).map_err(Error::io("cannot link", &link))?;
    }
    let text = format!(
        "only root can reach {}: the data is in {}, and the parts run as an ordinary user",
        given.display(),
        real.display()
    );
    progress.step(&Step::Note { text });
    Ok(real)
}

fn is_empty(directory: &Path) -> Result<bool, Error> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(_) if !directory.exists() => Ok(true),
        Err(source) => Err(Error::io("cannot read", directory)(source)),
    }
}

fn wipe(stack: &Path) -> Result<(), Error> {
    if !stack.join(MARKER).exists() {
        return Ok(());
    }
    for entry in fs::read_dir(stack)
        .map_err(Error::io("cannot read", stack))?
        .flatten()
    {
        let path = entry.path();
        // The marker stays, so that a wipe that is cut short can be repeated.
        let removed = match path {
            ref path if path.ends_with(MARKER) => Ok(()),
            ref path if path.is_dir() && !path.is_symlink() => fs::remove_dir_all(path),
            ref path => fs::remove_file(path),
        };
        removed.map_err(Error::io("cannot remove", &path))?;
    }
    Ok(())
}

fn prepare(stack: &Path, user: Option<OrdinaryUser>) -> Result<(), Error> {
    create_owned(stack, user, 0o755)?;
    let marker = stack.join(MARKER);
    fs::write(
        &marker,
        "This directory holds a local Postgres and Kafka. It may be removed while they do not run.\n",
    )
    .map_err(Error::io("cannot write", &marker))?;
    create_owned(&stack.join("logs"), user, 0o755)?;
    create_owned(&stack.join("run"), user, 0o700)
}

fn socket_directory(stack: &Path, user: Option<OrdinaryUser>) -> Result<PathBuf, Error> {
    let near = stack.join("run");
    if near.as_os_str().len() <= SOCKET_DIRECTORY_BYTES_MAX {
        return Ok(near);
    }
    let path = PathBuf::from(format!(
        "/tmp/posthaste-{:016x}",
        fnv1a(stack.as_os_str().as_bytes())
    ));
    if !path.exists() {
        create_owned(&path, user, 0o700)?;
    }
    // Whoever made it first could otherwise put a Postgres of their own there.
    let owner = fs::symlink_metadata(&path).map_err(Error::io("cannot read", &path))?;
    let expected = user.map_or_else(|| rustix::process::geteuid().as_raw(), |user| user.uid);
    if owner.is_dir() && owner.uid() == expected {
        Ok(path)
    } else {
        Err(Error::NotOurs { path })
    }
}

fn create_owned(path: &Path, user: Option<OrdinaryUser>, mode: u32) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::io("cannot create", path))?;
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(Error::io("cannot protect", path))?;
    user.map_or(Ok(()), |user| user.own(path))
}

fn pid_file(stack: &Path, part: Part) -> PathBuf {
    stack.join("run").join(part.slug()).with_extension("pid")
}

/// FNV-1a: names a path in few characters, and alike in every build.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    async fn open(path: &Path, fresh: bool) -> Result<DataDir, Error> {
        DataDir::open(path, fresh, None, &Silent).await
    }

    #[tokio::test]
    async fn a_directory_is_held_by_one_and_names_the_holder_to_the_other() {
        let given = tempfile::tempdir().unwrap();
        let first = open(given.path(), false).await.unwrap();
        assert_eq!(is_abandoned(given.path()), Some(false));
        let error = open(given.path(), false).await.unwrap_err();
        assert!(matches!(error, Error::InUse { pid, .. } if pid == std::process::id().to_string()));
        drop(first);
        assert_eq!(is_abandoned(given.path()), Some(true));
        open(given.path(), false).await.unwrap();
    }

    #[tokio::test]
    async fn fresh_wipes_what_is_ours_and_nothing_else() {
        let given = tempfile::tempdir().unwrap();
        fs::write(given.path().join("notes"), "mine").unwrap();
        let directory = open(given.path(), false).await.unwrap();
        fs::create_dir(directory.path("kafka")).unwrap();
        drop(directory);
        let directory = open(given.path(), true).await.unwrap();
        assert!(!directory.path("kafka").exists());
        assert!(given.path().join("notes").exists());
    }

    #[tokio::test]
    async fn a_directory_that_another_made_is_left_alone() {
        let given = tempfile::tempdir().unwrap();
        fs::create_dir(given.path().join("stack")).unwrap();
        fs::write(given.path().join("stack/precious"), "").unwrap();
        for fresh in [false, true] {
            assert!(matches!(
                open(given.path(), fresh).await,
                Err(Error::NotOurs { .. })
            ));
        }
        assert!(given.path().join("stack/precious").exists());
    }

    #[tokio::test]
    async fn the_socket_fits_however_deep_the_data_is() {
        let given = tempfile::tempdir().unwrap();
        let deep = given.path().join("d".repeat(100));
        let directory = open(&deep, false).await.unwrap();
        assert!(directory.socket_directory().as_os_str().len() <= SOCKET_DIRECTORY_BYTES_MAX);
        let socket_directory = directory.socket_directory().to_owned();
        drop(directory);
        assert!(!socket_directory.exists());
    }
}
