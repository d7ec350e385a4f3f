//! What is wrong with a configuration, in one line that a person can act on.

use std::fmt;

use serde::de;

use super::Source;

/// The key, where it was set, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Segments of the key, innermost first: they are pushed while the error travels outwards.
    path: Vec<String>,
    source: Option<Source>,
    problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Problem {
    Unknown { allowed: &'static [&'static str] },
    Other(String),
}

impl ConfigError {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self {
            path: Vec::new(),
            source: None,
            problem: Problem::Other(text.into()),
        }
    }

    /// Adds the key that encloses the place of the error.
    pub(super) fn within(mut self, key: &str) -> Self {
        self.path.push(key.to_owned());
        self
    }

    /// Names the source, unless a place further inside has named one.
    pub(super) fn sourced(mut self, source: &Source) -> Self {
        self.source.get_or_insert_with(|| source.clone());
        self
    }

    /// The whole key from the root.
    pub(super) fn key(&self) -> Vec<&str> {
        self.path.iter().rev().map(String::as_str).collect()
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key().join(".");
        let source = self
            .source
            .as_ref()
            .map(|source| format!(" ({source})"))
            .unwrap_or_default();
        match &self.problem {
            Problem::Other(text) if key.is_empty() => write!(f, "configuration{source}: {text}"),
            Problem::Other(text) => write!(f, "configuration key `{key}`{source}: {text}"),
            Problem::Unknown { allowed } => {
                write!(f, "unknown configuration key `{key}`{source}")?;
                let (parent, name) = key.rsplit_once('.').unwrap_or(("", &key));
                let dot = if parent.is_empty() { "" } else { "." };
                match crate::nearest(name, allowed) {
                    Some(near) => write!(f, ": did you mean `{parent}{dot}{near}`?"),
                    None => write!(f, ": known here are {}", allowed.join(", ")),
                }
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl de::Error for ConfigError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::new(text.to_string())
    }

    fn unknown_field(field: &str, allowed: &'static [&'static str]) -> Self {
        Self {
            path: vec![field.to_owned()],
            source: None,
            problem: Problem::Unknown { allowed },
        }
    }
}
