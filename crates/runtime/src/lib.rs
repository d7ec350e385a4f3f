#![doc = include_str!("../README.md")]

pub mod backoff;
pub mod clock;
pub mod ids;
pub mod metric;
pub mod stopper;

pub use backoff::Backoff;
pub use clock::{Clock, SystemClock};
pub use stopper::Stopper;
