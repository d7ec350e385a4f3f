//! Reads the layers into one tree whose leaves know where they came from; a later layer replaces single values.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::ConfigError;

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A line of a file.
    File {
        /// As it was named to us.
        path: Arc<str>,
        /// Counts from 1.
        line: usize,
    },
    /// An environment variable.
    Environment(Arc<str>),
    /// A flag of the command line.
    Flag(Arc<str>),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{path}, line {line}"),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A value with its source. Texts of the environment and of flags stay texts until the wanted type is known.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Table(BTreeMap<String, Node>, Option<Source>),
    Value(toml::Value, Source),
    Text(String, Source),
}

impl Node {
    pub(super) fn source(&self) -> Option<&Source> {
        match self {
            Self::Table(_, source) => source.as_ref(),
            Self::Value(_, source) | Self::Text(_, source) => Some(source),
        }
    }

    /// The node at a key, or the last one on the way to it.
    pub(super) fn closest(&self, key: &[&str]) -> &Self {
        match (self, key) {
            (Self::Table(entries, _), [first, rest @ ..]) => {
                entries.get(*first).map_or(self, |node| node.closest(rest))
            }
            _ => self,
        }
    }

    /// Lays `above` over this one.
    fn merge(&mut self, above: Self) {
        match (self, above) {
            (Self::Table(mine, _), Self::Table(theirs, _)) => {
                for (key, node) in theirs {
                    match mine.get_mut(&key) {
                        Some(own) => own.merge(node),
                        None => drop(mine.insert(key, node)),
                    }
                }
            }
            (own, above) => *own = above,
        }
    }
}

/// The layers so far; add them from the weakest to the strongest, then [`load`](Self::load).
#[derive(Debug)]
pub struct Layers(Node);

impl Default for Layers {
    fn default() -> Self {
        Self(Node::Table(BTreeMap::new(), None))
    }
}

impl Layers {
    /// No layer: everything is as the type's default has it.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a TOML file.
    ///
    /// # Errors
    /// When it cannot be read or is not TOML.
    pub fn file(self, path: &Path) -> Result<Self, ConfigError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigError::new(format!("cannot read {name}: {error}")))?;
        self.toml(&name, &text)
    }

    /// Adds the text of a TOML file of that name.
    ///
    /// # Errors
    /// When it is not TOML.
    pub fn toml(mut self, name: &str, text: &str) -> Result<Self, ConfigError> {
        let file = File {
            path: name.into(),
            text,
        };
        // The error's own text would quote the line, which may hold a secret.
        let table = DeTable::parse(text).map_err(|error| {
            let source = file.source(error.span().map_or(0, |span| span.start));
            ConfigError::new(format!("not TOML: {}", error.message())).sourced(&source)
        })?;
        self.0.merge(file.table(table.into_inner(), None));
        Ok(self)
    }

    /// Adds the variables whose names begin with `prefix`: `__` separates the parts of a key, case does not count.
    /// Those of `others` are not configuration and left alone.
    ///
    /// # Errors
    /// A variable with the prefix that names no key.
    pub fn environment(
        mut self,
        prefix: &str,
        others: &[&str],
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        for (name, text) in variables {
            let Some(rest) = name
                .strip_prefix(prefix)
                .filter(|_| !others.contains(&name.as_str()))
            else {
                continue;
            };
            if !rest.contains("__") {
                return Err(ConfigError::new(format!(
                    "environment variable {name} names no key: write {prefix}<SECTION>__<KEY>"
                )));
            }
            let key = rest.to_ascii_lowercase().replace("__", ".");
            self.set(&key, text, Source::Environment(name.into()));
        }
        Ok(self)
    }

    /// Adds one flag's value under a dotted key.
    #[must_use]
    pub fn flag(mut self, flag: &str, key: &str, text: impl Into<String>) -> Self {
        self.set(key, text.into(), Source::Flag(flag.into()));
        self
    }

    fn set(&mut self, key: &str, text: String, source: Source) {
        let leaf = Node::Text(text, source.clone());
        let node = parts(key).into_iter().rev().fold(leaf, |inner, part| {
            Node::Table(BTreeMap::from([(part, inner)]), Some(source.clone()))
        });
        self.0.merge(node);
    }

    pub(super) fn into_root(self) -> Node {
        self.0
    }
}

/// The parts of a dotted key, which may be quoted as in TOML: `worker.types."invoice.render".url`.
fn parts(key: &str) -> Vec<String> {
    let Ok(mut table) = toml::from_str::<toml::Table>(&format!("{key} = 0")) else {
        return key.split('.').map(str::to_owned).collect();
    };
    let mut parts = Vec::new();
    while let Some((part, value)) = std::mem::take(&mut table).into_iter().next() {
        parts.push(part);
        if let toml::Value::Table(inner) = value {
            table = inner;
        }
    }
    parts
}

/// A file that is being turned into nodes.
struct File<'a> {
    path: Arc<str>,
    text: &'a str,
}

impl File<'_> {
    fn source(&self, offset: usize) -> Source {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        Source::File {
            path: Arc::clone(&self.path),
            line,
        }
    }

    fn table(&self, table: DeTable<'_>, source: Option<Source>) -> Node {
        let entries = table.into_iter().map(|(key, value)| {
            let source = self.source(key.span().start);
            let node = match value.into_inner() {
                DeValue::Table(inner) => self.table(inner, Some(source)),
                other => Node::Value(plain(other), source),
            };
            (key.into_inner().into_owned(), node)
        });
        Node::Table(entries.collect(), source)
    }
}

/// A parsed value without its spans.
fn plain(value: DeValue<'_>) -> toml::Value {
    match value {
        DeValue::String(text) => toml::Value::String(text.into_owned()),
        DeValue::Boolean(value) => toml::Value::Boolean(value),
        DeValue::Datetime(value) => toml::Value::Datetime(value),
        DeValue::Integer(value) => i64::from_str_radix(value.as_str(), value.radix())
            .map_or_else(|_| toml::Value::String(value.to_string()), toml::Value::Integer),
        DeValue::Float(value) => value
            .as_str()
            .parse()
            .map_or_else(|_| toml::Value::String(value.to_string()), toml::Value::Float),
        DeValue::Array(items) => {
            toml::Value::Array(items.into_iter().map(|item| plain(item.into_inner())).collect())
        }
        DeValue::Table(table) => toml::Value::Table(
            table
                .into_iter()
                .map(|(key, value)| (key.into_inner().into_owned(), plain(value.into_inner())))
                .collect(),
        ),
    }
}
