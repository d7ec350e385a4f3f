#![doc = include_str!("../README.md")]

mod http;
mod ledger;
mod options;
mod pace;
mod report;
mod run;
mod scan;
mod send;
mod stream;

pub use options::RoundTrip;
pub use report::{Report, Stage, Summary};
pub use run::round_trip;
