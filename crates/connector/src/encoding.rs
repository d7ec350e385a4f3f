//! The values of JSON outboxes: as they are, or as Avro where the topic's subject has a schema.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use posthaste_broker::{JsonEncoder, Registry};
use posthaste_types::topics;

use crate::Error;

/// How long what the registry told holds. When it is away, it goes on holding.
const HOLDS_FOR: Duration = Duration::from_secs(300);
/// A value that does not fit is held against a newer schema, but the registry is not asked more often than so.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// What the registry told of a topic's values.
#[derive(Debug)]
struct Told {
    /// `None`: the subject has no Avro schema.
    encoder: Option<JsonEncoder>,
    at: Instant,
}

/// Kept from one session to the next.
#[derive(Debug, Default)]
pub(crate) struct Encodings(HashMap<String, Told>);

impl Encodings {
    /// The record's value for a row's JSON; inside, why it does not fit.
    ///
    /// # Errors
    /// The registry is away, and has not told of this topic yet.
    pub(crate) async fn value(
        &mut self,
        registry: &Registry,
        topic: &str,
        json: &Bytes,
    ) -> Result<Result<Bytes, String>, Error> {
        let is_old = |told: &Told| told.at.elapsed() > HOLDS_FOR;
        if self.0.get(topic).is_none_or(is_old) {
            self.ask(registry, topic).await?;
        }
        let fitted = self.fit(topic, json);
        let may_ask = |told: &Told| told.at.elapsed() > ASK_AGAIN_AFTER;
        if fitted.is_err() && self.0.get(topic).is_some_and(may_ask) {
            self.ask(registry, topic).await?;
            return Ok(self.fit(topic, json));
        }
        Ok(fitted)
    }

    fn fit(&self, topic: &str, json: &Bytes) -> Result<Bytes, String> {
        let Some(encoder) = self.0.get(topic).and_then(|told| told.encoder.as_ref()) else {
            return Ok(json.clone());
        };
        match encoder.encode(json) {
            Ok(frame) => Ok(frame.into()),
            Err(error) => Err(format!("schema {}: {error}", encoder.id())),
        }
    }

    async fn ask(&mut self, registry: &Registry, topic: &str) -> Result<(), Error> {
        let told = registry.latest(&topics::value_subject(topic)).await;
        let at = Instant::now();
        match (told, self.0.get_mut(topic)) {
            (Ok(encoder), _) => {
                self.0.insert(topic.to_owned(), Told { encoder, at });
                Ok(())
            }
            (Err(error), Some(known)) => {
                tracing::warn!(kafka.topic = topic, %error, "the registry is away; the schema that it told last holds");
                known.at = at;
                Ok(())
            }
            (Err(error), None) => Err(error.into()),
        }
    }
}
