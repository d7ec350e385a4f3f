//! Gathers frames for one write: a single one is passed on as it is, several are joined.

use bytes::{Bytes, BytesMut};

/// Frames on their way to a connection.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    single: Option<Bytes>,
    joined: BytesMut,
    frame_count: u64,
}

impl Chunk {
    /// Adds an event's frame.
    pub(crate) fn push(&mut self, frame: Bytes) {
        self.frame_count += 1;
        self.push_part(frame);
    }

    /// Adds a part of a frame; its last part is to be added by [`Self::push`].
    pub(crate) fn push_part(&mut self, part: Bytes) {
        if self.is_empty() {
            self.single = Some(part);
            return;
        }
        if let Some(single) = self.single.take() {
            self.joined.extend_from_slice(&single);
        }
        self.joined.extend_from_slice(&part);
    }

    /// Whether it holds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.single.is_none() && self.joined.is_empty()
    }

    /// Bytes that it holds.
    pub(crate) fn len(&self) -> usize {
        self.single.as_ref().map_or(self.joined.len(), Bytes::len)
    }

    /// Takes everything out: the bytes and how many events they hold.
    pub(crate) fn take(&mut self) -> (Bytes, u64) {
        let frame_count = std::mem::take(&mut self.frame_count);
        let bytes = self.single.take().unwrap_or_else(|| self.joined.split().freeze());
        (bytes, frame_count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_frame_is_shared_and_several_are_joined_in_order() {
        let frame = Bytes::from("one".to_owned());
        let mut chunk = Chunk::default();
        chunk.push(frame.clone());
        let (bytes, count) = chunk.take();
        assert_eq!((bytes.as_ptr(), count), (frame.as_ptr(), 1));
        for text in ["a", "b", "c"] {
            chunk.push(Bytes::from_static(text.as_bytes()));
        }
        assert_eq!(chunk.len(), 3);
        assert_eq!(chunk.take(), (Bytes::from_static(b"abc"), 3));
        assert!(chunk.is_empty());
    }
}
