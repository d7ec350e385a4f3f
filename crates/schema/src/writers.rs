//! The schemas that wrote the records which are read here, by their ids. It fetches nothing.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use parking_lot::RwLock;

use crate::text::{TASK_EVENT, TASK_EVENT_SCHEMA, TASK_REQUESTED, TASK_REQUESTED_SCHEMA};
use crate::{DecodeError, SchemaId, frame};

/// One of our two records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Requested,
    Event,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Requested => TASK_REQUESTED.name,
            Self::Event => TASK_EVENT.name,
        }
    }

    pub(crate) fn schema(self) -> &'static Schema {
        match self {
            Self::Requested => &TASK_REQUESTED_SCHEMA,
            Self::Event => &TASK_EVENT_SCHEMA,
        }
    }
}

/// Who wrote a record.
enum Writer {
    /// This version's schema, or one that differs only in what leaves no trace in the bytes.
    Present(Kind),
    /// Another version of one of our records, or another record altogether.
    Other(Box<Schema>),
}

/// Known writers' schemas. Our present ones are decoded by hand, others by Avro's rules of resolution.
/// Clones share what they know.
#[derive(Clone, Default)]
pub struct WriterSchemas(Arc<RwLock<HashMap<SchemaId, Arc<Writer>>>>);

impl WriterSchemas {
    /// One that knows no id yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells what schema an id stands for; telling it again changes nothing.
    ///
    /// # Errors
    /// [`DecodeError::Resolve`] when the text is not an Avro schema.
    pub fn add(&self, id: SchemaId, avsc: &str) -> Result<(), DecodeError> {
        let schema = Schema::parse_str(avsc)?;
        let canonical = schema.canonical_form();
        let present = [Kind::Requested, Kind::Event]
            .into_iter()
            .find(|kind| kind.schema().canonical_form() == canonical)
            .map(Writer::Present);
        let writer = present.unwrap_or_else(|| Writer::Other(Box::new(schema)));
        self.0.write().insert(id, Arc::new(writer));
        Ok(())
    }

    /// Whether `id` has been added.
    pub fn knows(&self, id: SchemaId) -> bool {
        self.0.read().contains_key(&id)
    }

    /// The body of `frame` in the present layout of `wanted`.
    pub(crate) fn body<'a>(&self, frame: &'a [u8], wanted: Kind) -> Result<Cow<'a, [u8]>, DecodeError> {
        let (id, body) = frame::split(frame)?;
        let writer = self
            .0
            .read()
            .get(&id)
            .map(Arc::clone)
            .ok_or(DecodeError::UnknownSchema(id))?;
        let other = |found: &str| DecodeError::OtherRecord {
            wanted: wanted.name(),
            found: found.to_owned(),
        };
        match &*writer {
            Writer::Present(kind) if *kind == wanted => Ok(Cow::Borrowed(body)),
            Writer::Present(kind) => Err(other(kind.name())),
            Writer::Other(schema) => match schema.name() {
                Some(name) if name.name() == wanted.name() => resolve(body, schema, wanted).map(Cow::Owned),
                name => Err(other(name.map_or("value without a name", |name| name.name()))),
            },
        }
    }
}

/// Brings a body that another version wrote to the present layout. Rare, hence by way of a generic value.
fn resolve(mut body: &[u8], writer: &Schema, wanted: Kind) -> Result<Vec<u8>, DecodeError> {
    let reader = GenericDatumReader::builder(writer)
        .reader_schema(wanted.schema())
        .build()?;
    let value = reader.read_value(&mut body)?;
    if !body.is_empty() {
        return Err(DecodeError::Malformed("bytes are left over"));
    }
    Ok(GenericDatumWriter::builder(wanted.schema())
        .build()?
        .write_value_to_vec(value)?)
}
