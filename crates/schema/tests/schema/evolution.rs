//! Old readers and new data, new readers and old data, by a made-up second version of our schemas.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema_compatibility::SchemaCompatibility;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use posthaste_schema::{DecodeError, TASK_EVENT, TASK_REQUESTED, TaskEvent, TaskRequested};

use crate::support::{ID, event, request, writers};

const REGION: &str = r#", {"name": "region", "type": "string", "default": "here", "doc": "Made up."}
  ]
}"#;

/// The schema with one more field at the end, and one more kind of event where it has kinds.
fn second_version(avsc: &str) -> String {
    let text = avsc.trim_end();
    let fields = text
        .strip_suffix('}')
        .unwrap()
        .trim_end()
        .strip_suffix(']')
        .unwrap()
        .trim_end();
    format!("{fields}{REGION}").replace(r#""EXPIRED"],"#, r#""EXPIRED", "ARCHIVED"],"#)
}

/// A first version's frame as a second version would have written it.
fn rewritten(frame: &[u8], avsc: &str, change: impl FnOnce(&mut Vec<(String, Value)>)) -> Vec<u8> {
    let (old, new) = (
        Schema::parse_str(avsc).unwrap(),
        Schema::parse_str(&second_version(avsc)).unwrap(),
    );
    let reader = GenericDatumReader::builder(&old)
        .reader_schema(&new)
        .build()
        .unwrap();
    let Value::Record(mut fields) = reader.read_value(&mut &frame[5..]).unwrap() else {
        panic!("a record")
    };
    change(&mut fields);
    let body = GenericDatumWriter::builder(&new)
        .build()
        .unwrap()
        .write_value_to_vec(Value::Record(fields))
        .unwrap();
    [&frame[..5], &body].concat()
}

fn set(fields: &mut [(String, Value)], name: &str, value: Value) {
    fields.iter_mut().find(|(field, _)| field == name).unwrap().1 = value;
}

#[test]
fn the_made_up_version_is_backward_compatible() {
    for text in [TASK_REQUESTED.avsc, TASK_EVENT.avsc] {
        let (old, new) = (
            Schema::parse_str(text).unwrap(),
            Schema::parse_str(&second_version(text)).unwrap(),
        );
        SchemaCompatibility::can_read(&old, &new).unwrap();
        SchemaCompatibility::can_read(&new, &old).unwrap();
    }
}

#[test]
fn an_old_reader_skips_a_field_that_a_newer_writer_added() {
    let to = |fields: &mut Vec<_>| set(fields, "region", Value::String("elsewhere".into()));
    let frame = rewritten(&request().encode(ID), TASK_REQUESTED.avsc, to);
    let known = writers(&second_version(TASK_REQUESTED.avsc));
    assert_eq!(TaskRequested::decode(&frame, &known).unwrap(), request());
    let frame = rewritten(&event().encode(ID), TASK_EVENT.avsc, |_| {});
    let known = writers(&second_version(TASK_EVENT.avsc));
    assert_eq!(TaskEvent::decode(&frame, &known).unwrap(), event());
}

#[test]
fn an_old_reader_tells_a_newer_kind_from_a_broken_record() {
    let to = |fields: &mut Vec<_>| set(fields, "kind", Value::Enum(8, "ARCHIVED".into()));
    let frame = rewritten(&event().encode(ID), TASK_EVENT.avsc, to);
    let known = writers(&second_version(TASK_EVENT.avsc));
    assert!(matches!(
        TaskEvent::decode(&frame, &known),
        Err(DecodeError::Newer("kind"))
    ));
}

#[test]
fn a_new_reader_takes_the_default_of_a_field_that_an_older_writer_lacks() {
    // The writer is a first version that lacked what has a default today.
    let older = TASK_REQUESTED.avsc.replace(
        r#"{"name": "priority", "type": "int", "default": 5, "doc": "0 to 9, higher first inside a partition."},"#,
        "",
    );
    assert_ne!(older, TASK_REQUESTED.avsc);
    let (schema, present) = (
        Schema::parse_str(&older).unwrap(),
        Schema::parse_str(TASK_REQUESTED.avsc).unwrap(),
    );
    let reader = GenericDatumReader::builder(&present)
        .reader_schema(&schema)
        .build()
        .unwrap();
    let frame = request().encode(ID);
    let value = reader.read_value(&mut &frame[5..]).unwrap();
    let body = GenericDatumWriter::builder(&schema)
        .build()
        .unwrap()
        .write_value_to_vec(value)
        .unwrap();
    let frame = [&frame[..5], &body].concat();
    let expected = TaskRequested {
        priority: 5,
        ..request()
    };
    assert_eq!(TaskRequested::decode(&frame, &writers(&older)).unwrap(), expected);
}

#[test]
fn a_schema_that_differs_in_documentation_alone_is_the_present_one() {
    let other_words = TASK_EVENT.avsc.replace("Ordering key.", "The key of the order.");
    assert_ne!(other_words, TASK_EVENT.avsc);
    assert_eq!(
        TaskEvent::decode(&event().encode(ID), &writers(&other_words)).unwrap(),
        event()
    );
}
