//! The tasks that wait for a handler: highest priority first, and one at a time in each lane. Pure: no Kafka, no clock.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use posthaste_types::TaskId;
use posthaste_types::limits::PRIORITY_MAX;

const PRIORITY_COUNT: usize = PRIORITY_MAX as usize + 1;

/// What runs one after another: the tasks of an ordering key, or all records of one task.
///
/// The second is what discards duplicates: a record that comes again while its task runs waits for the end, and its
/// claim then finds nothing to do.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// A task without a key.
    Task(TaskId),
    /// Tenant and ordering key.
    Key(Arc<(String, String)>),
}

/// Something that waits.
#[derive(Debug)]
pub(crate) struct Waiting<T> {
    pub(crate) lane: Lane,
    /// 0 to 9; what is outside counts as the nearest.
    pub(crate) priority: i16,
    pub(crate) item: T,
}

/// A waiting item with its place in the order of arrival.
#[derive(Debug)]
struct Queued<T> {
    sequence: u64,
    waiting: Waiting<T>,
}

/// The head of a lane is ready or running; those behind it wait in the lane.
///
/// Invariant: a lane has an entry exactly while its head is ready or running.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    ready: [VecDeque<Queued<T>>; PRIORITY_COUNT],
    lanes: HashMap<Lane, VecDeque<Queued<T>>>,
    sequence: u64,
}

impl<T> Queue<T> {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            ready: std::array::from_fn(|_| VecDeque::new()),
            lanes: HashMap::new(),
            sequence: 0,
        }
    }

    /// Adds an item behind those of its lane and its priority.
    pub(crate) fn push(&mut self, waiting: Waiting<T>) {
        self.sequence += 1;
        self.enqueue(Queued {
            sequence: self.sequence,
            waiting,
        });
    }

    /// Takes the next item to run. Its lane is held until [`Self::finish`].
    pub(crate) fn pop(&mut self) -> Option<Waiting<T>> {
        self.ready
            .iter_mut()
            .rev()
            .find_map(VecDeque::pop_front)
            .map(|queued| queued.waiting)
    }

    /// The running item of a lane has finished: the next of the lane becomes ready.
    pub(crate) fn finish(&mut self, lane: Lane) {
        let Entry::Occupied(mut entry) = self.lanes.entry(lane) else {
            return;
        };
        match entry.get_mut().pop_front() {
            Some(next) => self.ready[level(&next.waiting)].push_back(next),
            None => drop(entry.remove()),
        }
    }

    /// Removes what waits and is not wanted any more. What runs keeps its lane.
    pub(crate) fn retain(&mut self, mut wanted: impl FnMut(&T) -> bool) {
        let mut kept: Vec<Queued<T>> = Vec::new();
        for ready in &mut self.ready {
            for queued in ready.drain(..) {
                // The head leaves, so its lane is not held; those behind it are collected below.
                if let Some(behind) = self.lanes.remove(&queued.waiting.lane) {
                    kept.extend(behind);
                }
                kept.push(queued);
            }
        }
        for behind in self.lanes.values_mut() {
            kept.extend(behind.drain(..));
        }
        kept.retain(|queued| wanted(&queued.waiting.item));
        kept.sort_unstable_by_key(|queued| queued.sequence);
        for queued in kept {
            self.enqueue(queued);
        }
    }

    fn enqueue(&mut self, queued: Queued<T>) {
        match self.lanes.entry(queued.waiting.lane.clone()) {
            Entry::Occupied(mut entry) => entry.get_mut().push_back(queued),
            Entry::Vacant(entry) => {
                entry.insert(VecDeque::new());
                self.ready[level(&queued.waiting)].push_back(queued);
            }
        }
    }
}

fn level<T>(waiting: &Waiting<T>) -> usize {
    usize::try_from(waiting.priority.clamp(0, PRIORITY_MAX)).expect("clamped to what is not negative")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keyed(key: &str, priority: i16, item: u32) -> Waiting<u32> {
        Waiting {
            lane: Lane::Key(Arc::new((String::new(), key.to_owned()))),
            priority,
            item,
        }
    }

    fn pop(queue: &mut Queue<u32>) -> Option<u32> {
        queue.pop().map(|waiting| waiting.item)
    }

    #[test]
    fn higher_priority_goes_first_and_equals_keep_their_order() {
        let mut queue = Queue::new();
        for (key, priority, item) in [("a", 5, 1), ("b", 9, 2), ("c", 5, 3), ("d", 0, 4), ("e", 77, 5)] {
            queue.push(keyed(key, priority, item));
        }
        let order: Vec<u32> = std::iter::from_fn(|| pop(&mut queue)).collect();
        assert_eq!(order, [2, 5, 1, 3, 4]);
    }

    #[test]
    fn tasks_of_one_lane_run_one_after_another_in_order() {
        let mut queue = Queue::new();
        queue.push(keyed("a", 1, 1));
        queue.push(keyed("a", 9, 2));
        queue.push(keyed("b", 1, 3));
        let first = queue.pop().unwrap();
        assert_eq!((first.item, pop(&mut queue), pop(&mut queue)), (1, Some(3), None));
        queue.finish(first.lane);
        assert_eq!(pop(&mut queue), Some(2));
    }

    #[test]
    fn what_is_removed_while_it_waits_never_runs_and_holds_no_lane() {
        let mut queue = Queue::new();
        queue.push(keyed("a", 5, 1));
        queue.push(keyed("a", 5, 2));
        queue.push(keyed("b", 5, 3));
        queue.push(keyed("b", 5, 4));
        let running = queue.pop().unwrap();
        queue.retain(|&item| item == 2 || item == 4);
        assert_eq!((pop(&mut queue), pop(&mut queue)), (Some(4), None));
        queue.finish(running.lane);
        assert_eq!(pop(&mut queue), Some(2));
    }

    #[derive(Debug, Clone)]
    enum Op {
        Push { key: u8, priority: i16 },
        Pop,
        Finish(prop::sample::Index),
        DropOdd,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            4 => (0u8..4, 0i16..10).prop_map(|(key, priority)| Op::Push { key, priority }),
            3 => Just(Op::Pop),
            3 => any::<prop::sample::Index>().prop_map(Op::Finish),
            1 => Just(Op::DropOdd),
        ]
    }

    proptest! {
        #[test]
        fn a_lane_never_runs_twice_at_once_nor_out_of_order(ops in proptest::collection::vec(op(), 1..200)) {
            let mut queue = Queue::new();
            let mut running: Vec<Waiting<u32>> = Vec::new();
            let mut last: HashMap<Lane, u32> = HashMap::new();
            let mut pushed = 0;
            let mut waiting = 0_usize;
            for op in ops {
                match op {
                    Op::Push { key, priority } => {
                        pushed += 1;
                        waiting += 1;
                        queue.push(keyed(&key.to_string(), priority, pushed));
                    }
                    Op::Pop => {
                        let Some(next) = queue.pop() else { continue };
                        waiting -= 1;
                        prop_assert!(running.iter().all(|other| other.lane != next.lane));
                        prop_assert!(last.insert(next.lane.clone(), next.item) < Some(next.item));
                        running.push(next);
                    }
                    Op::Finish(index) if !running.is_empty() => {
                        let done = running.swap_remove(index.index(running.len()));
                        queue.finish(done.lane);
                    }
                    Op::Finish(_) => {}
                    Op::DropOdd => queue.retain(|item| {
                        let keep = item % 2 == 0;
                        waiting -= usize::from(!keep);
                        keep
                    }),
                }
            }
            // Whatever waits runs in the end.
            while waiting > 0 || !running.is_empty() {
                if let Some(done) = running.pop() {
                    queue.finish(done.lane);
                }
                while let Some(next) = queue.pop() {
                    waiting -= 1;
                    running.push(next);
                }
            }
            prop_assert!(queue.lanes.is_empty());
        }
    }
}
