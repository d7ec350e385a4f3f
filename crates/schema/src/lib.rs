#![doc = include_str!("../README.md")]

mod datum;
mod error;
mod event;
mod fit;
mod frame;
mod json;
mod request;
mod text;
mod writers;

pub use error::DecodeError;
pub use event::TaskEvent;
pub use frame::{SchemaId, frame_id};
pub use json::{JsonEncoder, JsonError};
pub use request::TaskRequested;
pub use text::{SCHEMAS, SchemaText, TASK_EVENT, TASK_REQUESTED};
pub use writers::WriterSchemas;
