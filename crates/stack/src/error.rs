//! Everything that can go wrong, each in one line that says what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::options::Part;

/// Why a stack could not be started or driven.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program is not installed here.
    #[error(
        "{0} was not found, {why}: install it with `{debian}` (Debian, Ubuntu), `{fedora}` (Fedora) or `{macos}` (macOS)",
        why = .0.why(), debian = .0.debian(), fedora = .0.fedora(), macos = .0.macos()
    )]
    Missing(Missing),

    /// Another stack runs on the same data directory.
    #[error("{} is in use by process {pid}: stop that one, or choose another data directory", data_dir.display())]
    InUse {
        /// The directory that both want.
        data_dir: PathBuf,
        /// The process that holds it.
        pid: String,
    },

    /// There is a directory where the stack's data should go, and this crate did not make it.
    #[error("{} was not made by posthaste and is left alone: choose another data directory", path.display())]
    NotOurs {
        /// The directory.
        path: PathBuf,
    },

    /// The data was written by a major version of Postgres that is not installed.
    #[error(
        "{} was made by Postgres {have}, and Postgres {found} is what there is: install Postgres {have}, or start fresh",
        path.display()
    )]
    PostgresVersion {
        /// The cluster.
        path: PathBuf,
        /// The major version that wrote it.
        have: u32,
        /// The major version that would be started.
        found: u32,
    },

    /// No Postgres of the wanted major version is installed, and none is published for every machine.
    #[error("Postgres {major} is not installed and cannot be fetched: install it, or leave the version open")]
    PostgresUnpublished {
        /// The wanted major version.
        major: u32,
    },

    /// A fixed port is taken.
    #[error(
        "{part} cannot listen on 127.0.0.1:{port}, which is taken: stop what listens there, or choose another port"
    )]
    PortTaken {
        /// The part that wants it.
        part: Part,
        /// The port.
        port: u16,
    },

    /// Kafka's settings cannot name the directory.
    #[error(
        "Kafka cannot keep its log in {}: choose a data directory whose path is plain ASCII without commas or backslashes",
        path.display()
    )]
    KafkaPath {
        /// The log's directory.
        path: PathBuf,
    },

    /// A program that prepares something failed.
    #[error("{program} failed ({status}): {output}")]
    Command {
        /// The program's name.
        program: String,
        /// How it ended.
        status: String,
        /// The end of what it printed.
        output: String,
    },

    /// A part ended by itself before it was ready.
    #[error("{part} ended while it was being started (whole log: {}): {tail}", log.display())]
    Ended {
        /// The part.
        part: Part,
        /// Its log.
        log: PathBuf,
        /// The end of its log.
        tail: String,
    },

    /// A part runs and does not answer.
    #[error("{part} was not ready within {waited_s} s (whole log: {}): {tail}", log.display())]
    NotReady {
        /// The part.
        part: Part,
        /// How long it was given, in seconds.
        waited_s: u64,
        /// Its log.
        log: PathBuf,
        /// The end of its log.
        tail: String,
    },

    /// The part is not run by this stack, because it was given by address.
    #[error("{0} is not run by this stack")]
    NotManaged(Part),

    /// The part is not running: it was killed and not restarted.
    #[error("{0} is not running")]
    NotRunning(Part),

    /// There is no user to run the parts as.
    #[error(
        "Postgres refuses to run as root, and neither the user `postgres` nor `nobody` exists: start as another user"
    )]
    NoOrdinaryUser,

    /// A file or process could not be handled.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done: `cannot create`.
        doing: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl Error {
    /// For `map_err`: says what was being done to what.
    pub(crate) fn io(doing: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

/// A program that the stack needs and that is not installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// A Java runtime, 17 or newer.
    #[error("Java 17 or newer")]
    Java,
    /// Apache Maven.
    #[error("Maven")]
    Maven,
    /// `tar`.
    #[error("tar")]
    Tar,
    /// `xz`, which `tar` needs.
    #[error("xz")]
    Xz,
    /// Postgres, on a machine for which no binaries can be fetched.
    #[error("Postgres 15 or newer")]
    Postgres,
}

impl Missing {
    /// What it is needed for, as a clause: `which runs Kafka`.
    pub fn why(self) -> &'static str {
        match self {
            Self::Java => "which runs Kafka and the schema registry",
            Self::Maven => "which fetches Kafka and the schema registry",
            Self::Tar => "which unpacks what was fetched",
            Self::Xz => "which unpacks the fetched Postgres",
            Self::Postgres => "which keeps the tasks",
        }
    }

    /// The command that installs it on Debian and Ubuntu.
    pub fn debian(self) -> &'static str {
        match self {
            Self::Java => "sudo apt-get install openjdk-17-jre-headless",
            Self::Maven => "sudo apt-get install maven",
            Self::Tar => "sudo apt-get install tar",
            Self::Xz => "sudo apt-get install xz-utils",
            Self::Postgres => "sudo apt-get install postgresql",
        }
    }

    /// The command that installs it on Fedora.
    pub fn fedora(self) -> &'static str {
        match self {
            Self::Java => "sudo dnf install java-latest-openjdk-headless",
            Self::Maven => "sudo dnf install maven",
            Self::Tar => "sudo dnf install tar",
            Self::Xz => "sudo dnf install xz",
            Self::Postgres => "sudo dnf install postgresql-server",
        }
    }

    /// The command that installs it on macOS.
    pub fn macos(self) -> &'static str {
        match self {
            Self::Java => "brew install openjdk@21",
            Self::Maven => "brew install maven",
            Self::Tar => "xcode-select --install",
            Self::Xz => "brew install xz",
            Self::Postgres => "brew install postgresql@17",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_is_one_line_with_its_reason_and_three_commands() {
        for missing in [
            Missing::Java,
            Missing::Maven,
            Missing::Tar,
            Missing::Xz,
            Missing::Postgres,
        ] {
            let text = Error::Missing(missing).to_string();
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.starts_with(&missing.to_string()), "{text}");
            for part in [missing.why(), missing.debian(), missing.fedora(), missing.macos()] {
                assert!(text.contains(part), "{text}");
            }
        }
    }

    #[test]
    fn a_directory_in_use_names_the_process_that_holds_it() {
        let error = Error::InUse {
            data_dir: "/d".into(),
            pid: "42".into(),
        };
        assert_eq!(
            error.to_string(),
            "/d is in use by process 42: stop that one, or choose another data directory"
        );
    }
}
