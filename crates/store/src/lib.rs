#![doc = include_str!("../README.md")]

mod claim;
mod complete;
mod error;
mod group;
mod lane;
mod migrate;
mod pool;
mod ranges;
mod schemas;
mod sql;
mod submit;
mod submit_sql;
mod worker_writes;

pub use error::{Error, ErrorKind};
pub use group::GroupOptions;
pub use migrate::{MigrationReport, check_migrated, migrate};
pub use pool::{Store, StoreOptions};
pub use schemas::Schemas;
pub use submit::{Idempotency, NewTask, Submitted, Submitter};
pub use worker_writes::{Claim, Claimed, Completed, Completion, WorkerWrites};
