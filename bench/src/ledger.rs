//! The books: each task from its submission to its event, and how long each leg took. Does no I/O.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::scan::{FinalEvent, TaskKey};

/// Latencies beyond it are counted as it: an hour.
const LATENCY_US_MAX: u64 = 3_600_000_000;

/// Ids are random in their low bits already.
#[derive(Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, id: u128) {
        let [high, low] = [id >> 64, id & u128::from(u64::MAX)].map(|half| u64::try_from(half).unwrap_or(0));
        self.0 = high.rotate_left(32) ^ low;
    }
}

/// When a request was to be sent, and when it was.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sent {
    /// The schedule's time: latencies count from here, so that a stalled server does not hide its own stall.
    pub(crate) intended: Instant,
    /// Whether it belongs to the time that is measured.
    pub(crate) measured: bool,
}

/// When an event came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Received {
    pub(crate) at: Instant,
    /// The wall clock then, microseconds since 1970.
    pub(crate) wall_us: i64,
}

enum State {
    /// Its 202 has come, its event has not.
    Accepted(Sent),
    /// Its event has come before its 202.
    Early(FinalEvent, Received),
    Finished,
}

/// The legs of the way, and the whole.
#[derive(Debug, Clone)]
pub(crate) struct Legs {
    pub(crate) accept: Histogram<u64>,
    pub(crate) queue: Histogram<u64>,
    pub(crate) run: Histogram<u64>,
    pub(crate) back: Histogram<u64>,
    pub(crate) whole: Histogram<u64>,
}

/// What was counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) submitted: u64,
    pub(crate) completed: u64,
    /// Completions that are events other than `task.done`.
    pub(crate) not_done: u64,
    pub(crate) duplicated: u64,
    /// Tasks that the server refused.
    pub(crate) refused: u64,
    /// Tasks whose request broke: they may exist or not.
    pub(crate) unknown: u64,
    /// Tasks of the schedule that no connection was free for.
    pub(crate) unsent: u64,
    /// Completions whose event came within the measured time.
    pub(crate) completed_measured: u64,
}

/// All of it.
pub(crate) struct Ledger {
    tasks: HashMap<TaskKey, State, BuildHasherDefault<IdHasher>>,
    pub(crate) legs: Legs,
    pub(crate) counts: Counts,
    measured: std::ops::Range<Instant>,
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds and three digits are allowed")
}

fn us(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// The time between two readings of wall clocks; a clock that was set back gives 0.
fn between(from_us: i64, to_us: i64) -> u64 {
    u64::try_from(to_us - from_us).unwrap_or(0)
}

impl Ledger {
    pub(crate) fn new(measured: std::ops::Range<Instant>) -> Self {
        let [accept, queue, run, back, whole] = std::array::from_fn(|_| histogram());
        Self {
            tasks: HashMap::default(),
            legs: Legs {
                accept,
                queue,
                run,
                back,
                whole,
            },
            counts: Counts::default(),
            measured,
        }
    }

    /// Whether a request that is sent for `intended` is measured.
    pub(crate) fn is_measured(&self, intended: Instant) -> bool {
        self.measured.contains(&intended)
    }

    /// Tasks that were accepted and whose event has not come.
    pub(crate) fn pending(&self) -> u64 {
        self.counts.submitted - self.counts.completed
    }

    /// Events of tasks that no answer has named: of requests that broke, or of someone else.
    pub(crate) fn unclaimed(&self) -> u64 {
        self.tasks
            .values()
            .filter(|state| matches!(state, State::Early(..)))
            .count() as u64
    }

    /// An answer came for a request.
    pub(crate) fn answered(&mut self, sent: Sent, at: Instant) {
        if sent.measured {
            self.legs.accept.saturating_record(us(at - sent.intended));
        }
    }

    /// The answer named this task. Whether its event had come already: it is complete then.
    pub(crate) fn accepted(&mut self, task: TaskKey, sent: Sent) -> bool {
        self.counts.submitted += 1;
        match self.tasks.entry(task) {
            Entry::Vacant(vacant) => {
                vacant.insert(State::Accepted(sent));
                false
            }
            Entry::Occupied(mut occupied) => {
                let State::Early(event, received) = std::mem::replace(occupied.get_mut(), State::Finished)
                else {
                    return false;
                };
                self.finish(sent, &event, received);
                true
            }
        }
    }

    /// A final event came. Whether it completes a task.
    pub(crate) fn event(&mut self, event: FinalEvent, received: Received) -> bool {
        match self.tasks.entry(event.task) {
            Entry::Vacant(vacant) => {
                vacant.insert(State::Early(event, received));
                false
            }
            Entry::Occupied(mut occupied) => match std::mem::replace(occupied.get_mut(), State::Finished) {
                State::Accepted(sent) => {
                    self.finish(sent, &event, received);
                    true
                }
                early_or_finished => {
                    occupied.insert(early_or_finished);
                    self.counts.duplicated += 1;
                    false
                }
            },
        }
    }

    fn finish(&mut self, sent: Sent, event: &FinalEvent, received: Received) {
        self.counts.completed += 1;
        self.counts.not_done += u64::from(!event.done);
        self.counts.completed_measured += u64::from(self.measured.contains(&received.at));
        if !sent.measured {
            return;
        }
        let legs = &mut self.legs;
        if let Some(started_us) = event.started_us {
            legs.queue
                .saturating_record(between(event.created_us, started_us));
            legs.run.saturating_record(between(started_us, event.finished_us));
        }
        legs.back
            .saturating_record(between(event.finished_us, received.wall_us));
        legs.whole.saturating_record(us(received.at - sent.intended));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> (Ledger, Sent, Received) {
        let start = Instant::now();
        let sent = Sent {
            intended: start,
            measured: true,
        };
        let received = Received {
            at: start + Duration::from_millis(5),
            wall_us: 4_000,
        };
        (Ledger::new(start..start + Duration::from_secs(1)), sent, received)
    }

    fn event(task: TaskKey) -> FinalEvent {
        FinalEvent {
            task,
            done: true,
            created_us: 1_000,
            started_us: Some(2_000),
            finished_us: 2_500,
        }
    }

    #[test]
    fn a_task_completes_once_whether_answer_or_event_comes_first() {
        let (mut ledger, sent, received) = ledger();
        assert!(!ledger.accepted(1, sent));
        assert!(ledger.event(event(1), received));
        assert!(!ledger.event(event(2), received));
        assert!(ledger.accepted(2, sent));
        assert_eq!(
            (
                ledger.counts.completed,
                ledger.pending(),
                ledger.counts.duplicated
            ),
            (2, 0, 0)
        );
        let legs = &ledger.legs;
        let recorded = |histogram: &Histogram<u64>, us| {
            histogram.len() == 2 && histogram.equivalent(histogram.max(), us)
        };
        assert!(recorded(&legs.whole, 5_000) && recorded(&legs.queue, 1_000));
        assert!(recorded(&legs.run, 500) && recorded(&legs.back, 1_500));
        assert_eq!(
            (
                ledger.legs.queue.max(),
                ledger.legs.run.max(),
                ledger.legs.back.max()
            ),
            (1_000, 500, 1_500)
        );
    }

    #[test]
    fn a_second_event_is_a_duplicate_and_a_missing_one_stays_pending() {
        let (mut ledger, sent, received) = ledger();
        ledger.accepted(1, sent);
        ledger.accepted(2, sent);
        ledger.event(event(1), received);
        assert!(!ledger.event(event(1), received));
        ledger.event(event(3), received);
        assert!(!ledger.event(event(3), received));
        assert_eq!(
            (ledger.counts.duplicated, ledger.pending(), ledger.unclaimed()),
            (2, 1, 1)
        );
    }
}
