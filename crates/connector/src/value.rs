//! Values of columns: their binary forms as text.

use bytes::Bytes;

use crate::Error;

/// Microseconds from 1970 to 2000, from where Postgres counts.
const POSTGRES_EPOCH_US: i64 = 946_684_800_000_000;

/// What a type's binary form is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its bytes or its text.
    Plain,
    /// Its text.
    Json,
    /// A version byte and the text.
    Jsonb,
    Uuid,
    /// A number of 2, 4 or 8 bytes.
    Integer,
    Bool,
    /// Microseconds since 2000.
    Time,
}

impl Kind {
    /// By the type's object id (`pg_type.dat`); `None`: not understood.
    pub(crate) const fn of(type_oid: u32) -> Option<Self> {
        Some(match type_oid {
            // bytea, name, text, bpchar, varchar.
            17 | 19 | 25 | 1042 | 1043 => Self::Plain,
            114 => Self::Json,
            3802 => Self::Jsonb,
            2950 => Self::Uuid,
            20 | 21 | 23 => Self::Integer,
            16 => Self::Bool,
            1184 => Self::Time,
            _ => return None,
        })
    }

    /// The value as text, or as the bytes that it is; a time is microseconds since 1970.
    ///
    /// # Errors
    /// It is not of this form.
    pub(crate) fn text(self, value: &Bytes, is_binary: bool) -> Result<Bytes, Error> {
        const MISFIT: Error = Error::Protocol("a value that is not of its column's type");
        if !is_binary {
            return Ok(value.clone());
        }
        Ok(match self {
            Self::Plain | Self::Json => value.clone(),
            Self::Jsonb => value.slice(1.min(value.len())..),
            Self::Uuid => uuid::Uuid::from_slice(value)
                .map_err(|_| MISFIT)?
                .to_string()
                .into(),
            Self::Integer => integer(value).ok_or(MISFIT)?.to_string().into(),
            Self::Bool => Bytes::from_static(if value.first() == Some(&0) {
                b"false"
            } else {
                b"true"
            }),
            Self::Time => Self::unix_us(value).ok_or(MISFIT)?.to_string().into(),
        })
    }

    /// Microseconds since 1970; `None` for a value in text form.
    pub(crate) fn unix_us(value: &[u8]) -> Option<i64> {
        let since_2000 = i64::from_be_bytes(value.try_into().ok()?);
        since_2000.checked_add(POSTGRES_EPOCH_US)
    }
}

fn integer(value: &[u8]) -> Option<i64> {
    Some(match value.len() {
        2 => i16::from_be_bytes(value.try_into().ok()?).into(),
        4 => i32::from_be_bytes(value.try_into().ok()?).into(),
        8 => i64::from_be_bytes(value.try_into().ok()?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_forms_are_told_as_text() {
        for (kind, value, text) in [
            (Kind::Plain, &b"a\xff"[..], &b"a\xff"[..]),
            (Kind::Jsonb, b"\x01{}", b"{}"),
            (Kind::Uuid, &[0x11; 16], b"11111111-1111-1111-1111-111111111111"),
            (Kind::Integer, &[0xff, 0xfe], b"-2"),
            (Kind::Integer, &[0, 0, 0, 7], b"7"),
            (Kind::Bool, &[1], b"true"),
            (Kind::Time, &[0; 8], b"946684800000000"),
        ] {
            assert_eq!(kind.text(&Bytes::copy_from_slice(value), true).unwrap(), text);
            assert_eq!(kind.text(&Bytes::copy_from_slice(value), false).unwrap(), value);
        }
        assert!(Kind::Integer.text(&Bytes::from_static(b"abc"), true).is_err());
    }
}
