//! A worker process's parts put together, from start to drained.

use std::sync::Arc;

use posthaste_broker::{GroupConsumer, GroupConsumerOptions, KafkaOptions, Producer, Registry};
use posthaste_runtime::{Backoff, Clock, Stopper, chain};
use posthaste_schema::WriterSchemas;
use posthaste_store::{GroupOptions, Store, WorkerWrites};
use posthaste_types::limits::WORKER_HELD_BYTES_MAX;
use posthaste_types::topics::{self, tasks_topic};

use crate::attempt::{Attempts, Meters};
use crate::dispatcher::{Dispatcher, End};
use crate::handlers::ServedTypes;
use crate::intake::Reader;
use crate::{Error, Handlers, Options};

/// What a worker needs from its process.
pub struct Parts {
    /// The record. The worker opens connections of its own for its grouped writes.
    pub store: Store,
    /// How to reach Kafka.
    pub kafka: KafkaOptions,
    /// The schema registry, for records of other versions than this one's.
    pub registry: Registry,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The handlers that the program was linked with.
    pub handlers: Handlers,
}

/// A worker.
pub struct Service {
    options: Options,
    kafka: KafkaOptions,
    attempts: Arc<Attempts>,
    reader: Reader,
    stopper: Stopper,
}

impl Service {
    /// Puts the parts together; connects to nothing, so that it starts while the dependencies are away. To be called
    /// inside a tokio runtime.
    ///
    /// # Errors
    /// A configuration that makes no sense.
    pub fn start(options: Options, parts: Parts, stopper: Stopper) -> Result<Self, Error> {
        options.check()?;
        let Parts {
            store,
            kafka,
            registry,
            clock,
            handlers,
        } = parts;
        let abandoned = Stopper::new();
        let writes = WorkerWrites::start(
            &store,
            GroupOptions {
                lanes: options.lanes,
                ..GroupOptions::default()
            },
            abandoned.clone(),
        );
        let attempts = Attempts {
            store: store.clone(),
            writes,
            types: ServedTypes::new(&options, handlers)?,
            clock,
            worker: options.name.clone().unwrap_or_else(fresh_name).into(),
            stopper: stopper.clone(),
            abandoned,
            meters: Meters::new(),
        };
        let reader = Reader {
            writers: WriterSchemas::new(),
            registry,
            producer: Producer::new(&kafka)?,
            store,
            stopper: stopper.clone(),
        };
        Ok(Self {
            options,
            kafka,
            attempts: Arc::new(attempts),
            reader,
            stopper,
        })
    }

    /// Works until stopped, and then until the handlers in progress have ended, at most
    /// [`DRAIN_MS_MAX`](posthaste_types::limits::DRAIN_MS_MAX).
    ///
    /// # Errors
    /// A bug of ours, or options that Kafka's client refuses. Dependencies that are away are waited for.
    pub async fn run(self) -> Result<(), Error> {
        let ended = self.work().await;
        // What was handed over before is still written.
        self.attempts.abandoned.stop();
        self.attempts.writes.drain().await;
        ended
    }

    async fn work(&self) -> Result<(), Error> {
        if !self.wait_for_record().await {
            return Ok(());
        }
        let mut backoff = Backoff::dependency();
        loop {
            let group = self.group_options();
            let topics = group.topics.join(" ");
            let (consumer, events) = GroupConsumer::start(&self.kafka, group)?;
            let (attempts, reader) = (Arc::clone(&self.attempts), self.reader.clone());
            let dispatcher = Dispatcher::new(attempts, reader, consumer, topics, self.options.handlers);
            match dispatcher.run(events, &self.stopper).await? {
                End::Drained => return Ok(()),
                End::ConsumerGone => {
                    tracing::error!("the consumer ended for good; a new one joins the group")
                }
            }
            if !backoff.wait(&self.stopper).await {
                return Ok(());
            }
        }
    }

    fn group_options(&self) -> GroupConsumerOptions {
        GroupConsumerOptions {
            group: self.options.group.clone(),
            instance_id: self.options.instance_id.clone(),
            topics: self
                .options
                .queues
                .iter()
                .map(|queue| tasks_topic(queue))
                .collect(),
            session_timeout_ms: self.options.session_timeout_ms,
            queued_bytes_max: WORKER_HELD_BYTES_MAX / 4,
        }
    }

    /// Joining the group without the record would take partitions from workers that can work. `false`: stopped.
    async fn wait_for_record(&self) -> bool {
        let mut backoff = Backoff::dependency();
        while let Err(error) = self.ask_record().await {
            if backoff.failure_count().is_multiple_of(8) {
                tracing::warn!(
                    error = %chain(&error),
                    "waiting for the database"
                );
            }
            if !backoff.wait(&self.stopper).await {
                return false;
            }
        }
        true
    }

    async fn ask_record(&self) -> Result<(), posthaste_store::Error> {
        posthaste_store::check_migrated(&self.attempts.store).await?;
        self.attempts.store.schema_id(topics::RESULTS).await.map(drop)
    }
}

fn fresh_name() -> String {
    format!("worker-{:08x}", rand::random::<u32>())
}
