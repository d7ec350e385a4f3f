//! Reads rows of an outbox table: which of its columns mean what, by its layout.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use posthaste_types::EventId;

use crate::Error;
use crate::layout::{Layout, Part};
use crate::pgoutput::{Column, Columns, Relation};
use crate::value::Kind;

/// What a column means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Key,
    Kind,
    Payload,
    Tenant,
    Traceparent,
    CreatedAt,
}

/// A column that is read.
#[derive(Debug, Clone)]
struct Reader {
    field: Option<Field>,
    kind: Kind,
    /// Its places among the parts of the topic's name.
    topic_parts: Vec<usize>,
    /// The header that it goes to.
    header: Option<Arc<str>>,
}

/// How to read the rows of one table.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// `None` for columns that mean nothing.
    readers: Vec<Option<Reader>>,
    topic: Vec<Part>,
    topics: Vec<String>,
    is_id_uuid: bool,
}

/// Optional columns, the same in every table.
const OPTIONAL: [(&str, Field); 3] = [
    ("tenant", Field::Tenant),
    ("traceparent", Field::Traceparent),
    ("created_at", Field::CreatedAt),
];

impl Shape {
    /// Finds the columns by their names.
    ///
    /// # Errors
    /// One that is needed is missing, or is of a type that is not understood.
    pub(crate) fn of(relation: &Relation, layout: &Layout) -> Result<Self, Error> {
        let names = &layout.columns;
        let needed = [
            (&names.id, Field::Id),
            (&names.key, Field::Key),
            (&names.kind, Field::Kind),
            (&names.payload, Field::Payload),
        ];
        let parts = layout.topic.iter().filter_map(|part| match part {
            Part::Column(name) => Some(name),
            Part::Text(_) => None,
        });
        let all = needed.iter().map(|(name, _)| *name);
        for name in all.chain(layout.headers.values()).chain(parts) {
            if !relation.columns.iter().any(|column| column.name == *name) {
                let Layout { schema, table, .. } = layout;
                return Err(Error::Outbox(format!(
                    "column `{name}` of `{schema}.{table}` is missing"
                )));
            }
        }
        let mut shape = Self {
            readers: Vec::new(),
            topic: layout.topic.clone(),
            topics: layout.topics.clone(),
            is_id_uuid: false,
        };
        for column in &relation.columns {
            let needed = needed.iter().find(|(name, _)| **name == column.name);
            let optional = OPTIONAL.iter().find(|(name, _)| *name == column.name);
            let field = needed
                .map(|(_, field)| *field)
                .or(optional.map(|(_, field)| *field));
            let kind = Kind::of(column.type_oid);
            // A time of another type is only not measured.
            let field = field.filter(|field| *field != Field::CreatedAt || kind == Some(Kind::Time));
            let is_part = |part: &Part| matches!(part, Part::Column(name) if *name == column.name);
            let topic_parts: Vec<usize> = (0..layout.topic.len())
                .filter(|index| is_part(&layout.topic[*index]))
                .collect();
            let header = layout.headers.iter().find(|(_, name)| **name == column.name);
            let header = header.map(|(header, _)| header.as_str().into());
            if field.is_none() && topic_parts.is_empty() && header.is_none() {
                shape.readers.push(None);
                continue;
            }
            let kind = kind.ok_or_else(|| {
                let (name, oid) = (&column.name, column.type_oid);
                Error::Outbox(format!(
                    "column `{name}` is of a type (oid {oid}) that is not understood: make it a text"
                ))
            })?;
            shape.is_id_uuid |= field == Some(Field::Id) && kind == Kind::Uuid;
            shape.readers.push(Some(Reader {
                field,
                kind,
                topic_parts,
                header,
            }));
        }
        Ok(shape)
    }

    /// Reads one row.
    ///
    /// # Errors
    /// The stream does not keep to the table's description.
    pub(crate) fn row(&self, columns: Columns) -> Result<Row, Error> {
        let mut row = Row {
            is_id_uuid: self.is_id_uuid,
            ..Row::default()
        };
        // One column alone is the topic as a rule, and is then not copied.
        let is_composed = self.topic.len() != 1;
        let mut parts = vec![Bytes::new(); if is_composed { self.topic.len() } else { 0 }];
        for (index, column) in columns.enumerate() {
            let Some(Some(reader)) = self.readers.get(index) else {
                column?;
                continue;
            };
            let (value, is_binary) = match column? {
                Column::Binary(value) => (value, true),
                Column::Text(value) => (value, false),
                Column::Null | Column::Unchanged => continue,
            };
            if !reader.topic_parts.is_empty() || reader.header.is_some() {
                let text = reader.kind.text(&value, is_binary)?;
                for part in &reader.topic_parts {
                    match parts.get_mut(*part) {
                        Some(part) => *part = text.clone(),
                        None => row.topic = text.clone(),
                    }
                }
                if let Some(header) = &reader.header {
                    row.headers.push((Arc::clone(header), text));
                }
            }
            match reader.field {
                None => {}
                Some(Field::Id) if self.is_id_uuid => row.id = value,
                Some(Field::Id) => row.id = reader.kind.text(&value, is_binary)?,
                Some(Field::Key) => row.key = reader.kind.text(&value, is_binary)?,
                Some(Field::Kind) => row.kind = reader.kind.text(&value, is_binary)?,
                Some(Field::Payload) => {
                    row.payload = reader.kind.text(&value, is_binary)?;
                    row.is_json = matches!(reader.kind, Kind::Json | Kind::Jsonb);
                }
                Some(Field::Tenant) => row.tenant = Some(reader.kind.text(&value, is_binary)?),
                Some(Field::Traceparent) => row.traceparent = Some(reader.kind.text(&value, is_binary)?),
                Some(Field::CreatedAt) => row.created_at_us = Kind::unix_us(&value),
            }
        }
        if is_composed {
            row.topic = self.compose(&parts);
        } else if let Some(Part::Text(text)) = self.topic.first() {
            row.topic = Bytes::copy_from_slice(text.as_bytes());
        }
        let is_allowed = |topic: &String| topic.as_bytes() == &row.topic[..];
        row.is_misled = !self.topics.is_empty() && !self.topics.iter().any(is_allowed);
        Ok(row)
    }

    fn compose(&self, columns: &[Bytes]) -> Bytes {
        let mut topic = Vec::new();
        for (part, column) in self.topic.iter().zip(columns) {
            match part {
                Part::Text(text) => topic.extend_from_slice(text.as_bytes()),
                Part::Column(_) => topic.extend_from_slice(column),
            }
        }
        topic.into()
    }
}

/// One row of the outbox: slices of the message that it came in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) topic: Bytes,
    /// The outbox may not write to this topic.
    pub(crate) is_misled: bool,
    pub(crate) key: Bytes,
    pub(crate) kind: Bytes,
    pub(crate) payload: Bytes,
    /// The payload is of a JSON type.
    pub(crate) is_json: bool,
    pub(crate) tenant: Option<Bytes>,
    pub(crate) traceparent: Option<Bytes>,
    /// Further headers.
    pub(crate) headers: Vec<(Arc<str>, Bytes)>,
    /// Microseconds since 1970.
    pub(crate) created_at_us: Option<i64>,
    id: Bytes,
    is_id_uuid: bool,
}

impl Row {
    /// Writes the event's id as text: a UUID as our typed id, anything else as it is.
    pub(crate) fn write_id(&self, out: &mut Vec<u8>) {
        out.clear();
        match <[u8; 16]>::try_from(&self.id[..]) {
            Ok(bytes) if self.is_id_uuid => {
                let mut text = String::with_capacity(32);
                let id = EventId::from_uuid(uuid::Uuid::from_bytes(bytes));
                write!(text, "{id}").expect("writing to a string cannot fail");
                out.extend_from_slice(text.as_bytes());
            }
            _ => out.extend_from_slice(&self.id),
        }
    }

    /// Bytes of its record, without what frames them.
    pub(crate) fn byte_count(&self) -> usize {
        let headers: usize = self
            .headers
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        self.key.len() + self.payload.len() + self.kind.len() + headers
    }
}
