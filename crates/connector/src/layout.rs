//! How an outbox table is laid out and where its rows go, as configuration says it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Error;

/// One more outbox table, of any layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutboxOptions {
    /// The table as `schema.table`.
    pub table: String,
    /// Its columns.
    #[serde(default)]
    pub columns: ColumnNames,
    /// The topic, with columns by name in braces: `shop.{aggregatetype}`.
    #[serde(default = "topic_default")]
    pub topic: String,
    /// The topics that its rows may go to; empty: any that exists. Rows for others go to the dead letters.
    #[serde(default)]
    pub topics: Vec<String>,
    /// Further headers of the records, each with the column that it is taken from. A null gives none.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// What a table's columns are called. The defaults are Debezium's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnNames {
    /// The event's id: a UUID or a text.
    pub id: String,
    /// The record's key.
    pub key: String,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The record's value: bytes, a text or JSON.
    pub payload: String,
}

impl Default for ColumnNames {
    fn default() -> Self {
        Self {
            id: "id".to_owned(),
            key: "aggregateid".to_owned(),
            kind: "type".to_owned(),
            payload: "payload".to_owned(),
        }
    }
}

fn topic_default() -> String {
    "{aggregatetype}".to_owned()
}

/// A table's layout, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) schema: String,
    pub(crate) table: String,
    pub(crate) columns: ColumnNames,
    pub(crate) topic: Vec<Part>,
    pub(crate) topics: Vec<String>,
    pub(crate) headers: BTreeMap<String, String>,
}

/// A part of a topic's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    Text(String),
    /// What the column of this name holds.
    Column(String),
}

impl Layout {
    /// A table in Debezium's layout.
    pub(crate) fn plain(table: &str) -> Result<Self, Error> {
        Self::of(&OutboxOptions {
            table: table.to_owned(),
            columns: ColumnNames::default(),
            topic: topic_default(),
            topics: Vec::new(),
            headers: BTreeMap::new(),
        })
    }

    /// Checks what configuration says.
    ///
    /// # Errors
    /// The table has no schema, or braces are left open.
    pub(crate) fn of(options: &OutboxOptions) -> Result<Self, Error> {
        let (schema, table) = options.table.split_once('.').ok_or_else(|| {
            Error::Setup(format!(
                "the outbox table `{}` is not given as schema.table",
                options.table
            ))
        })?;
        let topic = parse(&options.topic).ok_or_else(|| {
            Error::Setup(format!(
                "the topic `{}` of an outbox has a brace without its other half",
                options.topic
            ))
        })?;
        Ok(Self {
            schema: schema.to_owned(),
            table: table.to_owned(),
            columns: options.columns.clone(),
            topic,
            topics: options.topics.clone(),
            headers: options.headers.clone(),
        })
    }
}

/// Takes a topic's name apart; `None`: a brace is open.
fn parse(mut text: &str) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    while !text.is_empty() {
        let begin = text.find(['{', '}']).unwrap_or(text.len());
        if begin > 0 {
            parts.push(Part::Text(text[..begin].to_owned()));
        }
        text = &text[begin..];
        if let Some(rest) = text.strip_prefix('{') {
            let end = rest
                .find(['{', '}'])
                .filter(|end| rest[*end..].starts_with('}'))?;
            parts.push(Part::Column(rest[..end].to_owned()));
            text = &rest[end + 1..];
        } else if !text.is_empty() {
            return None;
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_topic_is_taken_apart() {
        let (text, column) = (
            |text: &str| Part::Text(text.to_owned()),
            |name: &str| Part::Column(name.to_owned()),
        );
        assert_eq!(parse("{a}"), Some(vec![column("a")]));
        assert_eq!(
            parse("shop.{a}-{b}.v1"),
            Some(vec![
                text("shop."),
                column("a"),
                text("-"),
                column("b"),
                text(".v1")
            ])
        );
        assert_eq!(parse("plain"), Some(vec![text("plain")]));
        for open in ["{", "}", "a{b", "a}b", "{a{b}", "{a}}"] {
            assert_eq!(parse(open), None, "{open}");
        }
    }

    proptest! {
        #[test]
        fn no_topic_panics(text: String) {
            let _ = parse(&text);
        }
    }
}
