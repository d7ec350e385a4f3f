//! Fits JSON to an Avro schema, losing nothing: what the schema has no place for is refused wherever it stands.
//!
//! `apache-avro` alone would drop fields that a record does not have, and take an enum's default for a symbol that it does
//! not know. It converts the single values.

use std::cell::Cell;
use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::schema::{Name, NamespaceRef, RecordSchema, ResolvedSchema, UnionSchema};
use apache_avro::types::Value as AvroValue;
use serde_json::Value;

use crate::{DecodeError, JsonError};

/// Nesting of JSON ends at 128; what is deeper is made of defaults that hold themselves.
const DEPTH_MAX: usize = 256;
/// Values that are held against a type, those of all branches of unions counted. The largest payload has a quarter of it;
/// unions within unions would take as many as two to the power of their depth.
const STEP_COUNT_MAX: u32 = 2_000_000;

/// The types that a schema names, by their full names.
#[derive(Debug)]
pub(crate) struct Names(HashMap<Name, Schema>);

impl Names {
    pub(crate) fn of(schema: &Schema) -> Result<Self, DecodeError> {
        let resolved = ResolvedSchema::new(schema)?;
        let named = resolved.get_names().iter();
        Ok(Self(
            named
                .map(|(name, schema)| (name.clone(), (*schema).clone()))
                .collect(),
        ))
    }

    /// The value as the schema has it.
    pub(crate) fn fit(&self, value: &Value, schema: &Schema) -> Result<AvroValue, JsonError> {
        let fit = Fit {
            names: &self.0,
            step_count: Cell::new(0),
        };
        fit.value(value, schema, None, 0)
    }
}

/// The fitting of one text.
struct Fit<'a> {
    names: &'a HashMap<Name, Schema>,
    step_count: Cell<u32>,
}

impl Fit<'_> {
    fn value(
        &self,
        value: &Value,
        schema: &Schema,
        namespace: NamespaceRef<'_>,
        depth: usize,
    ) -> Result<AvroValue, JsonError> {
        self.step_count.set(self.step_count.get() + 1);
        if depth > DEPTH_MAX || self.step_count.get() > STEP_COUNT_MAX {
            return Err(JsonError::Boundless("$".to_owned()));
        }
        let inner = depth + 1;
        match (value, schema) {
            (_, Schema::Ref { name }) => {
                let name = name.fully_qualified_name(namespace);
                let schema = self.names.get(&*name);
                let schema = schema.expect("a schema that was parsed names what it defines");
                self.value(value, schema, name.namespace(), inner)
            }
            (_, Schema::Union(union)) => self.branch(value, union, namespace, inner),
            (Value::Object(fields), Schema::Record(record)) => self.record(fields, record, namespace, inner),
            (Value::Object(entries), Schema::Map(map)) => {
                let fitted = entries.iter().map(|(key, value)| {
                    let fitted = self.value(value, &map.types, namespace, inner);
                    Ok((key.clone(), fitted.map_err(|error| error.under(key))?))
                });
                fitted.collect::<Result<_, _>>().map(AvroValue::Map)
            }
            (Value::Array(items), Schema::Array(array)) => {
                let fitted = items.iter().enumerate().map(|(index, item)| {
                    let fitted = self.value(item, &array.items, namespace, inner);
                    fitted.map_err(|error| error.under(&index.to_string()))
                });
                fitted.collect::<Result<_, _>>().map(AvroValue::Array)
            }
            // Here the default would stand for a symbol that nobody meant.
            (Value::String(symbol), Schema::Enum(kinds)) if !kinds.symbols.contains(symbol) => {
                Err(JsonError::NoSymbol("$".to_owned()))
            }
            (value, schema) => AvroValue::try_from(value.clone())
                .and_then(|value| value.resolve(schema))
                .map_err(|source| JsonError::Misfit {
                    path: "$".to_owned(),
                    source: Box::new(source),
                }),
        }
    }

    fn record(
        &self,
        fields: &serde_json::Map<String, Value>,
        record: &RecordSchema,
        namespace: NamespaceRef<'_>,
        depth: usize,
    ) -> Result<AvroValue, JsonError> {
        let has = |name: &String| record.fields.iter().any(|field| field.name == *name);
        if let Some(stray) = fields.keys().find(|name| !has(name)) {
            return Err(JsonError::Stray("$".to_owned()).under(stray));
        }
        let namespace = record.name.namespace().or(namespace);
        let fitted = record.fields.iter().map(|field| {
            let fitted = match fields.get(&field.name).or(field.default.as_ref()) {
                Some(value) => self.value(value, &field.schema, namespace, depth),
                None => Err(JsonError::Missing("$".to_owned())),
            };
            let fitted = fitted.map_err(|error| error.under(&field.name))?;
            Ok((field.name.clone(), fitted))
        });
        fitted.collect::<Result<_, _>>().map(AvroValue::Record)
    }

    /// The first branch that the whole value fits.
    fn branch(
        &self,
        value: &Value,
        union: &UnionSchema,
        namespace: NamespaceRef<'_>,
        depth: usize,
    ) -> Result<AvroValue, JsonError> {
        let is_some = |branch: &&Schema| **branch != Schema::Null;
        let is_option = union.variants().iter().filter(is_some).count() == 1;
        for (index, branch) in (0..).zip(union.variants()) {
            match self.value(value, branch, namespace, depth) {
                Ok(fitted) => return Ok(AvroValue::Union(index, Box::new(fitted))),
                Err(error @ JsonError::Boundless(_)) => return Err(error),
                // There is no other type that it could have been meant to be.
                Err(error) if is_option && is_some(&branch) && !value.is_null() => return Err(error),
                Err(_) => {}
            }
        }
        Err(JsonError::NoBranch("$".to_owned()))
    }
}
