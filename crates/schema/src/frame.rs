//! The Confluent frame: one zero byte, then the schema's id as four bytes, big endian.

use std::fmt;

use crate::DecodeError;

const MAGIC: u8 = 0;
const FRAME_LEN: usize = 5;

/// A schema's id in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SchemaId(pub i32);

impl fmt::Display for SchemaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The id of the schema that wrote a value.
///
/// # Errors
/// [`DecodeError::NotFramed`].
pub fn frame_id(frame: &[u8]) -> Result<SchemaId, DecodeError> {
    split(frame).map(|(id, _)| id)
}

/// The id and the body.
pub(crate) fn split(frame: &[u8]) -> Result<(SchemaId, &[u8]), DecodeError> {
    match frame {
        [MAGIC, a, b, c, d, body @ ..] => Ok((SchemaId(i32::from_be_bytes([*a, *b, *c, *d])), body)),
        _ => Err(DecodeError::NotFramed),
    }
}

/// A buffer that holds the frame, with room for a body of about `body_bytes`.
pub(crate) fn begin(id: SchemaId, body_bytes: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(FRAME_LEN + body_bytes);
    out.push(MAGIC);
    out.extend_from_slice(&id.0.to_be_bytes());
    out
}
