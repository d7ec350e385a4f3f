#![doc = include_str!("../README.md")]

mod error;
mod pool;

pub use error::{Error, ErrorKind};
pub use pool::{Store, StoreOptions};
