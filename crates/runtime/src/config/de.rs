//! Deserialises the tree of layers, so that every error names its key and its source.

use std::collections::btree_map;

use serde::Deserializer;
use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::ConfigError;
use super::layers::Node;

/// The value that the tree describes.
pub(super) fn from_node<T: DeserializeOwned>(root: &Node) -> Result<T, ConfigError> {
    T::deserialize(NodeDeserializer(root)).map_err(|error| match root.closest(&error.key()).source() {
        Some(source) => error.clone().sourced(source),
        None => error,
    })
}

struct NodeDeserializer<'a>(&'a Node);

/// What a text of the environment is taken for where the wanted type does not tell: TOML if it is a value of it.
fn guess(text: &str) -> toml::Value {
    let wrapped = toml::from_str::<toml::Table>(&format!("value = {text}"));
    wrapped
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

fn toml_error(error: &toml::de::Error) -> ConfigError {
    ConfigError::new(error.message())
}

/// Texts parse as the number or truth value that is asked for; everything else goes its usual way.
macro_rules! parsed {
    ($($method:ident $visit:ident $expected:literal;)+) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
            match self.0 {
                Node::Text(text, _) => {
                    let value = text.trim().parse().map_err(|_| {
                        de::Error::invalid_value(de::Unexpected::Str(text), &$expected)
                    });
                    visitor.$visit(value?)
                }
                _ => self.deserialize_any(visitor),
            }
        }
    )+};
}

impl<'de> Deserializer<'de> for NodeDeserializer<'de> {
    type Error = ConfigError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self.0 {
            Node::Table(entries, _) => visitor.visit_map(Entries {
                rest: entries.iter(),
                value: None,
            }),
            Node::Value(value, _) => value
                .clone()
                .deserialize_any(visitor)
                .map_err(|error| toml_error(&error)),
            Node::Text(text, _) => guess(text)
                .deserialize_any(visitor)
                .map_err(|error| toml_error(&error)),
        }
    }

    parsed! {
        deserialize_bool visit_bool "true or false";
        deserialize_i8 visit_i8 "a whole number";
        deserialize_i16 visit_i16 "a whole number";
        deserialize_i32 visit_i32 "a whole number";
        deserialize_i64 visit_i64 "a whole number";
        deserialize_u8 visit_u8 "a whole number, not negative";
        deserialize_u16 visit_u16 "a whole number, not negative";
        deserialize_u32 visit_u32 "a whole number, not negative";
        deserialize_u64 visit_u64 "a whole number, not negative";
        deserialize_f32 visit_f32 "a number";
        deserialize_f64 visit_f64 "a number";
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self.0 {
            Node::Text(text, _) => visitor.visit_str(text),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        self.deserialize_str(visitor)
    }

    /// A text is a TOML array, or items with commas between them.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        match self.0 {
            Node::Text(text, _) if !text.trim_start().starts_with('[') => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                visitor.visit_seq(SeqDeserializer::new(items))
            }
            _ => self.deserialize_any(visitor),
        }
    }

    /// A value that is no table is not told: it may hold secrets.
    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        let is_table = match self.0 {
            Node::Table(..) => true,
            Node::Value(value, _) => value.is_table(),
            Node::Text(text, _) => guess(text).is_table(),
        };
        if is_table {
            self.deserialize_any(visitor)
        } else {
            Err(ConfigError::new(
                "expected a table, such as `{ \"name\" = \"value\" }`",
            ))
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ConfigError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ConfigError> {
        match self.0 {
            Node::Text(text, _) => visitor.visit_enum(text.as_str().into_deserializer()),
            Node::Value(value, _) => value
                .clone()
                .deserialize_enum(name, variants, visitor)
                .map_err(|error| toml_error(&error)),
            Node::Table(..) => Err(ConfigError::new(format!(
                "expected one of {}",
                variants.join(", ")
            ))),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char bytes byte_buf unit unit_struct tuple tuple_struct struct identifier ignored_any
    }
}

struct Entries<'a> {
    rest: btree_map::Iter<'a, String, Node>,
    value: Option<(&'a str, &'a Node)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = ConfigError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ConfigError> {
        let Some((key, node)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some((key, node));
        seed.deserialize(StrDeserializer::<ConfigError>::new(key))
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ConfigError> {
        let (key, node) = self
            .value
            .take()
            .expect("serde asks for a value only after its key");
        seed.deserialize(NodeDeserializer(node)).map_err(|error| {
            let error = error.within(key);
            // A table's own source is only where it begins; the root finds the line of the key itself.
            match node {
                Node::Table(..) => error,
                Node::Value(_, source) | Node::Text(_, source) => error.sourced(source),
            }
        })
    }
}
