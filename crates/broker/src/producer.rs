//! A producer for rare single records. What comes in bulk goes through [`crate::BulkProducer`].

use std::time::Duration;

use bytes::Bytes;
use posthaste_types::limits::RECORD_BYTES_MAX;
use posthaste_types::topics;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::context::Quiet;
use crate::{Error, HeaderName, KafkaOptions, Record};

/// How long a record may be on its way before it counts as failed, milliseconds.
const DELIVERY_MS_MAX: &str = "30000";
const QUEUE_WAIT: Duration = Duration::from_secs(5);
/// Room for keys, headers and framing beside the largest value.
pub(crate) const PRODUCER_BYTES_MAX: usize = RECORD_BYTES_MAX + 256 * 1024;

/// A record to be written.
#[derive(Debug, Clone)]
pub struct OutRecord {
    /// The topic.
    pub topic: String,
    /// The partition; `None` lets the key decide (murmur2, as Java), or chance when there is none.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<Bytes>,
    /// The value; `None` is a tombstone.
    pub value: Option<Bytes>,
    /// The headers; `None` is a null.
    pub headers: Vec<(HeaderName, Option<Bytes>)>,
}

/// A cheap handle on an idempotent producer.
#[derive(Clone)]
pub struct Producer(FutureProducer<Quiet>);

impl Producer {
    /// Makes the producer; Kafka may be away. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// Options that librdkafka refuses.
    pub fn new(kafka: &KafkaOptions) -> Result<Self, Error> {
        let config = kafka.client_config(&[
            ("enable.idempotence", "true"),
            ("acks", "all"),
            ("linger.ms", "0"),
            ("partitioner", "murmur2_random"),
            ("message.max.bytes", &PRODUCER_BYTES_MAX.to_string()),
            ("message.timeout.ms", DELIVERY_MS_MAX),
            ("queue.buffering.max.kbytes", "65536"),
        ]);
        Ok(Self(
            config
                .create_with_context(Quiet)
                .map_err(Error::kafka("start a producer"))?,
        ))
    }

    /// Writes one record; completes with its partition and offset once all in-sync replicas hold it.
    ///
    /// # Errors
    /// It could not be written within half a minute, or the broker refuses it.
    pub async fn send(&self, record: OutRecord) -> Result<(i32, i64), Error> {
        let mut headers = OwnedHeaders::new_with_capacity(record.headers.len());
        for (name, value) in &record.headers {
            headers = headers.insert(Header {
                key: name,
                value: value.as_deref(),
            });
        }
        let mut message = FutureRecord::<[u8], [u8]>::to(&record.topic).headers(headers);
        message.payload = record.value.as_deref();
        message.key = record.key.as_deref();
        message.partition = record.partition;
        match self.0.send(message, QUEUE_WAIT).await {
            Ok(delivery) => Ok((delivery.partition, delivery.offset)),
            Err((KafkaError::MessageProduction(Code::QueueFull), _)) => Err(Error::TimedOut("take a record")),
            Err((error, _)) => Err(Error::kafka("take a record")(error)),
        }
    }

    /// Writes a record that nobody could use to the dead letters, as it is, with where it came from and why in headers.
    ///
    /// # Errors
    /// As [`Producer::send`].
    pub async fn dead_letter(&self, record: &Record, reason: &str) -> Result<(), Error> {
        let source = format!("{}/{}/{}", record.topic, record.partition, record.offset);
        let mut headers = record.headers.clone();
        headers.push((topics::HEADER_DEAD_SOURCE.into(), Some(source.into())));
        headers.push((
            topics::HEADER_DEAD_REASON.into(),
            Some(Bytes::copy_from_slice(reason.as_bytes())),
        ));
        let dead = OutRecord {
            topic: topics::DEAD_LETTERS.to_owned(),
            partition: None,
            key: record.key.clone(),
            value: record.value.clone(),
            headers,
        };
        self.send(dead).await.map(drop)
    }
}
