//! Decodes what pgoutput says of tables and rows (protocol version 1, "Logical Replication Message Formats" of the
//! Postgres manual). Values are slices of the message, never copies. It knows nothing of the outbox.

use bytes::{Buf as _, Bytes};

use crate::Error;

/// A message that matters to an outbox. Updates, deletes, truncates, types and origins do not: they are [`Change::Other`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// Describes a table before its first row, and again whenever it changed.
    Relation(Relation),
    /// A row of the table with this id.
    Insert(u32, Columns),
    /// Of no concern.
    Other,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) id: u32,
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) columns: Vec<ColumnInfo>,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ColumnInfo {
    pub(crate) name: String,
    /// The type's object id.
    pub(crate) type_oid: u32,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Column {
    Null,
    /// A large value that an update left as it was; an insert has none.
    Unchanged,
    Text(Bytes),
    Binary(Bytes),
}

/// A row's values, decoded one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns {
    left: u16,
    data: Bytes,
}

/// Decodes one message.
///
/// # Errors
/// It is cut short or does not keep to the format.
pub(crate) fn decode(mut data: Bytes) -> Result<Change, Error> {
    match get(data.try_get_u8())? {
        b'R' => relation(data).map(Change::Relation),
        b'I' => {
            let relation = get(data.try_get_u32())?;
            if get(data.try_get_u8())? != b'N' {
                return Err(Error::Protocol("an insert without a new row"));
            }
            let left = get(data.try_get_u16())?;
            Ok(Change::Insert(relation, Columns { left, data }))
        }
        _ => Ok(Change::Other),
    }
}

fn relation(mut data: Bytes) -> Result<Relation, Error> {
    let id = get(data.try_get_u32())?;
    let (schema, table) = (name(&mut data)?, name(&mut data)?);
    let _replica_identity = get(data.try_get_u8())?;
    let count = get(data.try_get_u16())?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let _flags = get(data.try_get_u8())?;
        let name = name(&mut data)?;
        let type_oid = get(data.try_get_u32())?;
        let _modifier = get(data.try_get_i32())?;
        columns.push(ColumnInfo { name, type_oid });
    }
    // An empty schema stands for the system catalogue's.
    Ok(Relation {
        id,
        schema,
        table,
        columns,
    })
}

/// A text that ends with a zero byte.
fn name(data: &mut Bytes) -> Result<String, Error> {
    let len = data
        .iter()
        .position(|byte| *byte == 0)
        .ok_or(Error::Protocol("a name without its end"))?;
    let text = data.split_to(len);
    data.advance(1);
    String::from_utf8(text.to_vec()).map_err(|_| Error::Protocol("a name that is not UTF-8"))
}

fn get<T>(value: Result<T, bytes::TryGetError>) -> Result<T, Error> {
    value.map_err(|_| Error::Protocol("a message is cut short"))
}

impl Iterator for Columns {
    type Item = Result<Column, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let column = self.column();
        if column.is_err() {
            self.left = 0;
        }
        Some(column)
    }
}

impl Columns {
    fn column(&mut self) -> Result<Column, Error> {
        match get(self.data.try_get_u8())? {
            b'n' => Ok(Column::Null),
            b'u' => Ok(Column::Unchanged),
            b't' => self.value().map(Column::Text),
            b'b' => self.value().map(Column::Binary),
            _ => Err(Error::Protocol("a value of an unknown kind")),
        }
    }

    fn value(&mut self) -> Result<Bytes, Error> {
        let len = get(self.data.try_get_u32())? as usize;
        if self.data.len() < len {
            return Err(Error::Protocol("a message is cut short"));
        }
        Ok(self.data.split_to(len))
    }
}

#[cfg(test)]
mod tests;
