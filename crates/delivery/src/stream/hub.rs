//! Where the reader of the results topic and the subscribers meet: the log, and who is to be woken for what.
//!
//! Waking costs what is delivered, not subscribers times events: an entry wakes those who wait for its task, its
//! channel, or everything, and a subscriber that is awake already is only marked.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;
use posthaste_types::TaskId;
use posthaste_types::limits::STREAM_CHUNK_BYTES_MAX;
use tokio::sync::Notify;

use crate::cursor::Cursor;
use crate::stream::entry::Entry;
use crate::stream::filter::{Filter, Scope};
use crate::stream::log::{Batch, Log, WindowBounds};

/// The log and its subscribers. One for each process.
pub(crate) struct Hub {
    state: RwLock<State>,
    /// Whether what the topic held when this process started has been read.
    live: AtomicBool,
}

struct State {
    log: Log,
    waiters: Waiters,
}

/// A subscriber as the hub sees it.
#[derive(Default)]
struct Waiter {
    woken: Notify,
    /// The place of the first entry that may be for it and that it has not read; 0 when there is none. Written under
    /// the hub's lock, by the writer when it marks and by the one reader when it has read.
    first_unread: AtomicU64,
}

/// The subscribers by what they wait for.
#[derive(Default)]
struct Waiters {
    all: Vec<Arc<Waiter>>,
    by_channel: HashMap<Arc<str>, Vec<Arc<Waiter>>>,
    by_task: HashMap<TaskId, Vec<Arc<Waiter>>>,
}

/// A cursor that lies before the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BehindWindow;

impl Hub {
    /// One whose readers of the topic have not begun.
    pub(crate) fn new(bounds: WindowBounds) -> Self {
        let state = State {
            log: Log::new(Cursor::default(), bounds),
            waiters: Waiters::default(),
        };
        Self {
            state: RwLock::new(state),
            live: AtomicBool::new(false),
        }
    }

    /// Begins at `start`, with an empty window.
    pub(crate) fn begin(&self, start: Cursor, bounds: WindowBounds) {
        self.state.write().log = Log::new(start, bounds);
    }

    /// Says that the present end of the topic has been reached: subscribers may come.
    pub(crate) fn set_live(&self) {
        self.live.store(true, Ordering::Release);
    }

    /// Whether subscribers may come.
    pub(crate) fn is_live(&self) -> bool {
        self.live.load(Ordering::Acquire)
    }

    /// The cursor after everything that was read.
    pub(crate) fn tip(&self) -> Cursor {
        self.state.read().log.tip().clone()
    }

    /// Adds what was read, in order, and wakes whom it is for. `tip` is the reader's cursor after it; it also covers
    /// records that could not be used and control records.
    pub(crate) fn append(&self, entries: Vec<Entry>, tip: &Cursor) {
        let mut state = self.state.write();
        let State { log, waiters } = &mut *state;
        if !entries.is_empty() {
            waiters.all.iter().for_each(|waiter| waiter.mark(log.end()));
        }
        for entry in entries {
            let entry = Arc::new(entry);
            let place = log.append(Arc::clone(&entry));
            waiters.mark(&entry, place);
        }
        log.skip_to(tip);
    }

    /// Empties the window, because records of a partition were missed; every subscriber is sent to look for itself.
    pub(crate) fn restart(&self, partition: i32, next_offset: i64) {
        let mut state = self.state.write();
        state.log.restart(partition, next_offset);
        let gone = state.log.first() - 1;
        state.waiters.mark_all(gone);
    }

    /// Subscribes from `position` on.
    ///
    /// # Errors
    /// [`BehindWindow`] when what follows `position` is not wholly in the window.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        position: Cursor,
        filter: Arc<Filter>,
    ) -> Result<Subscription, BehindWindow> {
        let mut state = self.state.write();
        if !position.covers(state.log.floor()) {
            return Err(BehindWindow);
        }
        let aligned = position == *state.log.tip();
        let subscription = self.add(&mut state, position, aligned, filter);
        if !aligned && state.log.first() < state.log.end() {
            subscription.waiter.mark(state.log.first());
        }
        Ok(subscription)
    }

    /// Subscribes to everything that is in the window and what comes; for those who tell by themselves what they know
    /// already. It matters to whoever reads the record too: the log tells of a commit a moment before a query sees it, so
    /// an event may have been read here that the record does not show yet.
    pub(crate) fn subscribe_from_window(self: &Arc<Self>, filter: Arc<Filter>) -> Subscription {
        let mut state = self.state.write();
        let tip = state.log.tip().clone();
        let subscription = self.add(&mut state, tip, true, filter);
        if state.log.first() < state.log.end() {
            subscription.waiter.mark(state.log.first());
        }
        subscription
    }

    fn add(
        self: &Arc<Self>,
        state: &mut State,
        position: Cursor,
        aligned: bool,
        filter: Arc<Filter>,
    ) -> Subscription {
        let waiter = Arc::new(Waiter::default());
        let scope = filter.scope();
        state.waiters.add(&waiter, &scope, &filter);
        Subscription {
            hub: Arc::clone(self),
            waiter,
            scope,
            filter,
            position,
            aligned,
            tip: Cursor::default(),
        }
    }
}

impl Waiter {
    fn mark(&self, place: u64) {
        // A waiter that is marked has been woken and has not read since.
        if self.first_unread.load(Ordering::Relaxed) == 0 {
            self.first_unread.store(place, Ordering::Relaxed);
            self.woken.notify_one();
        }
    }
}

impl Waiters {
    /// Marks those who wait for the entry's channel or task.
    fn mark(&self, entry: &Entry, place: u64) {
        let by_channel = entry.channel.as_ref().and_then(|name| self.by_channel.get(name));
        let by_task = self.by_task.get(&entry.task);
        for waiter in [by_channel, by_task].into_iter().flatten().flatten() {
            waiter.mark(place);
        }
    }

    fn mark_all(&self, place: u64) {
        let lists = std::iter::once(&self.all)
            .chain(self.by_channel.values())
            .chain(self.by_task.values());
        for waiter in lists.flatten() {
            // Whatever it had before it is gone as well.
            waiter.first_unread.store(place, Ordering::Relaxed);
            waiter.woken.notify_one();
        }
    }

    fn add(&mut self, waiter: &Arc<Waiter>, scope: &Scope, filter: &Filter) {
        match scope {
            Scope::Task(task) => self.by_task.entry(*task).or_default().push(Arc::clone(waiter)),
            Scope::All if filter.channels.is_empty() => self.all.push(Arc::clone(waiter)),
            // Several channels wake it, each by its own list.
            Scope::All | Scope::Channel(_) => {
                for name in &filter.channels {
                    self.by_channel
                        .entry(Arc::clone(name))
                        .or_default()
                        .push(Arc::clone(waiter));
                }
            }
        }
    }

    fn remove(&mut self, waiter: &Arc<Waiter>, scope: &Scope, filter: &Filter) {
        match scope {
            Scope::Task(task) => remove_from(&mut self.by_task, task, waiter),
            Scope::All if filter.channels.is_empty() => self.all.retain(|other| !Arc::ptr_eq(other, waiter)),
            Scope::All | Scope::Channel(_) => {
                for name in &filter.channels {
                    remove_from(&mut self.by_channel, name, waiter);
                }
            }
        }
    }
}

fn remove_from<K: std::hash::Hash + Eq>(
    lists: &mut HashMap<K, Vec<Arc<Waiter>>>,
    key: &K,
    waiter: &Arc<Waiter>,
) {
    let Some(list) = lists.get_mut(key) else { return };
    list.retain(|other| !Arc::ptr_eq(other, waiter));
    if list.is_empty() {
        lists.remove(key);
    }
}

/// A subscriber's hold on the hub; dropping it unsubscribes.
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    waiter: Arc<Waiter>,
    scope: Scope,
    filter: Arc<Filter>,
    /// Everything before it has been delivered or was not wanted.
    position: Cursor,
    /// Whether `position` is where the log stands at the reader's place. Before that, the cursor that the subscriber came
    /// with is ahead of the log in some partition, and the shared frames' ids would lead back.
    aligned: bool,
    /// Kept for its memory.
    tip: Cursor,
}

/// An event for a subscriber: the entry, and the id to send where the shared frame's will not do.
pub(crate) struct Delivery {
    /// The entry.
    pub(crate) entry: Arc<Entry>,
    /// The id instead of the frame's own.
    pub(crate) own_id: Option<Cursor>,
}

impl Subscription {
    /// Completes when there may be something to read.
    pub(crate) async fn woken(&self) {
        self.waiter.woken.notified().await;
    }

    /// The cursor to come back with.
    pub(crate) fn position(&self) -> &Cursor {
        &self.position
    }

    /// Takes what is there, up to a chunk; empty when nothing is. More may be left: then [`Self::woken`] is complete.
    ///
    /// # Errors
    /// [`BehindWindow`] when the subscriber was too slow; go on from [`Self::position`] by other means.
    pub(crate) fn read(&mut self) -> Result<Vec<Delivery>, BehindWindow> {
        let batch = {
            let state = self.hub.state.read();
            let from = self.waiter.first_unread.load(Ordering::Relaxed);
            if from != 0 && from < state.log.first() {
                return Err(BehindWindow);
            }
            let batch = match from {
                0 => Batch::default(),
                from => state
                    .log
                    .read(from, &self.filter, &self.scope, STREAM_CHUNK_BYTES_MAX),
            };
            self.tip.copy_from(state.log.tip());
            self.waiter.first_unread.store(
                batch.stopped.as_ref().map_or(0, |(next, _)| *next),
                Ordering::Relaxed,
            );
            batch
        };
        let deliveries = batch
            .entries
            .into_iter()
            .filter_map(|entry| self.deliver(entry))
            .collect();
        match batch.stopped {
            Some((_, entry)) => {
                self.waiter.woken.notify_one();
                self.move_to(&entry.frame.cursor());
            }
            None => {
                let tip = std::mem::take(&mut self.tip);
                self.move_to(&tip);
                self.tip = tip;
            }
        }
        Ok(deliveries)
    }

    /// What the subscriber gets of an entry; nothing when it came with a cursor past it.
    fn deliver(&mut self, entry: Arc<Entry>) -> Option<Delivery> {
        if self.aligned {
            return Some(Delivery { entry, own_id: None });
        }
        if entry.offset < self.position.next_offset(entry.partition) {
            return None;
        }
        self.move_to(&entry.frame.cursor());
        let own_id = (!self.aligned).then(|| self.position.clone());
        Some(Delivery { entry, own_id })
    }

    /// Notes that the log has been read up to `place`'s cursor.
    fn move_to(&mut self, log_cursor: &Cursor) {
        if self.aligned {
            self.position.copy_from(log_cursor);
        } else {
            self.position.join(log_cursor);
            self.aligned = self.position == *log_cursor;
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.hub
            .state
            .write()
            .waiters
            .remove(&self.waiter, &self.scope, &self.filter);
    }
}

#[cfg(test)]
#[path = "hub_tests.rs"]
mod tests;
