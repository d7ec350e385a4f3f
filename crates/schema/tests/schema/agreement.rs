//! Our hand-written encoding and Avro's own, byte for byte.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::writer::datum::GenericDatumWriter;
use posthaste_schema::{TASK_EVENT, TASK_REQUESTED, TaskEvent, TaskRequested};
use proptest::prelude::*;

use crate::support::{ID, any_event, any_request, event, event_writers, request, request_writers};

/// Decodes the body with the library and encodes what it understood again.
fn by_library(schema: &Schema, frame: &[u8]) -> Vec<u8> {
    let mut body = &frame[5..];
    let value = GenericDatumReader::builder(schema)
        .build()
        .unwrap()
        .read_value(&mut body)
        .unwrap();
    assert!(body.is_empty(), "the library reads the whole body");
    assert!(value.validate(schema));
    GenericDatumWriter::builder(schema)
        .build()
        .unwrap()
        .write_value_to_vec(value)
        .unwrap()
}

#[test]
fn a_frame_is_a_zero_byte_and_the_id_big_endian() {
    assert_eq!(request().encode(ID)[..5], [0, 0, 0, 0, 7]);
    assert_eq!(posthaste_schema::frame_id(&event().encode(ID)).unwrap(), ID);
}

#[test]
fn a_task_encodes_as_its_request_does() {
    let request = request();
    let task = posthaste_types::Task {
        id: request.task_id,
        tenant: request.tenant.clone(),
        task_type: request.task_type.clone(),
        queue: request.queue.clone(),
        key: request.key.clone(),
        channel: request.channel.clone(),
        payload: request.payload.clone(),
        priority: request.priority,
        not_before: request.not_before,
        deadline: request.deadline,
        timeout_ms: request.timeout_ms,
        retry: request.retry,
        tags: request.tags.clone(),
        traceparent: request.traceparent.clone(),
        state: posthaste_types::TaskState::Init,
        run: request.run,
        attempt: 0,
        version: 1,
        worker: None,
        progress: None,
        result: None,
        error: None,
        created_at: request.created_at,
        started_at: None,
        finished_at: None,
    };
    assert_eq!(TaskRequested::of(&task), request);
    assert_eq!(TaskRequested::encode_task(&task, ID), request.encode(ID));
}

proptest! {
    #[test]
    fn requests_agree_with_the_library_and_read_back(request in any_request()) {
        let schema = Schema::parse_str(TASK_REQUESTED.avsc).unwrap();
        let frame = request.encode(ID);
        prop_assert_eq!(&by_library(&schema, &frame), &frame[5..]);
        prop_assert_eq!(TaskRequested::decode(&frame, &request_writers()).unwrap(), request);
    }

    #[test]
    fn events_agree_with_the_library_and_read_back(event in any_event()) {
        let schema = Schema::parse_str(TASK_EVENT.avsc).unwrap();
        let frame = event.encode(ID);
        prop_assert_eq!(&by_library(&schema, &frame), &frame[5..]);
        prop_assert_eq!(TaskEvent::decode(&frame, &event_writers()).unwrap(), event);
    }
}
