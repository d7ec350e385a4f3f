//! A member of a consumer group. One thread owns librdkafka's consumer and turns what it says into events.

mod context;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use posthaste_runtime::Stopper;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::{mpsc, oneshot};

use crate::group::context::Context;
use crate::record::Importer;
use crate::thread::{self, BATCH_RECORD_COUNT_MAX, CHANNEL_LEN, IDLE_POLL, Outlet};
use crate::{Error, KafkaOptions, Record, TopicPartition};

/// How a member of a group reads.
#[derive(Debug, Clone)]
pub struct GroupConsumerOptions {
    /// The group's name.
    pub group: String,
    /// A name that survives a restart (static membership): a member that comes back within the session timeout gets
    /// its partitions back without a rebalance.
    pub instance_id: Option<String>,
    /// Topics to subscribe to; a name that begins with `^` is a regular expression.
    pub topics: Vec<String>,
    /// A member silent for so long has lost its partitions, milliseconds.
    pub session_timeout_ms: u32,
    /// Bytes of records that may wait in this process unread, about.
    pub queued_bytes_max: usize,
}

/// What happened to this member.
#[derive(Debug)]
pub enum GroupEvent {
    /// These partitions are this member's now; their records follow.
    Assigned(Vec<TopicPartition>),
    /// These partitions go. No record of them follows before they are assigned again. Their next owner waits until the
    /// guard is dropped (at most `DRAIN_MS_MAX`); offsets stored until then are committed first.
    Revoked(Vec<TopicPartition>, RevokeGuard),
    /// One batch of records: partitions mixed, each in its order.
    Records(Vec<Record>),
    /// Something failed. Consumption goes on by itself, unless the channel ends after it.
    Failed(Error),
}

/// Holds back a rebalance until dropped.
#[derive(Debug)]
pub struct RevokeGuard {
    /// Dropping it wakes the consumer's thread.
    _release: std::sync::mpsc::Sender<()>,
    is_lost: bool,
}

impl RevokeGuard {
    /// Whether the partitions are lost already: another member may own them, so nothing can be committed for them.
    pub const fn is_lost(&self) -> bool {
        self.is_lost
    }
}

/// A cheap handle on a member of a group. The member leaves when it is closed or when all handles are dropped.
#[derive(Clone)]
pub struct GroupConsumer(Arc<Shared>);

struct Shared {
    consumer: Arc<BaseConsumer<Context>>,
    stopper: Stopper,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.stopper.stop();
    }
}

impl GroupConsumer {
    /// Joins the group: cooperative-sticky, from the earliest record where the group has no offset yet, committed
    /// records only. Kafka may be away; joining goes on by itself. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// Options that librdkafka refuses.
    pub fn start(
        kafka: &KafkaOptions,
        options: GroupConsumerOptions,
    ) -> Result<(Self, mpsc::Receiver<GroupEvent>), Error> {
        let stopper = Stopper::new();
        let (outlet, events) = Outlet::new(stopper.clone());
        let config = client_config(kafka, &options);
        let consumer: BaseConsumer<Context> = config
            .create_with_context(Context::new(outlet.clone()))
            .map_err(Error::kafka("start a group consumer"))?;
        let topics: Vec<&str> = options.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics).map_err(Error::kafka("subscribe"))?;
        let consumer = Arc::new(consumer);
        let (ended, wait_ended) = oneshot::channel();
        let reader = Reader {
            consumer: Arc::clone(&consumer),
            outlet,
            importer: Importer::default(),
            batch_bytes_max: (options.queued_bytes_max / (2 * CHANNEL_LEN)).max(1),
        };
        thread::spawn("kafka-group", move || {
            reader.run();
            // Nobody may wait for the end.
            let _ = ended.send(());
        })?;
        Ok((
            Self(Arc::new(Shared {
                consumer,
                stopper,
                ended: Mutex::new(Some(wait_ended)),
            })),
            events,
        ))
    }

    /// Marks everything before `next_offset` as done; it is committed within about a second, on revocation and on
    /// close. Ignored when the partition is no longer this member's.
    pub fn store_offset(&self, partition: &TopicPartition, next_offset: i64) {
        let mut list = TopicPartitionList::with_capacity(1);
        let added =
            list.add_partition_offset(&partition.topic, partition.partition, Offset::Offset(next_offset));
        if let Err(error) = added.and_then(|()| self.0.consumer.store_offsets(&list)) {
            tracing::debug!(kafka.topic = &*partition.topic, kafka.partition = partition.partition, %error, "offset not stored");
        }
    }

    /// Stops reading these partitions. Records that were read already may still come. A partition that is assigned
    /// anew is not paused.
    pub fn pause(&self, partitions: &[TopicPartition]) {
        if let Err(error) = self.0.consumer.pause(&partition_list(partitions)) {
            tracing::debug!(%error, "partitions not paused");
        }
    }

    /// Reads these partitions again, from after the last record that came.
    pub fn resume(&self, partitions: &[TopicPartition]) {
        if let Err(error) = self.0.consumer.resume(&partition_list(partitions)) {
            tracing::debug!(%error, "partitions not resumed");
        }
    }

    /// Commits what is stored and leaves the group. No event follows; drain before.
    pub async fn close(self) {
        self.0.stopper.stop();
        let ended = self.0.ended.lock().take();
        if let Some(ended) = ended {
            // The thread drops the sender if it panicked; either way it has ended.
            let _ = ended.await;
        }
    }
}

fn partition_list(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition);
    }
    list
}

fn client_config(kafka: &KafkaOptions, options: &GroupConsumerOptions) -> rdkafka::ClientConfig {
    let queued_kbytes = (options.queued_bytes_max / 2 / 1024).max(1).to_string();
    let fetch_bytes = fetch_bytes_max(options.queued_bytes_max);
    let heartbeat_ms = (options.session_timeout_ms / 4).max(100).to_string();
    let mut config = kafka.client_config(&[
        ("group.id", &options.group),
        ("session.timeout.ms", &options.session_timeout_ms.to_string()),
        ("heartbeat.interval.ms", &heartbeat_ms),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("auto.offset.reset", "earliest"),
        ("enable.auto.offset.store", "false"),
        ("enable.auto.commit", "true"),
        ("auto.commit.interval.ms", "1000"),
        ("isolation.level", "read_committed"),
        // After the local queue was full, look again at once, not after a second.
        ("fetch.queue.backoff.ms", "1"),
        ("queued.max.messages.kbytes", &queued_kbytes),
        ("fetch.max.bytes", &fetch_bytes),
    ]);
    if let Some(instance) = &options.instance_id {
        config.set("group.instance.id", instance);
    }
    config
}

/// One fetch's answer must not overshoot the bound by much; librdkafka refuses less than its own message limit.
pub(crate) fn fetch_bytes_max(queued_bytes_max: usize) -> String {
    queued_bytes_max.clamp(1024 * 1024, 50 * 1024 * 1024).to_string()
}

/// What the thread owns.
struct Reader {
    consumer: Arc<BaseConsumer<Context>>,
    outlet: Outlet<GroupEvent>,
    importer: Importer,
    batch_bytes_max: usize,
}

impl Reader {
    fn run(mut self) {
        let consumer = Arc::clone(&self.consumer);
        while !self.outlet.is_closed() {
            if let Some(message) = consumer.poll(IDLE_POLL)
                && let Err(fatal) = self.read_batch(&consumer, message)
            {
                self.give_up(fatal);
                break;
            }
        }
        self.close();
    }

    /// Takes what is there already after the first message, within the bounds of a batch, and sends it.
    fn read_batch(
        &mut self,
        consumer: &BaseConsumer<Context>,
        first: Result<BorrowedMessage<'_>, KafkaError>,
    ) -> Result<(), KafkaError> {
        let pending = &consumer.context().pending;
        let mut byte_count = 0;
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Ok(message) => {
                    let record = self.importer.record(&message);
                    byte_count += record.byte_count();
                    let mut pending = pending.lock();
                    pending.push(record);
                    if pending.len() >= BATCH_RECORD_COUNT_MAX || byte_count >= self.batch_bytes_max {
                        break;
                    }
                }
                Err(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(error),
                Err(error) => {
                    self.outlet.send(GroupEvent::Failed(Error::kafka("read")(error)));
                }
            }
            next = consumer.poll(Duration::ZERO);
        }
        let batch = std::mem::take(&mut *pending.lock());
        if !batch.is_empty() {
            self.outlet.send(GroupEvent::Records(batch));
        }
        Ok(())
    }

    /// The broker has thrown this member out for good (another one carries its instance id).
    fn give_up(&self, error: KafkaError) {
        let fatal = self
            .consumer
            .client()
            .fatal_error()
            .map_or_else(|| error.to_string(), |(_, reason)| reason);
        let partitions = self
            .consumer
            .assignment()
            .map(|list| context::partitions(&list))
            .unwrap_or_default();
        self.consumer.context().revoke_lost(partitions);
        self.outlet.send(GroupEvent::Failed(Error::Fatal(fatal)));
    }

    /// Commits and leaves while this thread still polls, as librdkafka's close needs someone who does.
    fn close(&self) {
        match self.consumer.commit_consumer_state(CommitMode::Sync) {
            Ok(()) | Err(KafkaError::ConsumerCommit(Code::NoOffset)) => {}
            Err(error) => tracing::warn!(%error, "stored offsets not committed on close"),
        }
        self.consumer.context().stop_listening();
        if let Err(error) = self.consumer.close_queue() {
            tracing::debug!(%error, "group consumer not closed");
            return;
        }
        while !self.consumer.closed() {
            drop(self.consumer.poll(IDLE_POLL));
        }
    }
}
