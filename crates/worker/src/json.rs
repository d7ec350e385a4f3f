//! JSON as text: what handlers take and give, so that numbers stay exact and nothing is parsed without need.

use std::fmt;

use posthaste_types::limits::JSON_DEPTH_MAX;
use serde::de::IgnoredAny;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// A text that is one JSON value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonText(String);

impl JsonText {
    /// Checks that `text` is one JSON value, nested no deeper than [`JSON_DEPTH_MAX`] levels.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn new(text: String) -> Result<Self, serde_json::Error> {
        // Looking for syntax alone, serde_json takes any depth, which Postgres would then refuse to store.
        serde_json::from_str::<IgnoredAny>(&text)?;
        if depth(text.as_bytes()) > JSON_DEPTH_MAX {
            let message = format!("nested deeper than {JSON_DEPTH_MAX} levels");
            return Err(serde::de::Error::custom(message));
        }
        Ok(Self(text))
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// When the value has no JSON form, such as a map whose keys are not strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(Self)
    }

    /// `null`: the answer of a handler that has nothing to say.
    pub fn null() -> Self {
        Self("null".to_owned())
    }

    /// Takes a text that was checked before: a payload, which ingest and Postgres have both parsed.
    pub(crate) const fn trusted(text: String) -> Self {
        Self(text)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text, without a copy.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for JsonText {
    /// As the value that it is when written by `serde_json`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// How deep valid JSON is nested.
fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut bytes = json.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => {
                // What is escaped takes one byte more, and no quote is among the others of an escape.
                while let Some(byte) = bytes.next().filter(|byte| **byte != b'"') {
                    if *byte == b'\\' {
                        bytes.next();
                    }
                }
            }
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_whole_json_value_is_taken_and_its_text_is_kept() {
        for text in ["", "{", "1 2", "nul", "{'a':1}"] {
            assert!(JsonText::new(text.to_owned()).is_err(), "{text}");
        }
        let text = r#"{"a": 1.000000000000000000001}"#;
        assert_eq!(JsonText::new(text.to_owned()).unwrap().as_str(), text);
    }

    #[test]
    fn what_is_nested_too_deep_to_be_stored_is_refused() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(JsonText::new(nested(JSON_DEPTH_MAX)).is_ok());
        assert!(JsonText::new(nested(JSON_DEPTH_MAX + 1)).is_err());
        assert!(JsonText::new(nested(500_000)).is_err());
        let flat = format!(r#"["\\", "\"{}"]"#, "[{".repeat(200));
        assert_eq!(JsonText::new(flat.clone()).unwrap().as_str(), flat);
    }

    #[test]
    fn it_nests_in_another_value_as_a_value() {
        let inner = JsonText::new("[1,2]".to_owned()).unwrap();
        let outer = JsonText::of(&std::collections::BTreeMap::from([("x", inner)])).unwrap();
        assert_eq!(outer.as_str(), r#"{"x":[1,2]}"#);
    }
}
