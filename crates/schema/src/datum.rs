//! Avro's binary encoding of the few types that our records use (specification 1.12, "Binary Encoding").
//! It knows no record.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::DecodeError;

/// Index of `null` in our `["null", T]` unions, and of T.
const NULL: i64 = 0;
const SOME: i64 = 1;

pub(crate) fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while zigzag >= 0x80 {
        out.push((zigzag & 0x7f) as u8 | 0x80);
        zigzag >>= 7;
    }
    out.push(zigzag as u8);
}

pub(crate) fn put_int(out: &mut Vec<u8>, value: i32) {
    put_long(out, value.into());
}

pub(crate) fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(value.into());
}

pub(crate) fn put_double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn put_str(out: &mut Vec<u8>, text: &str) {
    put_long(out, text.len() as i64);
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_time(out: &mut Vec<u8>, time: DateTime<Utc>) {
    put_long(out, time.timestamp_micros());
}

pub(crate) fn put_option<T>(out: &mut Vec<u8>, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
    match value {
        None => put_long(out, NULL),
        Some(value) => {
            put_long(out, SOME);
            put(out, value);
        }
    }
}

/// A map as one block; an empty one as no block.
pub(crate) fn put_map(out: &mut Vec<u8>, map: &BTreeMap<String, String>) {
    if !map.is_empty() {
        put_long(out, map.len() as i64);
        for (name, value) in map {
            put_str(out, name);
            put_str(out, value);
        }
    }
    put_long(out, 0);
}

/// What a map takes at most.
pub(crate) fn map_bytes(map: &BTreeMap<String, String>) -> usize {
    map.iter().map(|(name, value)| name.len() + value.len() + 6).sum()
}

/// Reads a body from its front. Every length is checked against what is left before anything is allocated.
pub(crate) struct Body<'a>(&'a [u8]);

type Read<T> = Result<T, DecodeError>;

impl<'a> Body<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self
            .0
            .split_at_checked(len)
            .ok_or(DecodeError::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn long(&mut self) -> Read<i64> {
        let mut zigzag: u64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            zigzag |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((zigzag >> 1).cast_signed() ^ -((zigzag & 1).cast_signed()));
            }
        }
        Err(DecodeError::Malformed("a number is longer than 64 bits"))
    }

    pub(crate) fn int(&mut self) -> Read<i32> {
        i32::try_from(self.long()?).map_err(|_| DecodeError::Malformed("an int is longer than 32 bits"))
    }

    /// Priorities are ints on the wire and small in the program.
    pub(crate) fn priority(&mut self) -> Read<i16> {
        i16::try_from(self.long()?).map_err(|_| DecodeError::Malformed("a priority is out of range"))
    }

    pub(crate) fn bool(&mut self) -> Read<bool> {
        match self.take(1)?[0] {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(DecodeError::Malformed("a boolean is neither 0 nor 1")),
        }
    }

    pub(crate) fn double(&mut self) -> Read<f64> {
        let bytes = self.take(8)?.try_into().expect("eight bytes were taken");
        Ok(f64::from_le_bytes(bytes))
    }

    pub(crate) fn str(&mut self) -> Read<&'a str> {
        let len =
            usize::try_from(self.long()?).map_err(|_| DecodeError::Malformed("a length is negative"))?;
        std::str::from_utf8(self.take(len)?).map_err(|_| DecodeError::Malformed("a string is not UTF-8"))
    }

    pub(crate) fn string(&mut self) -> Read<String> {
        self.str().map(str::to_owned)
    }

    pub(crate) fn time(&mut self) -> Read<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.long()?).ok_or(DecodeError::Malformed("a time is out of range"))
    }

    pub(crate) fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<Option<T>> {
        match self.long()? {
            NULL => Ok(None),
            SOME => read(self).map(Some),
            _ => Err(DecodeError::Malformed("a union has no such branch")),
        }
    }

    /// A map of any number of blocks; a negative count is followed by the block's size in bytes.
    pub(crate) fn map(&mut self) -> Read<BTreeMap<String, String>> {
        let mut map = BTreeMap::new();
        loop {
            let count = self.long()?;
            if count == 0 {
                return Ok(map);
            }
            if count < 0 {
                self.long()?;
            }
            // Each entry takes two bytes at least, so a made-up count ends with the body.
            for _ in 0..count.unsigned_abs() {
                let name = self.string()?;
                map.insert(name, self.string()?);
            }
        }
    }

    /// To be called after the last field.
    pub(crate) const fn end(&self) -> Read<()> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Malformed("bytes are left over"))
        }
    }
}
