//! What a start reports while it runs. The events are closed; how they look is the caller's business.

use std::path::PathBuf;
use std::time::Duration;

/// One thing that happened while a stack was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A program that is installed here, or an entry of the cache, will be used.
    Found {
        /// Its name, as a reader knows it: `Postgres`, `Java`.
        what: &'static str,
        /// Its version.
        version: String,
        /// Where it is.
        path: PathBuf,
    },
    /// Something that is not here yet is being fetched; it is kept in the cache.
    Fetching {
        /// Its name and version.
        what: String,
    },
    /// A part's process was started.
    Starting {
        /// The part's name.
        what: &'static str,
    },
    /// A part answers.
    Ready {
        /// The part's name.
        what: &'static str,
        /// Where it answers: `127.0.0.1:9092`.
        address: String,
        /// From its process's start until it answered.
        took: Duration,
    },
    /// Something the user should know.
    Note {
        /// One sentence.
        text: String,
    },
}

/// Receives the steps of a start, from several tasks at once.
pub trait Progress: Send + Sync {
    /// Takes one step. Must not block.
    fn step(&self, step: &Step);
}

/// Drops every step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _step: &Step) {}
}
