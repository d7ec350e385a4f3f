//! A stack for tests: nothing of it is kept.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::data_dir::{self, DataDir};
use crate::error::Error;
use crate::options::StackOptions;
use crate::progress::Silent;
use crate::stack::Stack;
use crate::user::OrdinaryUser;

const PREFIX: &str = "posthaste-stack-";

/// Starts a stack in a new directory, which is removed when the stack is stopped or dropped. Directories of tests that
/// were killed before they could do so are removed here, by the next one. `TEST_POSTGRES` in the environment chooses the major
/// version of its Postgres.
///
/// # Errors
/// As [`Stack::start`].
pub async fn temporary() -> Result<Stack, Error> {
    temporary_with(|options| options).await
}

/// The same, with the options changed by `change`; their directory is the new one.
///
/// # Errors
/// As [`Stack::start`].
pub async fn temporary_with(change: impl FnOnce(StackOptions) -> StackOptions) -> Result<Stack, Error> {
    let parent = env::temp_dir();
    remove_abandoned(&parent, OrdinaryUser::to_run_as()?).await;
    let directory = tempfile::Builder::new()
        .prefix(PREFIX)
        // The parts may run as another user, who has to pass through.
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(&parent)
        .map_err(Error::io("cannot create a directory in", &parent))?
        .keep();
    // Where this fails the directory stays, with its logs, until the next temporary stack.
    let options = StackOptions {
        postgres_major: wanted_major(),
        ..StackOptions::new(directory)
    };
    Stack::start_with(change(options), true).await
}

/// What whoever runs the tests wants them to run on.
fn wanted_major() -> Option<u32> {
    let wanted = env::var("TEST_POSTGRES").ok()?;
    Some(wanted.parse().expect("TEST_POSTGRES is a major version"))
}

async fn remove_abandoned(parent: &Path, user: Option<OrdinaryUser>) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        let path = entry.path();
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        if ours
            && data_dir::is_abandoned(&path) == Some(true)
            && let Ok(directory) = DataDir::open(&path, false, user, &Silent).await
        {
            directory.remove();
        }
    }
}
