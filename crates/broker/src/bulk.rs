//! A producer for a stream of records whose order and completeness matter: the connector's.
//!
//! It never gives a record up by itself and never leaves a gap: a record that the broker refuses ends the producer, so
//! that no later one of its partition can be written before it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use posthaste_runtime::Stopper;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::base_producer::BaseRecord;
use rdkafka::producer::{BaseProducer, Producer as _, ProducerContext, PurgeConfig};
use tokio::sync::Notify;

use crate::producer::PRODUCER_BYTES_MAX;
use crate::thread;
use crate::{Error, KafkaOptions, context};

/// One poll of the client. Its last millisecond does not sleep, so many short ones would cost more.
const POLL: Duration = Duration::from_millis(500);

/// How much a bulk producer may hold.
#[derive(Debug, Clone, Copy)]
pub struct BulkOptions {
    /// Records at the broker or on the way.
    pub record_count_max: usize,
    /// Bytes of them.
    pub byte_count_max: usize,
}

/// A record to be written; the bytes are copied.
#[derive(Debug, Clone, Copy)]
pub struct BulkRecord<'a> {
    /// The topic; it must exist.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The key.
    pub key: &'a [u8],
    /// The value.
    pub value: &'a [u8],
    /// The headers.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Comes back in the [`Delivery`].
    pub tag: usize,
}

/// How one record ended.
#[derive(Debug)]
pub struct Delivery {
    /// The record's tag.
    pub tag: usize,
    /// `None`: all in-sync replicas hold it.
    pub error: Option<Box<Error>>,
}

/// The sending end. Dropping it gives up what is not written.
pub struct BulkProducer {
    producer: Arc<BaseProducer<Context>>,
    stopper: Stopper,
    /// Stopped once what is not sent yet is given up.
    given_up: Stopper,
}

/// The end where deliveries come out.
pub struct Deliveries(pub(crate) Arc<Landing>);

/// Where a producer's thread puts deliveries down.
#[derive(Default)]
pub(crate) struct Landing {
    deliveries: Mutex<Vec<Delivery>>,
    landed: Notify,
}

impl Landing {
    pub(crate) fn put(&self, some: impl IntoIterator<Item = Delivery>) {
        let mut deliveries = self.deliveries.lock();
        let was_empty = deliveries.is_empty();
        deliveries.extend(some);
        // Only the first one since the reader looked needs to wake it.
        if was_empty {
            self.landed.notify_one();
        }
    }
}

struct Context(Arc<Landing>);

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        context::report(&error, reason);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, tag: usize) {
        let error = result
            .as_ref()
            .err()
            .map(|(error, _)| Box::new(Error::kafka("take a record")(error.clone())));
        self.0.put([Delivery { tag, error }]);
    }
}

impl BulkProducer {
    /// Makes the producer: idempotent, acknowledged by all in-sync replicas, no linger, no time-out, no gaps. Kafka may
    /// be away.
    ///
    /// # Errors
    /// Options that librdkafka refuses.
    pub fn start(kafka: &KafkaOptions, options: BulkOptions) -> Result<(Self, Deliveries), Error> {
        let config = kafka.client_config(&[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("linger.ms", "0"),
            ("enable.gapless.guarantee", "true"),
            // A record waits for ever: giving up one would leave a gap.
            ("message.timeout.ms", "0"),
            ("message.max.bytes", &PRODUCER_BYTES_MAX.to_string()),
            (
                "queue.buffering.max.messages",
                &options.record_count_max.max(1).to_string(),
            ),
            (
                "queue.buffering.max.kbytes",
                &(options.byte_count_max / 1024 + 1).to_string(),
            ),
        ]);
        let landing = Arc::new(Landing::default());
        let producer = config.create_with_context(Context(Arc::clone(&landing)));
        let producer: Arc<BaseProducer<Context>> =
            Arc::new(producer.map_err(Error::kafka("start a producer"))?);
        let (stopper, given_up) = (Stopper::new(), Stopper::new());
        let (polled, stop, give_up) = (Arc::clone(&producer), stopper.clone(), given_up.clone());
        thread::spawn("kafka-bulk", move || {
            // A poll runs for its whole time and serves each delivery as it comes, so its length costs no latency.
            while !stop.is_stopped() {
                polled.poll(POLL);
                if give_up.is_stopped() {
                    // Again and again: what fails on its way is queued once more.
                    polled.purge(PurgeConfig::default().queue());
                }
            }
        })?;
        let this = Self {
            producer,
            stopper,
            given_up,
        };
        Ok((this, Deliveries(landing)))
    }

    /// Hands a record over; its delivery follows. `Ok(false)`: the producer is full, try again after a delivery.
    ///
    /// # Errors
    /// [`crate::ErrorKind::BadRecord`]: the record is too large and nothing was taken. Else the producer has failed for
    /// good.
    pub fn enqueue(&self, record: &BulkRecord<'_>) -> Result<bool, Error> {
        let headers = owned(record.headers);
        let message = BaseRecord::<[u8], [u8], usize>::with_opaque_to(record.topic, record.tag)
            .partition(record.partition)
            .key(record.key)
            .payload(record.value)
            .headers(headers);
        match self.producer.send(message) {
            Ok(()) => Ok(true),
            Err((KafkaError::MessageProduction(Code::QueueFull), _)) => Ok(false),
            Err((error, _)) => Err(self
                .fatal()
                .unwrap_or_else(|| Error::kafka("take a record")(error))),
        }
    }

    /// Why the producer can do no more, if it cannot.
    pub fn fatal(&self) -> Option<Error> {
        self.producer
            .client()
            .fatal_error()
            .map(|(_, reason)| Error::Fatal(reason))
    }

    /// Gives up what has not been sent yet, from now on; their deliveries fail. What is on the way ends as it will.
    pub fn give_up_queued(&self) {
        self.given_up.stop();
        self.producer.purge(PurgeConfig::default().queue());
    }
}

/// Headers as librdkafka takes them.
pub(crate) fn owned(headers: &[(&str, &[u8])]) -> OwnedHeaders {
    let mut all = OwnedHeaders::new_with_capacity(headers.len());
    for (key, value) in headers {
        all = all.insert(Header {
            key,
            value: Some(*value),
        });
    }
    all
}

impl Drop for BulkProducer {
    fn drop(&mut self) {
        // The polling thread drops the client, which may take a second: not on an asynchronous thread.
        self.give_up_queued();
        self.stopper.stop();
    }
}

impl Deliveries {
    /// Waits until there are deliveries and moves them all into `out`, which is to be empty. Safe to cancel.
    pub async fn receive(&mut self, out: &mut Vec<Delivery>) {
        loop {
            {
                let mut deliveries = self.0.deliveries.lock();
                if !deliveries.is_empty() {
                    std::mem::swap(&mut *deliveries, out);
                    return;
                }
            }
            self.0.landed.notified().await;
        }
    }
}
