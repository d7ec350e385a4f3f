//! Broken bytes end in an error, never in a panic or a large allocation.

use posthaste_schema::{DecodeError, SchemaId, TASK_EVENT, TaskEvent, TaskRequested, WriterSchemas};
use proptest::prelude::*;

use crate::support::{ID, event, event_writers, request, request_writers};

#[test]
fn every_truncation_and_anything_left_over_is_refused() {
    let frame = event().encode(ID);
    for len in 0..frame.len() {
        assert!(
            TaskEvent::decode(&frame[..len], &event_writers()).is_err(),
            "{len} bytes"
        );
    }
    let longer = [&frame[..], &[0]].concat();
    assert!(matches!(
        TaskEvent::decode(&longer, &event_writers()),
        Err(DecodeError::Malformed(_))
    ));
}

#[test]
fn another_frame_an_unknown_schema_and_another_record_are_told_apart() {
    let frame = request().encode(ID);
    let decode = |frame: &[u8], writers: &WriterSchemas| TaskRequested::decode(frame, writers).unwrap_err();
    assert!(matches!(
        decode(b"{}", &request_writers()),
        DecodeError::NotFramed
    ));
    assert!(matches!(
        decode(&frame, &WriterSchemas::new()),
        DecodeError::UnknownSchema(SchemaId(7))
    ));
    assert!(matches!(
        decode(&frame, &event_writers()),
        DecodeError::OtherRecord { .. }
    ));
    let writers = WriterSchemas::new();
    writers
        .add(ID, r#"{"type":"record","name":"Stranger","fields":[]}"#)
        .unwrap();
    assert!(matches!(
        decode(&frame, &writers),
        DecodeError::OtherRecord { .. }
    ));
    assert!(writers.add(ID, "not a schema").is_err());
}

#[test]
fn clones_share_what_they_know() {
    let writers = WriterSchemas::new();
    let clone = writers.clone();
    assert!(!clone.knows(ID));
    writers.add(ID, TASK_EVENT.avsc).unwrap();
    assert!(clone.knows(ID));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(body: Vec<u8>) {
        let frame = [&[0, 0, 0, 0, 7], &body[..]].concat();
        let _ = TaskEvent::decode(&frame, &event_writers());
        let _ = TaskRequested::decode(&frame, &request_writers());
    }

    #[test]
    fn one_changed_byte_is_survived(at: prop::sample::Index, to: u8) {
        let mut frame = event().encode(ID);
        let at = at.index(frame.len());
        frame[at] = to;
        let _ = TaskEvent::decode(&frame, &event_writers());
    }
}
