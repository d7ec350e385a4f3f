//! Server-Sent Events (HTML standard, section 9.2) as bytes, built once and shared between subscribers.

use bytes::Bytes;
use serde::Serialize;

use crate::cursor::Cursor;

/// What a stream sends when nothing else is to be sent.
pub(crate) const HEARTBEAT: &str = ": heartbeat\n\n";

/// An event's frame: the `id` line, and all that follows it, which is the same whatever the id.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    whole: Bytes,
    id_line_len: usize,
}

impl Frame {
    /// Encodes once. `data` must serialise to one JSON value.
    pub(crate) fn encode<T: Serialize>(id: &Cursor, event: &str, data: &T) -> Self {
        let mut text = String::with_capacity(768);
        text.push_str("id: ");
        id.write_to(&mut text);
        text.push('\n');
        let id_line_len = text.len();
        push_event(&mut text, event, data);
        Self {
            whole: Bytes::from(text),
            id_line_len,
        }
    }

    /// Wholly, with the id it was encoded with.
    pub(crate) fn whole(&self) -> &Bytes {
        &self.whole
    }

    /// Without its id line, to go behind another.
    pub(crate) fn after_id(&self) -> Bytes {
        self.whole.slice(self.id_line_len..)
    }

    /// The cursor it was encoded with.
    pub(crate) fn cursor(&self) -> Cursor {
        let id = &self.whole["id: ".len()..self.id_line_len - 1];
        let text = std::str::from_utf8(id).expect("the frame was made from text");
        text.parse().expect("the id line was written from a cursor")
    }

    /// Bytes that it holds.
    pub(crate) fn len(&self) -> usize {
        self.whole.len()
    }
}

/// Appends an `id` line. `id` is one of our own and holds no line break.
pub(crate) fn push_id(text: &mut String, id: &str) {
    debug_assert!(!id.contains(['\r', '\n', '\0']));
    text.push_str("id: ");
    text.push_str(id);
    text.push('\n');
}

/// Appends the `event` and `data` lines and the empty line that ends a frame.
pub(crate) fn push_event<T: Serialize>(text: &mut String, event: &str, data: &T) {
    text.push_str("event: ");
    text.push_str(event);
    text.push_str("\ndata: ");
    text.push_str(&one_line_json(data));
    text.push_str("\n\n");
}

/// JSON without line breaks. Raw values keep the white space that their author wrote; between JSON's tokens a line
/// break means what a space means, and inside its strings there is none.
fn one_line_json<T: Serialize>(data: &T) -> String {
    let json = serde_json::to_string(data).expect("our own shapes always serialise");
    if json.contains(['\r', '\n']) {
        json.replace(['\r', '\n'], " ")
    } else {
        json
    }
}

/// How a stream opens: how long to wait before a reconnect, spread so that many clients do not come back at once, and
/// the id to come back with even when no event came.
pub(crate) fn opening(id: Option<&str>) -> Bytes {
    let wait_ms: u32 = rand::random_range(500..=1500);
    let mut text = format!("retry: {wait_ms}\n");
    if let Some(id) = id {
        push_id(&mut text, id);
    }
    text.push('\n');
    Bytes::from(text)
}

/// A heartbeat; the id, where there is one, tells the client how far it has come without an event for it.
pub(crate) fn heartbeat(id: Option<&str>) -> Bytes {
    let Some(id) = id else {
        return Bytes::from_static(HEARTBEAT.as_bytes());
    };
    let mut text = String::from(": heartbeat\n");
    push_id(&mut text, id);
    text.push('\n');
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    #[test]
    fn a_frame_has_one_line_for_each_field_whatever_white_space_the_json_holds() {
        let data = RawValue::from_string("{\"a\":\r\n [1,\n\t2],\r\"b\":\"x\\ny\"}".to_owned()).unwrap();
        let id = Cursor::new(vec![5]);
        let frame = Frame::encode(&id, "task.done", &data);
        let text = std::str::from_utf8(frame.whole()).unwrap();
        let json = "{\"a\":   [1, \t2], \"b\":\"x\\ny\"}";
        assert_eq!(text, format!("id: {id}\nevent: task.done\ndata: {json}\n\n"));
        assert_eq!(frame.after_id(), format!("event: task.done\ndata: {json}\n\n"));
        assert_eq!(frame.cursor(), id);
    }

    #[test]
    fn an_opening_sets_the_wait_and_the_id_but_is_no_event() {
        let text = String::from_utf8(opening(Some("abc")).to_vec()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].strip_prefix("retry: ").unwrap().parse::<u32>().is_ok());
        assert_eq!(lines[1..], ["id: abc", ""]);
    }
}
