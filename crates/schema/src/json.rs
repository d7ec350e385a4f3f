//! JSON as Avro, by a schema that came from the registry. For other people's outboxes; our own records are encoded by hand.

use apache_avro::Schema;
use apache_avro::writer::datum::GenericDatumWriter;

use crate::fit::Names;
use crate::{DecodeError, SchemaId, frame};

/// Why a JSON text does not fit a schema. Places are told as `$.lines.0.article`.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON.
    #[error("it is not JSON")]
    NotJson(#[from] serde_json::Error),
    /// A field that the schema does not have would be lost.
    #[error("the schema has no field for `{0}`")]
    Stray(String),
    /// A field without a default is missing.
    #[error("`{0}` is missing")]
    Missing(String),
    /// A value is of another type.
    #[error("`{path}` does not fit the schema: {source}")]
    Misfit {
        /// Where it stands.
        path: String,
        /// What does not fit.
        source: Box<apache_avro::Error>,
    },
    /// A text is none of the symbols of an enum.
    #[error("`{0}` is none of the symbols that the schema has for it")]
    NoSymbol(String),
    /// A value fits none of the types of a union.
    #[error("`{0}` fits none of the types that the schema has for it")]
    NoBranch(String),
    /// Defaults hold themselves without end, or unions hold unions so often that trying all of them has none.
    #[error("the schema allows too much to tell what `{0}` is")]
    Boundless(String),
    /// It fits, and yet cannot be written.
    #[error("it cannot be written: {0}")]
    Unwritten(Box<apache_avro::Error>),
}

impl JsonError {
    /// The same, seen from one level above.
    pub(crate) fn under(mut self, name: &str) -> Self {
        if let Self::Stray(path)
        | Self::Missing(path)
        | Self::Misfit { path, .. }
        | Self::NoSymbol(path)
        | Self::NoBranch(path)
        | Self::Boundless(path) = &mut self
        {
            path.insert_str(1, &format!(".{name}"));
        }
        self
    }
}

/// Encodes JSON by one schema.
#[derive(Debug)]
pub struct JsonEncoder {
    id: SchemaId,
    schema: Schema,
    names: Names,
}

impl JsonEncoder {
    /// The schema's id goes into each frame.
    ///
    /// # Errors
    /// [`DecodeError::Resolve`] when the text is not an Avro schema.
    pub fn new(id: SchemaId, avsc: &str) -> Result<Self, DecodeError> {
        let schema = Schema::parse_str(avsc)?;
        let names = Names::of(&schema)?;
        Ok(Self { id, schema, names })
    }

    /// The schema's id.
    pub fn id(&self) -> SchemaId {
        self.id
    }

    /// The frame and the Avro body. Numbers take the schema's type, a text is an enum's symbol or bytes where the schema
    /// wants one, absent fields take their defaults, and a union's branch is the first that the whole value fits.
    ///
    /// # Errors
    /// The text does not fit.
    pub fn encode(&self, json: &[u8]) -> Result<Vec<u8>, JsonError> {
        let value = self.names.fit(&serde_json::from_slice(json)?, &self.schema)?;
        let unwritten = |error| JsonError::Unwritten(Box::new(error));
        let writer = GenericDatumWriter::builder(&self.schema)
            .build()
            .map_err(unwritten)?;
        let body = writer.write_value_to_vec(value).map_err(unwritten)?;
        let mut out = frame::begin(self.id, body.len());
        out.extend_from_slice(&body);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use apache_avro::reader::datum::GenericDatumReader;
    use proptest::prelude::*;
    use serde_json::Value;

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

    /// A union of records, one of which is named again; and an enum with a default.
    const UNIONS: &str = r#"{"type": "record", "name": "Event", "namespace": "shop", "fields": [
        {"name": "what", "type": [
            {"type": "record", "name": "Opened", "fields": [{"name": "by", "type": "string"}]},
            {"type": "record", "name": "Moved", "fields": [
                {"name": "by", "type": "string"},
                {"name": "to", "type": ["null", "string"], "default": null},
                {"name": "before", "type": ["null", "Moved", "Opened"], "default": null}]}]},
        {"name": "state", "type": {"type": "enum", "name": "State", "symbols": ["OTHER", "NEW"], "default": "OTHER"},
            "default": "NEW"},
        {"name": "first", "type": ["null", "Opened"], "default": null}
    ]}"#;

    fn read_unions(json: &str) -> Result<Value, JsonError> {
        let frame = JsonEncoder::new(SchemaId(7), UNIONS)
            .unwrap()
            .encode(json.as_bytes())?;
        let schema = Schema::parse_str(UNIONS).unwrap();
        let reader = GenericDatumReader::builder(&schema).build().unwrap();
        Ok(reader.read_value(&mut &frame[5..]).unwrap().try_into().unwrap())
    }

    #[test]
    fn of_a_union_of_records_the_one_that_holds_every_field_is_taken() {
        let read = read_unions(
            r#"{"what": {"by": "a", "to": "b", "before": {"by": "c", "to": "d"}}, "first": {"by": "e"}}"#,
        );
        let wanted = serde_json::json!({"what": {"by": "a", "to": "b", "before": {"by": "c", "to": "d", "before": null}},
            "state": "NEW", "first": {"by": "e"}});
        assert_eq!(read.unwrap(), wanted);
        let read = read_unions(r#"{"what": {"by": "a"}, "state": "OTHER"}"#).unwrap();
        assert_eq!(read["what"], serde_json::json!({"by": "a"}));
    }

    #[test]
    fn what_would_be_lost_is_refused_with_its_place_wherever_it_stands() {
        for (json, says) in [
            (r#"{"what": {"by": "a", "more": 1}}"#, "`$.what` fits none"),
            (
                r#"{"what": {"by": "a", "before": {"by": "c", "more": 1}}}"#,
                "`$.what` fits none",
            ),
            (
                r#"{"what": {"by": "a"}, "first": {"by": "e", "more": 1}}"#,
                "no field for `$.first.more`",
            ),
            (
                r#"{"what": {"by": "a"}, "state": "UNKNOWN"}"#,
                "`$.state` is none of the symbols",
            ),
            (r#"{"state": "NEW"}"#, "`$.what` is missing"),
        ] {
            let error = read_unions(json).unwrap_err().to_string();
            assert!(error.contains(says), "{json}: {error}");
        }
    }

    #[test]
    fn defaults_that_hold_themselves_end_with_an_error() {
        let endless = r#"{"type": "record", "name": "Node", "fields": [{"name": "next", "type": "Node", "default": {}}]}"#;
        if let Ok(encoder) = JsonEncoder::new(SchemaId(7), endless) {
            assert!(encoder.encode(b"{}").is_err());
        }
    }

    #[test]
    fn unions_within_unions_are_not_tried_without_end() {
        let avsc = r#"{"type": "record", "name": "A", "fields": [{"name": "n", "type": ["null", "A",
            {"type": "record", "name": "B", "fields": [{"name": "n", "type": ["null", "A", "B"]}]}]}]}"#;
        let encoder = JsonEncoder::new(SchemaId(7), avsc).unwrap();
        let nested = |inmost: &str| format!("{}{inmost}{}", r#"{"n": "#.repeat(60), "}".repeat(60));
        assert!(encoder.encode(nested("null").as_bytes()).is_ok());
        let error = encoder.encode(nested("1").as_bytes()).unwrap_err();
        assert!(matches!(error, JsonError::Boundless(_)), "{error}");
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
