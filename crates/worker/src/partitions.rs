//! The partitions that this process owns or is letting go, and what may be committed for each.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use posthaste_broker::{GroupConsumer, OffsetTracker, Record, RevokeGuard, TopicPartition};
use posthaste_types::limits::{PARTITION_TASK_COUNT_MAX, PARTITION_WINDOW_RECORD_COUNT_MAX};

/// One assignment of a partition: what was begun under one never counts for the next.
pub(crate) type AssignmentId = u64;

/// Where a record was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) assignment: AssignmentId,
    pub(crate) offset: i64,
    pub(crate) byte_count: usize,
}

/// A partition while it is ours.
#[derive(Debug)]
struct Assigned {
    partition: TopicPartition,
    offsets: OffsetTracker,
    /// Records whose turn has come: an attempt runs, or they are on the way to the dead letters.
    in_work: usize,
    is_paused: bool,
    /// Records behind one whose schema is being looked up: they wait, so that a key's order stays.
    parked: VecDeque<(Place, Record)>,
    /// Set while the partition is being let go: the next owner waits until all clones are dropped.
    guard: Option<Arc<RevokeGuard>>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Partitions {
    assigned: HashMap<AssignmentId, Assigned>,
    /// Those that are not being let go.
    current: HashMap<TopicPartition, AssignmentId>,
    last_id: AssignmentId,
}

impl Partitions {
    /// Takes up partitions. One of the same name that is still being let go is given up: its records come again.
    pub(crate) fn assign(&mut self, partitions: Vec<TopicPartition>) {
        for partition in partitions {
            self.assigned
                .retain(|_, assigned| assigned.partition != partition);
            self.last_id += 1;
            self.current.insert(partition.clone(), self.last_id);
            let assigned = Assigned {
                partition,
                offsets: OffsetTracker::new(),
                in_work: 0,
                is_paused: false,
                parked: VecDeque::new(),
                guard: None,
            };
            self.assigned.insert(self.last_id, assigned);
        }
    }

    /// Lets partitions go: those with work in progress when that ends, the others and the lost ones at once. Returns
    /// the bytes of what was parked.
    pub(crate) fn revoke(&mut self, partitions: &[TopicPartition], guard: RevokeGuard) -> usize {
        let is_lost = guard.is_lost();
        let guard = Arc::new(guard);
        let mut parked_bytes = 0;
        for partition in partitions {
            let Some(id) = self.current.remove(partition) else {
                continue;
            };
            let Some(assigned) = self.assigned.get_mut(&id) else {
                continue;
            };
            parked_bytes += assigned
                .parked
                .drain(..)
                .map(|(place, _)| place.byte_count)
                .sum::<usize>();
            if is_lost || assigned.in_work == 0 {
                self.assigned.remove(&id);
            } else {
                assigned.guard = Some(Arc::clone(&guard));
            }
        }
        parked_bytes
    }

    /// Whether waiting work of this assignment is still ours.
    pub(crate) fn owns(&self, id: AssignmentId) -> bool {
        self.assigned
            .get(&id)
            .is_some_and(|assigned| assigned.guard.is_none())
    }

    /// Takes up a record. `None`: it is not ours any more, or was taken up before.
    pub(crate) fn track(&mut self, record: &Record) -> Option<Place> {
        let id = *self.current.get(&record.topic_partition())?;
        let assigned = self.assigned.get_mut(&id)?;
        let place = Place {
            assignment: id,
            offset: record.offset,
            byte_count: record.byte_count(),
        };
        assigned.offsets.track(record.offset).then_some(place)
    }

    /// The turn of a record has come.
    pub(crate) fn begin(&mut self, place: Place) {
        if let Some(assigned) = self.assigned.get_mut(&place.assignment) {
            assigned.in_work += 1;
        }
    }

    /// The work on a record has ended; what is finished without a gap may be committed.
    pub(crate) fn finish(&mut self, place: Place, is_dealt_with: bool, consumer: &GroupConsumer) {
        let Some(assigned) = self.assigned.get_mut(&place.assignment) else {
            return;
        };
        assigned.in_work -= 1;
        if is_dealt_with && let Some(next) = assigned.offsets.complete(place.offset) {
            consumer.store_offset(&assigned.partition, next);
        }
        if assigned.in_work == 0 && assigned.guard.is_some() {
            self.assigned.remove(&place.assignment);
        }
    }

    /// Parks a record when one of its partition is parked already, or when it must be.
    pub(crate) fn park(&mut self, place: Place, record: Record) {
        if let Some(assigned) = self.assigned.get_mut(&place.assignment) {
            assigned.parked.push_back((place, record));
        }
    }

    /// Whether a record of this assignment has to queue behind a parked one.
    pub(crate) fn is_parked(&self, id: AssignmentId) -> bool {
        self.assigned
            .get(&id)
            .is_some_and(|assigned| !assigned.parked.is_empty())
    }

    /// Takes all parked records, each partition's in its order.
    pub(crate) fn unpark(&mut self) -> Vec<(Place, Record)> {
        self.assigned
            .values_mut()
            .flat_map(|assigned| assigned.parked.drain(..))
            .collect()
    }

    /// Pauses partitions that hold too much (all of them when the process does) and resumes those that have room again.
    pub(crate) fn balance(
        &mut self,
        process_is_full: bool,
        process_has_room: bool,
        consumer: &GroupConsumer,
    ) {
        let mut pause = Vec::new();
        let mut resume = Vec::new();
        for assigned in self
            .assigned
            .values_mut()
            .filter(|assigned| assigned.guard.is_none())
        {
            let (pending, window) = (assigned.offsets.pending(), assigned.offsets.window_len());
            let is_full = process_is_full
                || pending >= PARTITION_TASK_COUNT_MAX
                || window >= PARTITION_WINDOW_RECORD_COUNT_MAX;
            // Far below the bound: what librdkafka had fetched ahead is fetched anew after each pause.
            let has_room = process_has_room
                && pending <= PARTITION_TASK_COUNT_MAX / 4
                && window <= PARTITION_WINDOW_RECORD_COUNT_MAX / 2;
            if !assigned.is_paused && is_full {
                pause.push(assigned.partition.clone());
                assigned.is_paused = true;
            } else if assigned.is_paused && has_room {
                resume.push(assigned.partition.clone());
                assigned.is_paused = false;
            }
        }
        if !pause.is_empty() {
            consumer.pause(&pause);
        }
        if !resume.is_empty() {
            consumer.resume(&resume);
        }
    }
}
