//! Parses `text/event-stream` (HTML standard, section 9.2.6) from pieces of any size. Does no I/O.

use crate::Error;

/// A line or an event's data beyond it is an error: what comes from outside is bounded.
const FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;

/// One dispatched event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// The `event` field, or `message`.
    pub event: String,
    /// The last `id` field seen so far on the stream.
    pub id: String,
    /// The `data` fields, joined with line feeds.
    pub data: String,
}

/// The parser's state between two pieces.
#[derive(Debug, Default)]
pub struct Parser {
    buffer: Vec<u8>,
    /// How much of `buffer` has been searched for the end of a line.
    searched: usize,
    event: String,
    data: String,
    /// The last `id` field; it counts once the event that it came with is whole.
    id: String,
    last_id: String,
    retry_ms: Option<u64>,
}

impl Parser {
    /// The `id` that was in force at the end of the last whole event: what to send as `Last-Event-ID`.
    pub fn last_id(&self) -> &str {
        &self.last_id
    }

    /// The last `retry` field, milliseconds.
    pub fn retry_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// Forgets an unfinished event: the connection it came over is gone.
    pub fn reconnect(&mut self) {
        self.buffer.clear();
        self.searched = 0;
        self.event.clear();
        self.data.clear();
        self.last_id.clone_into(&mut self.id);
    }

    /// Takes the next piece and hands each event that it completes to `each`.
    ///
    /// # Errors
    /// [`Error::Unexpected`] when a line is too long or not UTF-8.
    pub fn push(&mut self, piece: &[u8], mut each: impl FnMut(Frame)) -> Result<(), Error> {
        self.buffer.extend_from_slice(piece);
        let buffer = std::mem::take(&mut self.buffer);
        let mut start = 0;
        let mut from = self.searched;
        while let Some(length) = memchr::memchr2(b'\n', b'\r', &buffer[from..]) {
            let end = from + length;
            // A CR at the end of the piece may be half of a CRLF: wait for the next byte.
            let after = match (buffer[end], buffer.get(end + 1)) {
                (b'\r', None) => break,
                (b'\r', Some(b'\n')) => end + 2,
                _ => end + 1,
            };
            let line = std::str::from_utf8(&buffer[start..end])
                .map_err(|_| Error::Unexpected("the stream is not UTF-8".to_owned()))?;
            if let Some(frame) = self.line(line) {
                each(frame);
            }
            (start, from) = (after, after);
        }
        self.buffer = buffer;
        self.buffer.drain(..start);
        // The last byte may be that CR: look at it again.
        self.searched = self.buffer.len().saturating_sub(1);
        if self.buffer.len() + self.data.len() > FRAME_BYTES_MAX {
            return Err(Error::Unexpected(format!(
                "an event of more than {FRAME_BYTES_MAX} bytes"
            )));
        }
        Ok(())
    }

    fn line(&mut self, line: &str) -> Option<Frame> {
        if line.is_empty() {
            return self.dispatch();
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => value.clone_into(&mut self.id),
            "retry" => self.retry_ms = value.parse().ok().or(self.retry_ms),
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Frame> {
        self.id.clone_into(&mut self.last_id);
        let event = std::mem::take(&mut self.event);
        let mut data = std::mem::take(&mut self.data);
        data.pop()?;
        let event = if event.is_empty() {
            "message".to_owned()
        } else {
            event
        };
        Some(Frame {
            event,
            id: self.last_id.clone(),
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pieces: &[&[u8]]) -> Vec<Frame> {
        let mut parser = Parser::default();
        let mut frames = Vec::new();
        for piece in pieces {
            parser.push(piece, |frame| frames.push(frame)).unwrap();
        }
        frames
    }

    fn frame(event: &str, id: &str, data: &str) -> Frame {
        Frame {
            event: event.to_owned(),
            id: id.to_owned(),
            data: data.to_owned(),
        }
    }

    const STREAM: &str = ": hello\nretry: 500\n\nid: 1\nevent: task.done\ndata: {\"a\":\ndata: 1}\n\r\ndata:x\r\rdata\n\nid: 2\n\n";

    fn expected() -> Vec<Frame> {
        vec![
            frame("task.done", "1", "{\"a\":\n1}"),
            frame("message", "1", "x"),
            frame("message", "1", ""),
        ]
    }

    #[test]
    fn every_line_ending_comment_and_field_is_understood() {
        assert_eq!(parse(&[STREAM.as_bytes()]), expected());
    }

    #[test]
    fn events_are_the_same_however_the_bytes_are_cut() {
        for size in 1..STREAM.len() {
            let pieces: Vec<&[u8]> = STREAM.as_bytes().chunks(size).collect();
            assert_eq!(parse(&pieces), expected(), "pieces of {size}");
        }
    }

    #[test]
    fn an_id_without_data_moves_the_cursor_and_half_an_event_is_forgotten_on_reconnect() {
        let mut parser = Parser::default();
        parser
            .push(b"id: 7\n\nid: 8\ndata: half", |_| unreachable!())
            .unwrap();
        assert_eq!(parser.last_id(), "7");
        parser.reconnect();
        let mut frames = Vec::new();
        parser
            .push(b"data: whole\n\n", |frame| frames.push(frame))
            .unwrap();
        assert_eq!(frames, [frame("message", "7", "whole")]);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1024 * 1024];
        assert!((0..9).any(|_| parser.push(&piece, |_| ()).is_err()));
    }
}
