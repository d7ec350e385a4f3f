//! Which of a table's columns mean what: Debezium's outbox shape, with our optional columns.

use std::fmt::Write as _;

use bytes::Bytes;
use posthaste_types::EventId;

use crate::Error;
use crate::pgoutput::{Column, Columns, Relation};

/// Object ids of the types that are read in binary form and are not plain bytes or text (`pg_type.dat`).
const UUID_OID: u32 = 2950;
const JSONB_OID: u32 = 3802;
const TIMESTAMPTZ_OID: u32 = 1184;
/// Types whose binary form is their bytes or their text: bytea, text, json, bpchar, varchar.
const PLAIN_OIDS: [u32; 5] = [17, 25, 114, 1042, 1043];
/// Microseconds from 1970 to 2000, from where Postgres counts.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// What a column means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Id,
    Topic,
    Key,
    Kind,
    Payload,
    Tenant,
    Traceparent,
    CreatedAt,
}

impl Field {
    fn of(name: &str) -> Option<Self> {
        Some(match name {
            "id" => Self::Id,
            "aggregatetype" => Self::Topic,
            "aggregateid" => Self::Key,
            "type" => Self::Kind,
            "payload" => Self::Payload,
            "tenant" => Self::Tenant,
            "traceparent" => Self::Traceparent,
            "created_at" => Self::CreatedAt,
            _ => return None,
        })
    }

    const fn is_readable(self, type_oid: u32) -> bool {
        match self {
            Self::Id if type_oid == UUID_OID => true,
            Self::Payload if type_oid == JSONB_OID => true,
            Self::CreatedAt => type_oid == TIMESTAMPTZ_OID,
            _ => {
                let mut index = 0;
                while index < PLAIN_OIDS.len() {
                    if PLAIN_OIDS[index] == type_oid {
                        return true;
                    }
                    index += 1;
                }
                false
            }
        }
    }
}

/// How to read the rows of one table.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    fields: Vec<Option<Field>>,
    is_id_uuid: bool,
    is_payload_jsonb: bool,
}

impl Shape {
    /// Finds the columns by their names.
    ///
    /// # Errors
    /// One that is needed is missing, or is of a type that is not understood.
    pub(crate) fn of(relation: &Relation) -> Result<Self, Error> {
        let mut shape = Self {
            fields: Vec::new(),
            is_id_uuid: false,
            is_payload_jsonb: false,
        };
        for column in &relation.columns {
            let field = Field::of(&column.name).filter(|field| {
                // A time of another type is only not measured.
                *field != Field::CreatedAt || field.is_readable(column.type_oid)
            });
            if let Some(field) = field {
                if !field.is_readable(column.type_oid) {
                    let (name, oid) = (&column.name, column.type_oid);
                    return Err(Error::Outbox(format!(
                        "column `{name}` is of a type (oid {oid}) that is not understood"
                    )));
                }
                shape.is_id_uuid |= field == Field::Id && column.type_oid == UUID_OID;
                shape.is_payload_jsonb |= field == Field::Payload && column.type_oid == JSONB_OID;
            }
            shape.fields.push(field);
        }
        for (field, name) in [
            (Field::Id, "id"),
            (Field::Topic, "aggregatetype"),
            (Field::Key, "aggregateid"),
            (Field::Kind, "type"),
            (Field::Payload, "payload"),
        ] {
            if !shape.fields.contains(&Some(field)) {
                return Err(Error::Outbox(format!("column `{name}` is missing")));
            }
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
        for (index, column) in columns.enumerate() {
            let Some(Some(field)) = self.fields.get(index).copied() else {
                column?;
                continue;
            };
            let (value, is_binary) = match column? {
                Column::Binary(value) => (value, true),
                Column::Text(value) => (value, false),
                Column::Null | Column::Unchanged => continue,
            };
            match field {
                Field::Id => row.id = value,
                Field::Topic => row.topic = value,
                Field::Key => row.key = value,
                Field::Kind => row.kind = value,
                // The binary form of jsonb is a version byte and the text.
                Field::Payload if self.is_payload_jsonb && is_binary => {
                    row.payload = value.slice(1.min(value.len())..)
                }
                Field::Payload => row.payload = value,
                Field::Tenant => row.tenant = Some(value),
                Field::Traceparent => row.traceparent = Some(value),
                Field::CreatedAt => row.created_at_us = timestamp_us(&value),
            }
        }
        Ok(row)
    }
}

/// Microseconds since 1970; `None` for a value in text form.
fn timestamp_us(value: &[u8]) -> Option<i64> {
    let since_2000 = i64::from_be_bytes(value.try_into().ok()?);
    since_2000.checked_add(POSTGRES_EPOCH_US)
}

/// One row of the outbox: slices of the message that it came in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Row {
    pub(crate) topic: Bytes,
    pub(crate) key: Bytes,
    pub(crate) kind: Bytes,
    pub(crate) payload: Bytes,
    pub(crate) tenant: Option<Bytes>,
    pub(crate) traceparent: Option<Bytes>,
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
}
