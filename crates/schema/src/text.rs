//! The texts of our schemas, as they are registered.

use std::fmt::Write as _;
use std::sync::LazyLock;

use apache_avro::Schema;
use sha2::{Digest as _, Sha256};

/// One of our schemas.
#[derive(Debug, Clone, Copy)]
pub struct SchemaText {
    /// The record's name without its namespace.
    pub name: &'static str,
    /// The schema's JSON text.
    pub avsc: &'static str,
}

/// The record on `tasks.<queue>`.
pub const TASK_REQUESTED: SchemaText = SchemaText {
    name: "TaskRequested",
    avsc: include_str!("../../../schemas/TaskRequested.avsc"),
};

/// The record on `results`.
pub const TASK_EVENT: SchemaText = SchemaText {
    name: "TaskEvent",
    avsc: include_str!("../../../schemas/TaskEvent.avsc"),
};

/// All of them.
pub const SCHEMAS: &[SchemaText] = &[TASK_REQUESTED, TASK_EVENT];

impl SchemaText {
    /// SHA-256 of the text in hex: what the store compares to tell whether this version's schema was registered.
    pub fn fingerprint(&self) -> String {
        Sha256::digest(self.avsc)
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
    }
}

pub(crate) static TASK_REQUESTED_SCHEMA: LazyLock<Schema> = LazyLock::new(|| parse(TASK_REQUESTED));
pub(crate) static TASK_EVENT_SCHEMA: LazyLock<Schema> = LazyLock::new(|| parse(TASK_EVENT));

fn parse(text: SchemaText) -> Schema {
    Schema::parse_str(text.avsc).expect("our own schemas parse: a test does it")
}
