//! The recent events of all partitions in the order in which this process read them. Pure: no I/O, no clock, no locks.
//!
//! Other processes merge the partitions in other orders; cursors name offsets and not places in this log, so that they
//! are good everywhere.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use posthaste_types::TaskId;

use crate::cursor::Cursor;
use crate::stream::entry::Entry;
use crate::stream::filter::{Filter, Scope};

/// Entries that one read looks at while it holds the log.
const READ_ENTRY_COUNT_MAX: usize = 1024;

/// How much of the past is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WindowBounds {
    /// Entries.
    pub(crate) event_count: usize,
    /// Bytes of entries; the newest is kept whatever its size.
    pub(crate) bytes: usize,
}

/// An entry and the places of the ones before it that share its channel and its task; 0 where there is none.
struct Slot {
    entry: Arc<Entry>,
    previous_in_channel: u64,
    previous_in_task: u64,
}

/// The window. Places count from 1 and are never used again.
pub(crate) struct Log {
    bounds: WindowBounds,
    slots: VecDeque<Slot>,
    /// The place of the first slot; where the window is empty, the next place.
    first: u64,
    bytes: usize,
    /// Before the first slot: what is at or past it can be read here.
    floor: Cursor,
    /// After the last slot.
    tip: Cursor,
    last_in_channel: HashMap<Arc<str>, u64>,
    last_in_task: HashMap<TaskId, u64>,
}

/// What a read found.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Entries that the filter wants, in the log's order.
    pub(crate) entries: Vec<Arc<Entry>>,
    /// Where the read stopped before the log's end: the place to go on from and the last entry that was looked at.
    pub(crate) stopped: Option<(u64, Arc<Entry>)>,
}

impl Log {
    /// An empty log; `start` is where its readers of the topic begin.
    pub(crate) fn new(start: Cursor, bounds: WindowBounds) -> Self {
        Self {
            bounds,
            slots: VecDeque::new(),
            first: 1,
            bytes: 0,
            floor: start.clone(),
            tip: start,
            last_in_channel: HashMap::new(),
            last_in_task: HashMap::new(),
        }
    }

    /// The oldest cursor that can be served from here.
    pub(crate) fn floor(&self) -> &Cursor {
        &self.floor
    }

    /// The cursor after everything that was read.
    pub(crate) fn tip(&self) -> &Cursor {
        &self.tip
    }

    /// The place of the oldest entry.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// The place that the next entry will get.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.slots.len() as u64
    }

    /// Adds an entry and lets go of the oldest ones past the bounds. Returns its place.
    pub(crate) fn append(&mut self, entry: Arc<Entry>) -> u64 {
        let place = self.end();
        self.tip.advance(entry.partition, entry.offset + 1);
        self.bytes += entry.memory_bytes();
        let channel = entry.channel.as_ref();
        let previous_in_channel = channel
            .and_then(|name| self.last_in_channel.insert(Arc::clone(name), place))
            .unwrap_or(0);
        let previous_in_task = self.last_in_task.insert(entry.task, place).unwrap_or(0);
        self.slots.push_back(Slot {
            entry,
            previous_in_channel,
            previous_in_task,
        });
        while self.slots.len() > self.bounds.event_count
            || (self.bytes > self.bounds.bytes && self.slots.len() > 1)
        {
            self.evict();
        }
        place
    }

    /// Notes that there is nothing to deliver before `tip`.
    pub(crate) fn skip_to(&mut self, tip: &Cursor) {
        self.tip.join(tip);
    }

    /// Drops everything, because records of a partition are gone that were never read here: it goes on at
    /// `next_offset`, which may lie before or after what was read.
    pub(crate) fn restart(&mut self, partition: i32, next_offset: i64) {
        self.first = self.end() + 1;
        self.slots.clear();
        self.bytes = 0;
        self.last_in_channel.clear();
        self.last_in_task.clear();
        self.tip.set(partition, next_offset);
        self.floor.copy_from(&self.tip);
    }

    /// Entries from place `from` on that `filter` wants, found by way of its scope; bounded in number and bytes.
    pub(crate) fn read(&self, from: u64, filter: &Filter, scope: &Scope, bytes_max: usize) -> Batch {
        let from = from.max(self.first);
        match scope {
            Scope::All => self.take(from..self.end(), filter, bytes_max),
            Scope::Channel(name) => {
                let places = self.chain(self.last_in_channel.get(name), from, |slot| {
                    slot.previous_in_channel
                });
                self.take(places, filter, bytes_max)
            }
            Scope::Task(task) => {
                let places = self.chain(self.last_in_task.get(task), from, |slot| slot.previous_in_task);
                self.take(places, filter, bytes_max)
            }
        }
    }

    fn take(&self, places: impl IntoIterator<Item = u64>, filter: &Filter, bytes_max: usize) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        for (count, place) in (1..).zip(places) {
            let entry = &self.slot(place).entry;
            if filter.matches(entry) {
                bytes += entry.frame.len();
                batch.entries.push(Arc::clone(entry));
            }
            if count == READ_ENTRY_COUNT_MAX || bytes >= bytes_max {
                batch.stopped = Some((place + 1, Arc::clone(entry)));
                break;
            }
        }
        batch
    }

    /// Places from `from` on that are linked to `last`, oldest first.
    fn chain(&self, last: Option<&u64>, from: u64, previous: impl Fn(&Slot) -> u64) -> Vec<u64> {
        let mut places = Vec::new();
        let mut place = last.copied().unwrap_or(0);
        while place >= from {
            places.push(place);
            place = previous(self.slot(place));
        }
        places.reverse();
        places
    }

    /// A place from `first` up to before `end`.
    fn slot(&self, place: u64) -> &Slot {
        let index = usize::try_from(place - self.first).expect("the window's length is a usize");
        &self.slots[index]
    }

    fn evict(&mut self) {
        let Some(Slot { entry, .. }) = self.slots.pop_front() else {
            return;
        };
        if let Some(name) = &entry.channel
            && self.last_in_channel.get(name) == Some(&self.first)
        {
            self.last_in_channel.remove(name);
        }
        if self.last_in_task.get(&entry.task) == Some(&self.first) {
            self.last_in_task.remove(&entry.task);
        }
        self.first += 1;
        self.bytes -= entry.memory_bytes();
        self.floor.advance(entry.partition, entry.offset + 1);
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
