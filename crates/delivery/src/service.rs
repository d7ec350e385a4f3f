//! The role as a whole: puts the parts together, runs them, and stops them in order.

use std::sync::Arc;

use async_trait::async_trait;
use posthaste_broker::{KafkaOptions, Registry};
use posthaste_http::{Check, Readiness, Routes, bounded_check};
use posthaste_runtime::{Clock, Stopper};
use posthaste_store::{GroupOptions, Store, WebhookWrites};
use posthaste_types::limits::{GROUP_BYTES_MAX, WEBHOOK_HELD_COUNT_MAX};
use tokio::sync::mpsc;

use crate::decoder::Decoder;
use crate::error::Error;
use crate::options::Options;
use crate::routes::routes;
use crate::stream::context::Context;
use crate::stream::hub::Hub;
use crate::stream::reader::Reader;
use crate::stream::topic::Topic;
use crate::webhook::api::Api;
use crate::webhook::consumer::{Consumer, Membership};
use crate::webhook::deliver::Deliverer;
use crate::webhook::directory::Directories;
use crate::webhook::dispatcher::{Dispatcher, JOB_CHANNEL_LEN};
use crate::webhook::send::Sender;

/// What the role works with.
pub struct Deps {
    /// The record.
    pub store: Store,
    /// How to reach Kafka.
    pub kafka: KafkaOptions,
    /// Knows other versions' schemas.
    pub registry: Registry,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// The role, ready to run.
pub struct Service {
    context: Arc<Context>,
    api: Arc<Api>,
    reader: Reader,
    consumer: Consumer,
    dispatcher: Dispatcher,
    directories: Arc<Directories>,
    writes: WebhookWrites,
    writes_stopper: Stopper,
    stopper: Stopper,
}

impl Service {
    /// Puts the role together; nothing has to be reachable yet. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// Options that one of the clients refuses.
    pub fn start(options: Options, deps: Deps, stopper: Stopper) -> Result<Self, Error> {
        let decoder = Decoder::new(deps.registry.clone());
        let (context, reader) = streams(&options, &deps, decoder.clone(), &stopper)?;
        let Deps {
            store, kafka, clock, ..
        } = deps;
        let policy = options.policy();
        let directories = Arc::new(Directories::new(store.clone()));
        // Outlives the deliveries, whose outcomes it writes.
        let writes_stopper = Stopper::new();
        // One lane: two could wait for each other over a delivery that is in both.
        let group = GroupOptions {
            lanes: 1,
            queue_len_max: WEBHOOK_HELD_COUNT_MAX,
            queue_bytes_max: 4 * GROUP_BYTES_MAX,
        };
        let writes = WebhookWrites::start(&store, &group, writes_stopper.clone());
        let sender = Sender::new(policy)?;
        let deliverer = Deliverer::new(
            sender,
            store.clone(),
            writes.clone(),
            Arc::clone(&directories),
            Arc::clone(&clock),
        );
        let deliverer = Arc::new(deliverer);
        let (jobs, queued) = mpsc::channel(JOB_CHANNEL_LEN);
        let dispatcher = Dispatcher::new(
            Arc::clone(&deliverer),
            Arc::clone(&directories),
            store.clone(),
            queued,
        );
        let membership = Membership {
            kafka,
            group: options.webhook_group,
            session_timeout_ms: options.session_timeout_ms,
        };
        let consumer = Consumer::new(
            membership,
            decoder,
            Arc::clone(&directories),
            jobs,
            stopper.clone(),
        );
        let api = Arc::new(Api {
            store,
            directories: Arc::clone(&directories),
            deliverer,
            policy,
            clock,
        });
        Ok(Self {
            context,
            api,
            reader,
            consumer,
            dispatcher,
            directories,
            writes,
            writes_stopper,
            stopper,
        })
    }

    /// What this role answers.
    pub fn routes(&self) -> Routes {
        routes(&self.context, &self.api)
    }

    /// Whether it can do its work now.
    pub fn readiness(&self) -> Arc<dyn Readiness> {
        Arc::new(Ready(Arc::clone(&self.context)))
    }

    /// Runs until stopped, and then until what was under way is settled.
    ///
    /// # Errors
    /// Options that the Kafka client refuses.
    pub async fn run(self) -> Result<(), Error> {
        let Self {
            reader,
            consumer,
            dispatcher,
            directories,
            writes,
            writes_stopper,
            stopper,
            ..
        } = self;
        let webhooks = async {
            if directories.load(&stopper).await {
                let posting = post_webhooks(consumer, dispatcher, &stopper);
                tokio::try_join!(posting, endless(directories.run(&stopper)))?;
            }
            writes_stopper.stop();
            writes.drain().await;
            Ok(())
        };
        // These live as long as the process; on the heap they burden nobody's stack.
        let (webhooks, reading) = (Box::pin(webhooks), Box::pin(endless(reader.run())));
        tokio::try_join!(webhooks, reading).map(drop)
    }
}

fn streams(
    options: &Options,
    deps: &Deps,
    decoder: Decoder,
    stopper: &Stopper,
) -> Result<(Arc<Context>, Reader), Error> {
    let window = options.window();
    let hub = Arc::new(Hub::new(window));
    let topic = Arc::new(Topic::new(deps.kafka.clone(), decoder)?);
    let context = Context::new(
        Arc::clone(&hub),
        Arc::clone(&topic),
        deps.store.clone(),
        stopper.clone(),
    );
    let reader = Reader::new(hub, topic, Arc::clone(&deps.clock), window, stopper.clone());
    Ok((Arc::new(context), reader))
}

/// A part that ends when it is stopped and never fails.
async fn endless(part: impl Future<Output = ()>) -> Result<(), Error> {
    part.await;
    Ok(())
}

/// Reads and posts. On a stop no further event is read, what is under way ends, and the offsets that this settles are
/// committed.
async fn post_webhooks(
    mut consumer: Consumer,
    dispatcher: Dispatcher,
    stopper: &Stopper,
) -> Result<(), Error> {
    let reading = async { Ok(consumer.run().await?) };
    let (member, ()) = tokio::try_join!(reading, endless(dispatcher.run(stopper.clone())))?;
    if let Some(member) = member {
        consumer.leave(member).await;
    }
    Ok(())
}

struct Ready(Arc<Context>);

#[async_trait]
impl Readiness for Ready {
    async fn check(&self) -> Vec<Check> {
        let context = &self.0;
        let events = async {
            if context.hub.is_live() {
                Ok(())
            } else {
                Err("the results topic is being read for the first time")
            }
        };
        let (database, kafka, events) = tokio::join!(
            bounded_check("database", context.store.ping()),
            bounded_check("kafka", context.topic.ping()),
            bounded_check("events", events),
        );
        vec![database, kafka, events]
    }
}
