//! Why a record's value cannot be read.

use crate::SchemaId;

/// Why a frame cannot be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It does not begin with a Confluent frame.
    #[error("not a Confluent frame: expected a zero byte and a schema id")]
    NotFramed,
    /// Its schema is not known here yet: fetch the text from the registry and add it, then decode again.
    #[error("schema {0} is not known here yet")]
    UnknownSchema(SchemaId),
    /// It is a record of another kind.
    #[error("expected a {wanted}, found a {found}")]
    OtherRecord {
        /// The record's name that was asked for.
        wanted: &'static str,
        /// The name of its schema.
        found: String,
    },
    /// The body does not fit its schema.
    #[error("malformed Avro body: {0}")]
    Malformed(&'static str),
    /// It says something that only a newer version of this program understands; it is not broken.
    #[error("its {0} is one that this version does not know")]
    Newer(&'static str),
    /// Its schema cannot be parsed, or its body cannot be brought to the present schema.
    #[error("cannot be resolved to the present schema")]
    Resolve(#[source] Box<apache_avro::Error>),
}

impl From<apache_avro::Error> for DecodeError {
    fn from(error: apache_avro::Error) -> Self {
        Self::Resolve(Box::new(error))
    }
}
