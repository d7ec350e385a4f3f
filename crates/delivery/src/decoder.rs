//! From a record of the results topic to its event; learns other versions' schemas from the registry as they are met.

use posthaste_broker::{ErrorKind, Record, Registry};
use posthaste_runtime::{Backoff, Stopper, chain, metric};
use posthaste_schema::{DecodeError, SchemaId, TaskEvent, WriterSchemas};

/// Decodes, and knows whom to ask. Clones share what was learned.
#[derive(Clone)]
pub(crate) struct Decoder {
    writers: WriterSchemas,
    registry: Registry,
}

/// What a record turned out to be.
pub(crate) enum Decoded {
    /// An event.
    Event(Box<TaskEvent>),
    /// Nothing that can be used; it has been logged and counted.
    Dead,
    /// Stopping was asked for before the registry answered.
    Stopped,
}

impl Decoder {
    /// One that has learned nothing yet.
    pub(crate) fn new(registry: Registry) -> Self {
        Self {
            writers: WriterSchemas::new(),
            registry,
        }
    }

    /// Decodes; waits for the registry when the writer's schema is not known yet.
    pub(crate) async fn event(&self, record: &Record, stopper: &Stopper) -> Decoded {
        let Some(value) = &record.value else {
            return dead(record, &"it has no value");
        };
        loop {
            match TaskEvent::decode(value, &self.writers) {
                Ok(event) => return Decoded::Event(Box::new(event)),
                Err(DecodeError::UnknownSchema(id)) => match self.learn(id, stopper).await {
                    Learned::Yes => {}
                    Learned::Never(reason) => return dead(record, &reason),
                    Learned::Stopped => return Decoded::Stopped,
                },
                Err(error) => return dead(record, &error),
            }
        }
    }

    async fn learn(&self, id: SchemaId, stopper: &Stopper) -> Learned {
        let mut backoff = Backoff::dependency();
        loop {
            let Some(answer) = stopper.unless_stopped(self.registry.schema_text(id.0)).await else {
                return Learned::Stopped;
            };
            match answer {
                Ok(text) => {
                    return self
                        .writers
                        .add(id, &text)
                        .map_or_else(|error| Learned::Never(error.to_string()), |()| Learned::Yes);
                }
                Err(error) if error.kind() != ErrorKind::Unavailable => {
                    return Learned::Never(error.to_string());
                }
                Err(error) => {
                    if backoff.failure_count() == 0 {
                        tracing::warn!(error = %chain(&error), schema.id = id.0, "waiting for the registry");
                    }
                }
            }
            if !backoff.wait(stopper).await {
                return Learned::Stopped;
            }
        }
    }
}

enum Learned {
    Yes,
    Never(String),
    Stopped,
}

fn dead(record: &Record, reason: &dyn std::fmt::Display) -> Decoded {
    metrics::counter!(metric::DELIVERY_DEAD).increment(1);
    tracing::warn!(
        kafka.topic = &*record.topic,
        kafka.partition = record.partition,
        kafka.offset = record.offset,
        %reason,
        "a record of the results topic cannot be used and is passed over"
    );
    Decoded::Dead
}
