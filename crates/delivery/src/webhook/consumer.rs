//! Reads events for webhooks as a member of a consumer group. An offset is stored when every delivery that follows from
//! the records before it is made or is in the record for later.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use posthaste_broker::{
    Error, GroupConsumer, GroupConsumerOptions, GroupEvent, KafkaOptions, OffsetTracker, Record, RevokeGuard,
    TopicPartition,
};
use posthaste_runtime::{Backoff, Stopper, chain};
use posthaste_schema::TaskEvent;
use posthaste_store::WebhookRetry;
use posthaste_types::limits::HUB_QUEUED_BYTES_MAX;
use posthaste_types::{EventKind, topics};
use tokio::sync::mpsc;

use crate::decoder::{Decoded, Decoder};
use crate::stream::entry::envelope;
use crate::webhook::directory::{Directories, Target};
use crate::webhook::dispatcher::{Ack, Job};

/// How to be a member of the group.
#[derive(Debug, Clone)]
pub(crate) struct Membership {
    /// How to reach Kafka.
    pub(crate) kafka: KafkaOptions,
    /// The group's name.
    pub(crate) group: String,
    /// A member silent for so long is replaced, milliseconds.
    pub(crate) session_timeout_ms: u32,
}

/// A membership whose events are read no more. The receiver is held, since the member leaves when it is dropped.
pub(crate) struct Member {
    consumer: GroupConsumer,
    _events: mpsc::Receiver<GroupEvent>,
}

/// The loop's state.
pub(crate) struct Consumer {
    membership: Membership,
    decoder: Decoder,
    directories: Arc<Directories>,
    jobs: mpsc::Sender<Job>,
    partitions: HashMap<TopicPartition, Partition>,
    done: mpsc::UnboundedSender<(TopicPartition, i64)>,
    settled: mpsc::UnboundedReceiver<(TopicPartition, i64)>,
    is_failing: bool,
    stopper: Stopper,
}

/// An assigned partition, or a revoked one with deliveries under way.
#[derive(Default)]
struct Partition {
    offsets: OffsetTracker,
    /// The next offset to be stored; stored once for a batch.
    position: Option<i64>,
    /// Holds the rebalance back until what is under way has ended.
    revoked: Option<Arc<RevokeGuard>>,
}

impl Consumer {
    /// One that is in no group yet.
    pub(crate) fn new(
        membership: Membership,
        decoder: Decoder,
        directories: Arc<Directories>,
        jobs: mpsc::Sender<Job>,
        stopper: Stopper,
    ) -> Self {
        let (done, settled) = mpsc::unbounded_channel();
        let (partitions, is_failing) = (HashMap::new(), false);
        Self {
            membership,
            decoder,
            directories,
            jobs,
            partitions,
            done,
            settled,
            is_failing,
            stopper,
        }
    }

    /// Reads until stopped; joins again when it was thrown out. Returns the membership, to be left by [`Self::leave`].
    pub(crate) async fn run(&mut self) -> Result<Option<Member>, Error> {
        let mut backoff = Backoff::dependency();
        loop {
            let options = GroupConsumerOptions {
                group: self.membership.group.clone(),
                instance_id: None,
                topics: vec![topics::RESULTS.to_owned()],
                session_timeout_ms: self.membership.session_timeout_ms,
                queued_bytes_max: HUB_QUEUED_BYTES_MAX,
            };
            let (consumer, mut events) = GroupConsumer::start(&self.membership.kafka, options)?;
            if self.read(&consumer, &mut events).await {
                return Ok(Some(Member {
                    consumer,
                    _events: events,
                }));
            }
            consumer.close().await;
            self.partitions.clear();
            if !backoff.wait(&self.stopper).await {
                return Ok(None);
            }
        }
    }

    /// Leaves the group, with the offsets of what was settled after reading ended; to be called when no delivery is under
    /// way any more.
    pub(crate) async fn leave(&mut self, member: Member) {
        self.store_settled(&member.consumer);
        member.consumer.close().await;
    }

    /// `true` when stopped, `false` when the membership ended by itself.
    async fn read(&mut self, consumer: &GroupConsumer, events: &mut mpsc::Receiver<GroupEvent>) -> bool {
        let stopper = self.stopper.clone();
        loop {
            tokio::select! {
                biased;
                () = stopper.stopped() => return true,
                Some((partition, offset)) = self.settled.recv() => {
                    self.complete(&partition, offset);
                    self.store_settled(consumer);
                }
                event = events.recv() => match event {
                    Some(event) => self.take(consumer, event).await,
                    None => return false,
                },
            }
        }
    }

    async fn take(&mut self, consumer: &GroupConsumer, event: GroupEvent) {
        match event {
            GroupEvent::Assigned(partitions) => {
                for partition in partitions {
                    self.partitions.insert(partition, Partition::default());
                }
            }
            GroupEvent::Revoked(partitions, guard) => self.revoke(consumer, partitions, guard),
            GroupEvent::Records(records) => {
                self.is_failing = false;
                for record in records {
                    if !self.take_record(record).await {
                        return;
                    }
                }
                self.store_settled(consumer);
            }
            GroupEvent::Failed(error) => {
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::warn!(error = %chain(&error), "events for webhooks cannot be read; going on when they can");
                }
            }
        }
    }

    fn revoke(&mut self, consumer: &GroupConsumer, partitions: Vec<TopicPartition>, guard: RevokeGuard) {
        self.store_settled(consumer);
        if guard.is_lost() {
            partitions
                .iter()
                .for_each(|partition| drop(self.partitions.remove(partition)));
            return;
        }
        let guard = Arc::new(guard);
        for partition in partitions {
            let Some(state) = self.partitions.get_mut(&partition) else {
                continue;
            };
            if state.offsets.pending() == 0 {
                self.partitions.remove(&partition);
            } else {
                state.revoked = Some(Arc::clone(&guard));
            }
        }
    }

    /// `false` when stopping was asked for: the record is not acknowledged and will be read again.
    async fn take_record(&mut self, record: Record) -> bool {
        let partition = record.topic_partition();
        let Some(state) = self.partitions.get_mut(&partition) else {
            return true;
        };
        if !state.offsets.track(record.offset) {
            return true;
        }
        let (event, targets) = match self.recipients(&record).await {
            Ok(Some(found)) => found,
            Ok(None) => {
                self.complete(&partition, record.offset);
                return true;
            }
            Err(Stopped) => return false,
        };
        let ack = Ack::new(partition, record.offset, targets.len(), self.done.clone());
        let envelope = envelope(event);
        let body = Bytes::from(serde_json::to_vec(&envelope).expect("our own shapes always serialise"));
        for target in targets {
            let delivery = WebhookRetry {
                endpoint_id: target.endpoint.id,
                event_id: envelope.id,
                task_id: envelope.data.id,
                kind: envelope.kind,
                body: body.clone(),
                attempt_count: 0,
            };
            let job = Job {
                target,
                delivery,
                ack: Some(ack.clone()),
            };
            if !matches!(
                self.stopper.unless_stopped(self.jobs.send(job)).await,
                Some(Ok(()))
            ) {
                return false;
            }
        }
        true
    }

    /// Who gets the record's event; none when nobody does. What nobody can want is not decoded.
    async fn recipients(&self, record: &Record) -> Result<Option<(TaskEvent, Vec<Arc<Target>>)>, Stopped> {
        let directory = self.directories.present();
        let kind = record
            .header(topics::HEADER_EVENT_TYPE)
            .and_then(|kind| std::str::from_utf8(kind).ok());
        let kind = kind.and_then(|kind| kind.parse::<EventKind>().ok());
        if kind.is_some_and(|kind| !directory.may_want(kind)) {
            return Ok(None);
        }
        match self.decoder.event(record, &self.stopper).await {
            Decoded::Event(event) => {
                let targets = directory.recipients(&event);
                Ok((!targets.is_empty()).then_some((*event, targets)))
            }
            Decoded::Dead => Ok(None),
            Decoded::Stopped => Err(Stopped),
        }
    }

    fn complete(&mut self, partition: &TopicPartition, offset: i64) {
        let Some(state) = self.partitions.get_mut(partition) else {
            return;
        };
        if let Some(position) = state.offsets.complete(offset) {
            state.position = Some(position);
        }
    }

    /// Stores what has been completed, and lets go of revoked partitions that have nothing under way.
    fn store_settled(&mut self, consumer: &GroupConsumer) {
        while let Ok((partition, offset)) = self.settled.try_recv() {
            self.complete(&partition, offset);
        }
        self.partitions.retain(|partition, state| {
            if let Some(position) = state.position.take() {
                consumer.store_offset(partition, position);
            }
            state.revoked.is_none() || state.offsets.pending() > 0
        });
    }
}

/// Stopping was asked for.
struct Stopped;
