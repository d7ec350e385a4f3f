//! JSON as Avro, by a schema that came from the registry. For other people's outboxes; our own records are encoded by hand.

use apache_avro::Schema;
use apache_avro::types::Value as AvroValue;
use apache_avro::writer::datum::GenericDatumWriter;
use serde_json::Value;

use crate::{DecodeError, SchemaId, frame};

/// Why a JSON text does not fit a schema.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON.
    #[error("it is not JSON")]
    NotJson(#[from] serde_json::Error),
    /// A field that the schema does not have would be lost.
    #[error("the schema has no field for `{0}`")]
    Stray(String),
    /// A value is missing or of another type.
    #[error("it does not fit the schema: {0}")]
    Misfit(Box<apache_avro::Error>),
}

/// Encodes JSON by one schema.
#[derive(Debug)]
pub struct JsonEncoder {
    id: SchemaId,
    schema: Schema,
}

impl JsonEncoder {
    /// The schema's id goes into each frame.
    ///
    /// # Errors
    /// [`DecodeError::Resolve`] when the text is not an Avro schema.
    pub fn new(id: SchemaId, avsc: &str) -> Result<Self, DecodeError> {
        let schema = Schema::parse_str(avsc)?;
        Ok(Self { id, schema })
    }

    /// The schema's id.
    pub fn id(&self) -> SchemaId {
        self.id
    }

    /// The frame and the Avro body. Numbers take the schema's type, a text is an enum's symbol or bytes where the schema
    /// wants one, absent fields take their defaults, and a union's branch is the one that fits.
    ///
    /// # Errors
    /// The text does not fit.
    pub fn encode(&self, json: &[u8]) -> Result<Vec<u8>, JsonError> {
        let value: Value = serde_json::from_slice(json)?;
        if let Some(path) = stray(&value, &self.schema) {
            return Err(JsonError::Stray(path));
        }
        let misfit = |error| JsonError::Misfit(Box::new(error));
        let value = AvroValue::try_from(value).and_then(|value| value.resolve(&self.schema));
        let writer = GenericDatumWriter::builder(&self.schema)
            .build()
            .map_err(misfit)?;
        let body = writer
            .write_value_to_vec(value.map_err(misfit)?)
            .map_err(misfit)?;
        let mut out = frame::begin(self.id, body.len());
        out.extend_from_slice(&body);
        Ok(out)
    }
}

/// The first field that the schema has no place for, where that can be told: not inside of unions of several records, nor of
/// named types that are used again.
fn stray(value: &Value, schema: &Schema) -> Option<String> {
    match (value, schema) {
        (Value::Object(fields), Schema::Record(record)) => fields.iter().find_map(|(name, value)| {
            let Some(field) = record.lookup.get(name).map(|index| &record.fields[*index]) else {
                return Some(name.clone());
            };
            stray(value, &field.schema).map(|path| format!("{name}.{path}"))
        }),
        (Value::Object(fields), Schema::Map(map)) => {
            fields.values().find_map(|value| stray(value, &map.types))
        }
        (Value::Array(items), Schema::Array(array)) => {
            items.iter().find_map(|item| stray(item, &array.items))
        }
        (value, Schema::Union(union)) => {
            let mut branches = union.variants().iter().filter(|branch| **branch != Schema::Null);
            match (branches.next(), branches.next()) {
                (Some(only), None) => stray(value, only),
                _ => None,
            }
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use apache_avro::reader::datum::GenericDatumReader;
    use proptest::prelude::*;

    use super::*;

    const AVSC: &str = r#"{"type": "record", "name": "Order", "fields": [
        {"name": "number", "type": "long"},
        {"name": "price", "type": "double"},
        {"name": "note", "type": ["null", "string"], "default": null},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["NEW", "PAID"]}},
        {"name": "lines", "type": {"type": "array", "items": {"type": "record", "name": "Line", "fields": [
            {"name": "article", "type": "string"}, {"name": "count", "type": "int", "default": 1}]}}}
    ]}"#;

    fn read(frame: &[u8]) -> Value {
        let schema = Schema::parse_str(AVSC).unwrap();
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        let value = reader.read_value(&mut &frame[5..]).unwrap();
        value.try_into().unwrap()
    }

    #[test]
    fn what_fits_is_encoded_with_defaults() {
        let encoder = JsonEncoder::new(SchemaId(7), AVSC).unwrap();
        let json = br#"{"number": 4711, "price": 3, "state": "PAID", "lines": [{"article": "a"}, {"article": "b", "count": 2}]}"#;
        let frame = encoder.encode(json).unwrap();
        assert_eq!(frame[..5], [0, 0, 0, 0, 7]);
        assert_eq!(
            read(&frame),
            serde_json::json!({"number": 4711, "price": 3.0, "note": null, "state": "PAID",
                "lines": [{"article": "a", "count": 1}, {"article": "b", "count": 2}]})
        );
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let encoder = JsonEncoder::new(SchemaId(7), AVSC).unwrap();
        for json in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"number": "x", "price": 3, "state": "NEW", "lines": []}"#,
            r#"{"number": 1, "price": 3, "state": "OTHER", "lines": []}"#,
            r#"{"number": 1, "price": 3, "state": "NEW", "lines": [], "more": 1}"#,
            r#"{"number": 1, "price": 3, "state": "NEW", "lines": [{"article": "a", "more": 1}]}"#,
        ] {
            assert!(encoder.encode(json.as_bytes()).is_err(), "{json}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(json: String) {
            let _ = JsonEncoder::new(SchemaId(7), AVSC).unwrap().encode(json.as_bytes());
        }

        #[test]
        fn values_come_back(number: i64, price in -1e15..1e15_f64, note in proptest::option::of(".*")) {
            let json = serde_json::json!({"number": number, "price": price, "note": note, "state": "NEW", "lines": []});
            let frame = JsonEncoder::new(SchemaId(7), AVSC).unwrap().encode(json.to_string().as_bytes()).unwrap();
            prop_assert_eq!(read(&frame), json);
        }
    }
}
