#![doc = include_str!("../README.md")]

pub mod backoff;
mod chain;
pub mod clock;
pub mod config;
pub mod ids;
pub mod metric;
mod nearest;
pub mod stopper;
pub mod telemetry;

pub use backoff::Backoff;
pub use chain::chain;
pub use clock::{Clock, SystemClock};
pub use config::Secret;
pub use nearest::nearest;
pub use stopper::Stopper;
