#![doc = include_str!("../README.md")]

mod cache;
mod command;
mod data_dir;
mod error;
mod find;
mod kafka;
mod launch;
mod maven;
mod options;
mod port;
mod postgres;
mod probe;
mod process;
mod process_table;
mod progress;
mod registry;
mod stack;
mod start;
mod temporary;
mod token;
mod tools;
mod user;

pub use error::{Error, Missing};
pub use options::{Part, PortSet, Ports, StackOptions};
pub use progress::{Progress, Silent, Step};
pub use stack::Stack;
pub use temporary::temporary;
