#![doc = include_str!("../README.md")]

mod maintenance;
mod options;
mod service;
mod timers;

pub use options::{Error, Options};
pub use service::{Parts, Service};
