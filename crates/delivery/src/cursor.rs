//! Where a reader stands in the results topic: the next offset of each partition, written as opaque text.
//!
//! Knows nothing of Kafka's present state: whether a cursor can still be served is the reader's business.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use posthaste_types::limits::{CURSOR_LEN_MAX, RESULTS_PARTITION_COUNT_MAX};

/// First byte of the binary form; another layout gets another number.
const VERSION: u8 = 1;
/// Bits of an offset in one byte of its binary form (LEB128).
const VARINT_BITS: u32 = 7;

/// The next offset of each partition, by partition number. A partition past the end stands at 0, so that a cursor
/// stays good when the topic gets more partitions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cursor(Vec<i64>);

/// Why a text is not a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a cursor that this service has given")]
pub(crate) struct InvalidCursor;

impl Cursor {
    /// The cursor with these next offsets, partition 0 first.
    pub(crate) fn new(next_offsets: Vec<i64>) -> Self {
        Self(next_offsets)
    }

    /// The offset of the partition's record that is to be read next.
    pub(crate) fn next_offset(&self, partition: i32) -> i64 {
        usize::try_from(partition)
            .ok()
            .and_then(|index| self.0.get(index))
            .copied()
            .unwrap_or(0)
    }

    /// Partitions that it names.
    pub(crate) fn partition_count(&self) -> usize {
        self.0.len()
    }

    /// Moves a partition forward; never back.
    pub(crate) fn advance(&mut self, partition: i32, next_offset: i64) {
        if next_offset > self.next_offset(partition) {
            self.set(partition, next_offset);
        }
    }

    /// Puts a partition at an offset, also back.
    pub(crate) fn set(&mut self, partition: i32, next_offset: i64) {
        let Ok(index) = usize::try_from(partition) else {
            return;
        };
        if index >= self.0.len() {
            self.0.resize(index + 1, 0);
        }
        self.0[index] = next_offset;
    }

    /// Moves every partition to the farther of the two.
    pub(crate) fn join(&mut self, other: &Self) {
        for (partition, &next_offset) in (0..).zip(&other.0) {
            self.advance(partition, next_offset);
        }
    }

    /// Whether no partition stands before `other`'s.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        (0..)
            .zip(&other.0)
            .all(|(partition, &next_offset)| self.next_offset(partition) >= next_offset)
    }

    /// Takes the other's place without giving up its own memory.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.0.clone_from(&other.0);
    }

    /// Appends the text to a frame that is being built.
    pub(crate) fn write_to(&self, out: &mut String) {
        // Inline for the usual handful of partitions; offsets rarely need more than five bytes.
        let mut binary = Vec::with_capacity(2 + 5 * self.0.len());
        binary.push(VERSION);
        push_varint(&mut binary, self.0.len() as u64);
        for &next_offset in &self.0 {
            push_varint(&mut binary, next_offset.cast_unsigned());
        }
        URL_SAFE_NO_PAD.encode_string(&binary, out);
    }
}

impl PartialEq for Cursor {
    /// Partitions that one does not name stand at 0.
    fn eq(&self, other: &Self) -> bool {
        self.covers(other) && other.covers(self)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        self.write_to(&mut text);
        f.write_str(&text)
    }
}

impl FromStr for Cursor {
    type Err = InvalidCursor;

    /// Strict: exactly what `Display` writes, nothing else.
    fn from_str(text: &str) -> Result<Self, InvalidCursor> {
        if text.len() > CURSOR_LEN_MAX {
            return Err(InvalidCursor);
        }
        let binary = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let (&version, mut rest) = binary.split_first().ok_or(InvalidCursor)?;
        let count = pull_varint(&mut rest)
            .and_then(|count| usize::try_from(count).ok())
            .ok_or(InvalidCursor)?;
        if version != VERSION || count > RESULTS_PARTITION_COUNT_MAX {
            return Err(InvalidCursor);
        }
        let mut next_offsets = Vec::with_capacity(count);
        for _ in 0..count {
            let next_offset = pull_varint(&mut rest).and_then(|value| i64::try_from(value).ok());
            next_offsets.push(next_offset.ok_or(InvalidCursor)?);
        }
        if rest.is_empty() {
            Ok(Self(next_offsets))
        } else {
            Err(InvalidCursor)
        }
    }
}

/// LEB128, as in protocol buffers.
pub(crate) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 1 << VARINT_BITS {
        out.push(value as u8 | 1 << VARINT_BITS);
        value >>= VARINT_BITS;
    }
    out.push(value as u8);
}

/// Takes a varint off the front; `None` when it is cut, longer than needed or above 63 bits.
pub(crate) fn pull_varint(input: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..63).step_by(VARINT_BITS as usize) {
        let (&byte, rest) = input.split_first()?;
        *input = rest;
        value |= u64::from(byte & ((1 << VARINT_BITS) - 1)) << shift;
        if byte < 1 << VARINT_BITS {
            return (byte != 0 || shift == 0).then_some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn offsets() -> impl Strategy<Value = Vec<i64>> {
        proptest::collection::vec(prop_oneof![0..200i64, 0..=i64::MAX], 0..20)
    }

    proptest! {
        #[test]
        fn text_round_trips_and_is_safe_in_a_url_and_a_header(offsets in offsets()) {
            let cursor = Cursor::new(offsets.clone());
            let text = cursor.to_string();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            prop_assert_eq!(text.parse::<Cursor>().unwrap().0, offsets);
        }

        #[test]
        fn whatever_parses_is_written_back_the_same(text in "[A-Za-z0-9_-]{0,40}") {
            if let Ok(cursor) = text.parse::<Cursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }

        #[test]
        fn join_covers_both_and_nothing_beyond(a in offsets(), b in offsets()) {
            let (a, b) = (Cursor::new(a), Cursor::new(b));
            let mut joined = a.clone();
            joined.join(&b);
            prop_assert!(joined.covers(&a) && joined.covers(&b));
            for partition in 0..20 {
                let farther = a.next_offset(partition).max(b.next_offset(partition));
                prop_assert_eq!(joined.next_offset(partition), farther);
            }
        }
    }

    #[test]
    fn the_largest_cursor_stays_within_the_bound() {
        let cursor = Cursor::new(vec![i64::MAX; RESULTS_PARTITION_COUNT_MAX]);
        let text = cursor.to_string();
        assert!(text.len() <= CURSOR_LEN_MAX, "{}", text.len());
        assert_eq!(text.parse(), Ok(cursor));
    }

    #[test]
    fn foreign_cut_and_padded_texts_are_refused() {
        let text = Cursor::new(vec![3, 500]).to_string();
        let longer = format!("{text}AA");
        for text in [
            "",
            "AA",
            "latest",
            "AQ==",
            "Ag",
            "AQH_",
            "AQGAAA",
            &text[..text.len() - 1],
            &longer,
            "é",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(InvalidCursor), "{text}");
        }
    }

    #[test]
    fn a_cursor_from_before_the_topic_grew_equals_one_that_names_the_new_partition_at_its_start() {
        assert_eq!(Cursor::new(vec![7]), Cursor::new(vec![7, 0]));
        assert!(!Cursor::new(vec![7]).covers(&Cursor::new(vec![7, 1])));
    }
}
