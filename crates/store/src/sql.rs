//! Small helpers of statements: JSON texts as parameters, columns out of rows. It holds no statement.

use std::error::Error as StdError;

use bytes::{BufMut as _, BytesMut};
use tokio_postgres::types::{IsNull, ToSql, Type, to_sql_checked};

/// JSON text as `json` or `jsonb`, without parsing it here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonText<'a>(pub(crate) &'a str);

impl ToSql for JsonText<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        if *ty == Type::JSONB {
            out.put_u8(1); // the version of jsonb's binary form
        }
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        matches!(*ty, Type::JSON | Type::JSONB)
    }

    to_sql_checked!();
}

/// One column of the rows of a batch, as an array parameter.
pub(crate) fn column<'a, R, T>(rows: &[&'a R], value: impl FnMut(&'a R) -> T) -> Vec<T> {
    rows.iter().copied().map(value).collect()
}
