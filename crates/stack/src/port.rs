//! Chooses ports and holds them against every other stack on this machine. What is not a stack can still take one
//! before its part listens: who starts the part tries again then.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::options::{Part, Ports};

/// The locks of all stacks of all users, a file for each port in use. Not in `$TMPDIR`, which users do not share.
const LOCKS: &str = "/tmp/posthaste-ports";
/// Everybody may add files and remove their own.
const LOCKS_MODE: u32 = 0o1777;
/// How often a lock file may vanish while it is being taken.
const LOCK_ATTEMPT_COUNT_MAX: u32 = 8;
/// How many free ports may turn out to be held by stacks that do not listen on them yet.
const FREE_ATTEMPT_COUNT_MAX: u32 = 32;

/// A port that no other stack takes for as long as the value lives.
#[derive(Debug)]
pub(crate) struct HeldPort {
    number: u16,
    lock: PathBuf,
    /// Released by the system with the process, however that ends.
    file: File,
}

impl HeldPort {
    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

impl Drop for HeldPort {
    fn drop(&mut self) {
        // While it is still locked: whoever has it open already sees then that it is no longer in its place. Not what
        // another put there after a cleaner of old files had come by.
        if is_at(&self.file, &self.lock).unwrap_or(false) {
            // One that another user made, and a killed stack left, is that user's to remove, and serves as well.
            let _of_another = fs::remove_file(&self.lock);
        }
    }
}

/// The port that `part` shall listen on.
pub(crate) fn choose(ports: Ports, part: Part) -> Result<HeldPort, Error> {
    let (port, is_fixed) = match ports {
        Ports::Free => return free(),
        Ports::Preferred(set) => (set.of(part), false),
        Ports::Fixed(set) => (set.of(part), true),
    };
    match hold(&locks()?, port)?.filter(|_| is_free(port)) {
        Some(held) => Ok(held),
        None if is_fixed => Err(Error::PortTaken { part, port }),
        None => free(),
    }
}

/// A port that nobody listens on.
pub(crate) fn free() -> Result<HeldPort, Error> {
    let failed = || Error::io("cannot find a free port on", "127.0.0.1");
    let locks = locks()?;
    for _ in 0..FREE_ATTEMPT_COUNT_MAX {
        // It keeps others away until the lock does.
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed())?;
        let port = listener.local_addr().map_err(failed())?.port();
        if let Some(held) = hold(&locks, port)? {
            return Ok(held);
        }
    }
    Err(failed()(io::ErrorKind::AddrInUse.into()))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The directory of the locks, made when it is missing.
fn locks() -> Result<PathBuf, Error> {
    let directory = Path::new(LOCKS);
    match fs::create_dir(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(Error::io("cannot create", directory)(error));
        }
        _ => {}
    }
    let failed = || Error::io("cannot share", directory);
    let mode = fs::metadata(directory).map_err(failed())?.mode();
    if mode & 0o7777 != LOCKS_MODE {
        // The umask took part of it, also where the stack that made it was killed before it came to this line.
        fs::set_permissions(directory, Permissions::from_mode(LOCKS_MODE)).map_err(failed())?;
    }
    Ok(directory.to_owned())
}

/// Takes hold of `port`, unless another stack has it.
fn hold(locks: &Path, port: u16) -> Result<Option<HeldPort>, Error> {
    let lock = locks.join(format!("{port}.lock"));
    let failed = || Error::io("cannot lock", &lock);
    for _ in 0..LOCK_ATTEMPT_COUNT_MAX {
        let file = match open(&lock) {
            Ok(file) => file,
            // Another stack is making it at this moment.
            Err(error) if is_being_made(&error) => continue,
            Err(error) => return Err(failed()(error)),
        };
        match file.try_lock() {
            Ok(()) if is_at(&file, &lock).map_err(failed())? => {
                return Ok(Some(HeldPort {
                    number: port,
                    lock,
                    file,
                }));
            }
            // Its last holder removed it between our opening and our locking: the lock of a lost file keeps nobody away.
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed()(error)),
        }
    }
    Ok(None)
}

/// Opens the file for reading, which is all that a lock takes, or makes it. `O_CREAT` is only for a new file: Linux refuses
/// it for that of another user in a directory like this one (`fs.protected_regular`).
fn open(lock: &Path) -> io::Result<File> {
    match File::open(lock) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let file = OpenOptions::new().write(true).create_new(true).open(lock)?;
            file.set_permissions(Permissions::from_mode(0o444))?;
            Ok(file)
        }
        opened => opened,
    }
}

/// It came to be after we missed it, or may not be read yet.
fn is_being_made(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::AlreadyExists | io::ErrorKind::PermissionDenied
    )
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let opened = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (opened.dev(), opened.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::PortSet;

    fn all(port: u16) -> PortSet {
        PortSet {
            postgres: port,
            kafka: port,
            registry: port,
        }
    }

    fn assert_is_taken(port: u16) {
        assert_ne!(
            choose(Ports::Preferred(all(port)), Part::Kafka).unwrap().number(),
            port
        );
        let error = choose(Ports::Fixed(all(port)), Part::Kafka).unwrap_err();
        assert!(matches!(error, Error::PortTaken { part: Part::Kafka, port: named } if named == port));
    }

    #[test]
    fn a_port_that_something_listens_on_is_an_error_when_fixed_and_replaced_when_preferred() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        assert_is_taken(listener.local_addr().unwrap().port());
    }

    #[test]
    fn a_port_that_another_stack_holds_is_taken_although_nothing_listens_on_it_yet() {
        let held = free().unwrap();
        assert!(is_free(held.number()));
        assert_is_taken(held.number());
    }

    #[test]
    fn a_port_is_held_by_one_at_a_time_and_leaves_no_file() {
        let locks = tempfile::tempdir().unwrap();
        let first = hold(locks.path(), 9092).unwrap().unwrap();
        assert!(hold(locks.path(), 9092).unwrap().is_none());
        drop(first);
        assert_eq!(fs::read_dir(locks.path()).unwrap().count(), 0);
        assert!(hold(locks.path(), 9092).unwrap().is_some());
    }

    #[test]
    fn what_a_killed_stack_left_is_taken_over() {
        let locks = tempfile::tempdir().unwrap();
        fs::write(locks.path().join("9092.lock"), "").unwrap();
        let held = hold(locks.path(), 9092).unwrap().unwrap();
        assert!(hold(locks.path(), 9092).unwrap().is_none());
        drop(held);
    }

    #[test]
    fn a_file_that_was_replaced_is_not_the_one_in_its_place() {
        let locks = tempfile::tempdir().unwrap();
        let lock = locks.path().join("9092.lock");
        let file = open(&lock).unwrap();
        assert!(is_at(&file, &lock).unwrap());
        fs::remove_file(&lock).unwrap();
        assert!(!is_at(&file, &lock).unwrap());
        let _newer = open(&lock).unwrap();
        assert!(!is_at(&file, &lock).unwrap());
    }
}
