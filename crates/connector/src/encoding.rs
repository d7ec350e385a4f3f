//! The values of JSON outboxes: as they are, or as Avro where the topic's subject has a schema.
//!
//! Nobody can tell how a value is to be written before the registry has told of its topic once, so that row waits, and with it
//! the stream: what comes after it must not be confirmed before it, and holding it back has no bound. A schema that nobody
//! can use is not waited for: time does not mend it.

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
    values: Values,
    at: Instant,
}

#[derive(Debug)]
enum Values {
    /// The subject has no Avro schema.
    AsTheyAre,
    Avro(JsonEncoder),
    /// Its newest schema cannot be used, and why.
    Unusable(String),
}

/// Kept from one session to the next.
#[derive(Debug, Default)]
pub(crate) struct Encodings(HashMap<String, Told>);

impl Encodings {
    /// The record's value for a row's JSON; inside, why it does not fit.
    ///
    /// # Errors
    /// [`Error::Registry`]: the registry is away, and has not told of this topic yet.
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
        match self.0.get(topic).map(|told| &told.values) {
            None | Some(Values::AsTheyAre) => Ok(json.clone()),
            Some(Values::Unusable(why)) => Err(why.clone()),
            Some(Values::Avro(encoder)) => match encoder.encode(json) {
                Ok(frame) => Ok(frame.into()),
                Err(error) => Err(format!("schema {}: {error}", encoder.id())),
            },
        }
    }

    async fn ask(&mut self, registry: &Registry, topic: &str) -> Result<(), Error> {
        let told = match registry.latest(&topics::value_subject(topic)).await {
            Ok(Some(encoder)) => Ok(Values::Avro(encoder)),
            Ok(None) => Ok(Values::AsTheyAre),
            Err(error @ posthaste_broker::Error::UnusableSchema { .. }) => {
                Ok(Values::Unusable(error.to_string()))
            }
            Err(error) => Err(error),
        };
        let at = Instant::now();
        match (told, self.0.get_mut(topic)) {
            (Ok(values), _) => {
                self.0.insert(topic.to_owned(), Told { values, at });
                Ok(())
            }
            (Err(error), Some(known)) => {
                tracing::warn!(kafka.topic = topic, %error, "the registry is away; the schema that it told last holds");
                known.at = at;
                Ok(())
            }
            (Err(source), None) => Err(Error::Registry {
                topic: topic.to_owned(),
                source,
            }),
        }
    }
}
