//! Reads given partitions from given offsets, outside of any group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use posthaste_runtime::Stopper;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::mpsc;

use crate::context::Quiet;
use crate::group::fetch_bytes_max;
use crate::record::Importer;
use crate::thread::{self, BATCH_RECORD_COUNT_MAX, CHANNEL_LEN, IDLE_POLL, Outlet};
use crate::{Error, KafkaOptions, Record};

/// What a tail's channel carries: a batch of records (partitions mixed, each in its order) or what went wrong.
pub type TailItem = Result<Vec<Record>, Error>;

const WATERMARK_WAIT: Duration = Duration::from_secs(5);
/// Between two tries to find out where a log begins and ends.
const RETRY_WAIT: Duration = Duration::from_millis(200);

/// Where to begin in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAt {
    /// At this offset.
    Offset(i64),
    /// At the first record that is kept.
    Earliest,
    /// At the first record written after reading began.
    Latest,
}

/// A reader of partitions. Dropping it, or its receiver, stops it.
#[derive(Debug)]
pub struct Tail {
    stopper: Stopper,
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

impl Tail {
    /// Reads `from` of `topic`, committed records only; about `queued_bytes_max` bytes may wait unread. Kafka may be
    /// away; reading begins when it comes. An offset that is not in the log comes as
    /// [`Error::OffsetOutOfRange`], and reading goes on at the earliest that is. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// Options that librdkafka refuses.
    pub fn start(
        kafka: &KafkaOptions,
        topic: &str,
        from: Vec<(i32, StartAt)>,
        queued_bytes_max: usize,
    ) -> Result<(Self, mpsc::Receiver<TailItem>), Error> {
        let config = kafka.client_config(&[
            // librdkafka cannot assign without a group's name; nothing is ever committed.
            ("group.id", "posthaste-tail"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            // An offset out of range must be told, not passed over.
            ("auto.offset.reset", "error"),
            ("isolation.level", "read_committed"),
            ("fetch.queue.backoff.ms", "1"),
            (
                "queued.max.messages.kbytes",
                &(queued_bytes_max / 2 / 1024).max(1).to_string(),
            ),
            ("fetch.max.bytes", &fetch_bytes_max(queued_bytes_max)),
        ]);
        let consumer = config
            .create_with_context(Quiet)
            .map_err(Error::kafka("start a tail"))?;
        let stopper = Stopper::new();
        let (outlet, items) = Outlet::new(stopper.clone());
        let mut importer = Importer::default();
        let reader = Reader {
            consumer,
            topic: importer.topic(topic),
            next: from.into_iter().collect(),
            outlet,
            importer,
            batch_bytes_max: (queued_bytes_max / (2 * CHANNEL_LEN)).max(1),
        };
        thread::spawn("kafka-tail", move || reader.run())?;
        Ok((Self { stopper }, items))
    }
}

/// What the thread owns.
struct Reader {
    consumer: BaseConsumer<Quiet>,
    topic: Arc<str>,
    /// The offset that each partition is to go on with.
    next: BTreeMap<i32, StartAt>,
    outlet: Outlet<TailItem>,
    importer: Importer,
    batch_bytes_max: usize,
}

impl Reader {
    fn run(mut self) {
        self.position();
        while !self.outlet.is_closed() {
            let mut batch = Vec::new();
            let failed = self.read_batch(&mut batch);
            if !batch.is_empty() && !self.outlet.send(Ok(batch)) {
                return;
            }
            match failed {
                None => {}
                // librdkafka does not say which partition; all are looked at.
                Some(KafkaError::MessageConsumption(Code::AutoOffsetReset | Code::OffsetOutOfRange)) => {
                    self.position()
                }
                Some(error) => {
                    self.outlet.send(Err(Error::kafka("read")(error)));
                }
            }
        }
    }

    /// Waits for a record, then takes what is there already, within the bounds of a batch or up to an error.
    fn read_batch(&mut self, batch: &mut Vec<Record>) -> Option<KafkaError> {
        let mut byte_count = 0;
        let mut wait = IDLE_POLL;
        while batch.len() < BATCH_RECORD_COUNT_MAX && byte_count < self.batch_bytes_max {
            let message: BorrowedMessage<'_> = match self.consumer.poll(wait)? {
                Ok(message) => message,
                Err(error) => return Some(error),
            };
            let record = self.importer.record(&message);
            self.next
                .insert(record.partition, StartAt::Offset(record.offset + 1));
            byte_count += record.byte_count();
            batch.push(record);
            wait = Duration::ZERO;
        }
        None
    }

    /// Finds each partition's next offset within its log and starts fetching there; tries until it can.
    fn position(&mut self) {
        while !self.outlet.is_closed() {
            match self.try_position() {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(kafka.topic = &*self.topic, %error, "cannot position the tail yet");
                    std::thread::sleep(RETRY_WAIT);
                }
            }
        }
    }

    fn try_position(&mut self) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::with_capacity(self.next.len());
        for (&partition, start) in &mut self.next {
            let (low, high) = self
                .consumer
                .fetch_watermarks(&self.topic, partition, WATERMARK_WAIT)?;
            let offset = match *start {
                StartAt::Earliest => low,
                StartAt::Latest => high,
                StartAt::Offset(offset) if (low..=high).contains(&offset) => offset,
                StartAt::Offset(_) => {
                    self.outlet.send(Err(Error::OffsetOutOfRange {
                        partition,
                        earliest: low,
                    }));
                    low
                }
            };
            *start = StartAt::Offset(offset);
            list.add_partition_offset(&self.topic, partition, Offset::Offset(offset))?;
        }
        self.consumer.assign(&list)
    }
}
