//! From a record to a task, or to the dead letters. A record is never dropped and never held against what is only away.

use posthaste_broker::{Error, ErrorKind, Producer, Record, Registry};
use posthaste_runtime::{Backoff, Stopper, chain, metric};
use posthaste_schema::{DecodeError, SchemaId, TASK_REQUESTED, TaskRequested, WriterSchemas};
use posthaste_store::Store;

/// What a record is.
pub(crate) enum Intake {
    /// A task to run.
    Task(Box<TaskRequested>),
    /// Its writer's schema has to be looked up first.
    UnknownSchema(SchemaId),
    /// Nobody can use it; the reason.
    Bad(String),
}

/// Reads records; a cheap handle.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(crate) writers: WriterSchemas,
    pub(crate) registry: Registry,
    pub(crate) producer: Producer,
    pub(crate) store: Store,
    /// Nothing is waited for after it.
    pub(crate) stopper: Stopper,
}

impl Reader {
    /// Decodes a record.
    pub(crate) fn read(&self, record: &Record) -> Intake {
        let Some(value) = &record.value else {
            return Intake::Bad("the record has no value".to_owned());
        };
        match TaskRequested::decode(value, &self.writers) {
            Ok(task) => Intake::Task(Box::new(task)),
            Err(DecodeError::UnknownSchema(id)) => Intake::UnknownSchema(id),
            Err(error) => Intake::Bad(chain(&error).to_string()),
        }
    }

    /// Looks up the schema of a record on `topic`, however long that takes. `Some`: there is none to be had, and why.
    pub(crate) async fn learn(&self, id: SchemaId, topic: &str) -> Option<String> {
        let mut backoff = Backoff::dependency();
        loop {
            match self.schema_text(id, topic).await {
                Ok(text) => {
                    return self
                        .writers
                        .add(id, &text)
                        .err()
                        .map(|error| chain(&error).to_string());
                }
                Err(error) if error.kind() != ErrorKind::Unavailable => {
                    return Some(chain(&error).to_string());
                }
                Err(error) => {
                    tracing::warn!(
                        schema.id = id.0,
                        error = %chain(&error),
                        "waiting for the schema registry"
                    );
                }
            }
            if !backoff.wait(&self.stopper).await {
                return None;
            }
        }
    }

    /// The record knows the id of this version's own schema, so that the usual case needs no registry.
    async fn schema_text(&self, id: SchemaId, topic: &str) -> Result<String, Error> {
        match self.store.schema_id(topic).await {
            Ok(own) if own == id => Ok(TASK_REQUESTED.avsc.to_owned()),
            _ => self.registry.schema_text(id.0).await,
        }
    }

    /// Moves a record to the dead letters, however long that takes. `false`: the process stops before it is there.
    pub(crate) async fn bury(&self, record: &Record, reason: &str) -> bool {
        let mut backoff = Backoff::dependency();
        loop {
            match self.producer.dead_letter(record, reason).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::warn!(
                        kafka.topic = &*record.topic,
                        kafka.partition = record.partition,
                        kafka.offset = record.offset,
                        error = %chain(&error),
                        "a bad record could not be moved to the dead letters; trying again",
                    );
                }
            }
            if !backoff.wait(&self.stopper).await {
                return false;
            }
        }
        metrics::counter!(metric::WORKER_DEAD).increment(1);
        tracing::warn!(
            kafka.topic = &*record.topic,
            kafka.partition = record.partition,
            kafka.offset = record.offset,
            reason,
            "a bad record went to the dead letters",
        );
        true
    }
}
