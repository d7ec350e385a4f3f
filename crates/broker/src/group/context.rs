//! What librdkafka calls during a rebalance, always on the consumer's own thread, inside a poll.

use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use posthaste_types::limits::DRAIN_MS_MAX;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::group::{GroupEvent, RevokeGuard};
use crate::thread::{IDLE_POLL, Outlet};
use crate::{Record, TopicPartition, context};

pub(super) struct Context {
    /// Gone once the member is leaving: from then on rebalances happen in silence, and the channel can end.
    outlet: Mutex<Option<Outlet<GroupEvent>>>,
    /// The batch that is being read: a revocation in its middle takes out what is no longer ours.
    pub(super) pending: Mutex<Vec<Record>>,
}

impl Context {
    pub(super) const fn new(outlet: Outlet<GroupEvent>) -> Self {
        Self {
            outlet: Mutex::new(Some(outlet)),
            pending: Mutex::new(Vec::new()),
        }
    }

    /// The member is leaving.
    pub(super) fn stop_listening(&self) {
        self.outlet.lock().take();
    }

    fn outlet(&self) -> Option<Outlet<GroupEvent>> {
        self.outlet.lock().clone()
    }

    /// Tells the reader that partitions are gone already, and waits for nothing.
    pub(super) fn revoke_lost(&self, partitions: Vec<TopicPartition>) {
        let (release, _) = std::sync::mpsc::channel();
        self.pending.lock().clear();
        if let Some(outlet) = self.outlet() {
            outlet.send(GroupEvent::Revoked(
                partitions,
                RevokeGuard {
                    _release: release,
                    is_lost: true,
                },
            ));
        }
    }

    /// Tells the reader and waits until it has let go.
    fn revoke(&self, outlet: &Outlet<GroupEvent>, partitions: Vec<TopicPartition>, is_lost: bool) {
        self.pending.lock().retain(|record| {
            !partitions
                .iter()
                .any(|gone| gone.partition == record.partition && gone.topic == record.topic)
        });
        let (release, released) = std::sync::mpsc::channel();
        if !outlet.send(GroupEvent::Revoked(
            partitions,
            RevokeGuard {
                _release: release,
                is_lost,
            },
        )) {
            return;
        }
        let deadline = Instant::now() + Duration::from_millis(DRAIN_MS_MAX);
        while released.recv_timeout(IDLE_POLL) == Err(RecvTimeoutError::Timeout) {
            if Instant::now() >= deadline {
                tracing::warn!("a revoked partition's work did not end in time; its next owner repeats it");
                return;
            }
            if outlet.is_closed() {
                return;
            }
        }
    }
}

pub(super) fn partitions(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let partition = |element: rdkafka::topic_partition_list::TopicPartitionListElem<'_>| TopicPartition {
        topic: element.topic().into(),
        partition: element.partition(),
    };
    list.elements().into_iter().map(partition).collect()
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        context::log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        context::report(&error, reason);
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let (Rebalance::Revoke(list), Some(outlet)) = (rebalance, self.outlet()) else {
            return;
        };
        if list.count() == 0 {
            return;
        }
        let is_lost = consumer.assignment_lost();
        self.revoke(&outlet, partitions(list), is_lost);
        if is_lost {
            return;
        }
        match consumer.commit_consumer_state(CommitMode::Sync) {
            Ok(()) | Err(KafkaError::ConsumerCommit(Code::NoOffset)) => {}
            Err(error) => tracing::warn!(%error, "stored offsets not committed on revocation"),
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance
            && list.count() > 0
            && let Some(outlet) = self.outlet()
        {
            outlet.send(GroupEvent::Assigned(partitions(list)));
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            // The next commit carries these offsets too.
            tracing::debug!(%error, "offsets not committed");
        }
    }
}
