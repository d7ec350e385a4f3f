#![doc = include_str!("../README.md")]

mod cache;
mod command;
mod connect;
mod data_dir;
mod debezium;
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
mod secure;
mod stack;
mod start;
mod temporary;
#[cfg(feature = "tls")]
mod tls;
mod token;
mod tools;
mod user;

pub use connect::{Connect, ConnectOptions};
pub use debezium::{DebeziumPlaces, DebeziumTuning};
pub use error::{Error, Missing};
pub use options::{Part, PortSet, Ports, StackOptions};
pub use progress::{Progress, Silent, Step};
pub use secure::Secure;
pub use stack::Stack;
pub use temporary::{temporary, temporary_with};
#[cfg(feature = "tls")]
pub use tls::{Authority, Issued, TlsFront};
