//! No gap and no repeat, over any number of reconnects to processes that read the partitions in other orders and keep
//! windows of other sizes.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::stream::sample::{entry, event};

const MANY: WindowBounds = WindowBounds {
    event_count: 1000,
    bytes: usize::MAX,
};
const PARTITION_COUNT: usize = 3;
const CHANNELS: [Option<&str>; 3] = [Some("a"), Some("b"), None];

/// What the topic holds: for each partition its records' offsets (with holes) and channels.
type Topic = Vec<Vec<(i64, usize)>>;

/// Decisions of a run; when they are used up every further one is 0.
struct Tape(std::vec::IntoIter<u8>);

impl Tape {
    fn below(&mut self, bound: usize) -> usize {
        usize::from(self.0.next().unwrap_or(0)) % bound
    }
}

/// A delivery process that has read a part of the topic.
struct Process {
    hub: Arc<Hub>,
    tip: Cursor,
    read: [usize; PARTITION_COUNT],
}

impl Process {
    fn new(window: usize) -> Self {
        let bounds = WindowBounds {
            event_count: window,
            bytes: usize::MAX,
        };
        Self {
            hub: Arc::new(Hub::new(bounds)),
            tip: Cursor::default(),
            read: [0; PARTITION_COUNT],
        }
    }

    /// Reads one record of some partition that has one left.
    fn advance(&mut self, topic: &Topic, tape: &mut Tape) -> bool {
        let wanted = tape.below(PARTITION_COUNT);
        let Some(partition) = (0..PARTITION_COUNT)
            .map(|turn| (wanted + turn) % PARTITION_COUNT)
            .find(|&partition| self.read[partition] < topic[partition].len())
        else {
            return false;
        };
        let (offset, channel) = topic[partition][self.read[partition]];
        self.read[partition] += 1;
        let number = i32::try_from(partition).unwrap();
        let task = (partition * 1000 + usize::try_from(offset).unwrap()) as u128;
        let entry = entry(&mut self.tip, number, offset, task, CHANNELS[channel]);
        self.hub.append(vec![entry], &self.tip);
        true
    }
}

/// What a client has: every record it got, and the id to come back with.
struct Client {
    filter: Arc<Filter>,
    position: Cursor,
    got: BTreeMap<i32, Vec<i64>>,
}

impl Client {
    fn take(&mut self, delivery: &Delivery) {
        self.got
            .entry(delivery.entry.partition)
            .or_default()
            .push(delivery.entry.offset);
        self.position = delivery
            .own_id
            .clone()
            .unwrap_or_else(|| delivery.entry.frame.cursor());
        // As text, as it would travel.
        self.position = self.position.to_string().parse().unwrap();
    }

    /// Stays connected while `process` reads on; the connection is cut after any frame.
    fn stay(&mut self, process: &mut Process, topic: &Topic, tape: &mut Tape) -> Result<(), BehindWindow> {
        let mut subscription = process
            .hub
            .subscribe(self.position.clone(), Arc::clone(&self.filter))?;
        for _ in 0..tape.below(6) {
            for _ in 0..tape.below(4) {
                process.advance(topic, tape);
            }
            let Ok(deliveries) = subscription.read() else {
                self.position = subscription.position().clone();
                return Ok(());
            };
            let kept = if tape.below(3) == 0 {
                tape.below(deliveries.len() + 1)
            } else {
                deliveries.len()
            };
            deliveries[..kept].iter().for_each(|delivery| self.take(delivery));
            if kept < deliveries.len() {
                return Ok(());
            }
            self.position = subscription.position().clone();
        }
        Ok(())
    }

    /// Reads from the topic itself, as a catch-up reader does, one record.
    fn catch_up(&mut self, topic: &Topic, tape: &mut Tape) {
        let partition = tape.below(PARTITION_COUNT);
        let number = i32::try_from(partition).unwrap();
        let from = self.position.next_offset(number);
        let Some(&(offset, channel)) = topic[partition].iter().find(|(offset, _)| *offset >= from) else {
            return;
        };
        self.position.advance(number, offset + 1);
        if self.filter.channels.is_empty()
            || self
                .filter
                .channels
                .iter()
                .any(|name| Some(&**name) == CHANNELS[channel])
        {
            self.got.entry(number).or_default().push(offset);
        }
    }
}

fn topic() -> impl Strategy<Value = Topic> {
    let partition = proptest::collection::vec((1..3i64, 0..CHANNELS.len()), 0..20);
    proptest::collection::vec(partition, PARTITION_COUNT).prop_map(|partitions| {
        let offsets = |records: Vec<(i64, usize)>| {
            let mut next = 0;
            let place = |(step, channel)| {
                next += step;
                (next - 1, channel)
            };
            records.into_iter().map(place).collect()
        };
        partitions.into_iter().map(offsets).collect()
    })
}

fn filter(channels: &[usize]) -> Arc<Filter> {
    let channels = channels
        .iter()
        .filter_map(|&channel| CHANNELS[channel])
        .map(Arc::from)
        .collect();
    Arc::new(Filter {
        channels,
        ..Filter::of_tenant("default")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_wanted_record_comes_once_and_in_order_over_reconnects_to_any_process(
        topic in topic(),
        windows in proptest::collection::vec(1..12usize, 1..4),
        channels in prop_oneof![Just(vec![]), Just(vec![0]), Just(vec![0, 1])],
        decisions in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut tape = Tape(decisions.into_iter());
        let mut processes: Vec<Process> = windows.into_iter().map(Process::new).collect();
        let mut client = Client { filter: filter(&channels), position: Cursor::default(), got: BTreeMap::new() };
        for _ in 0..60 {
            let index = tape.below(processes.len());
            let process = &mut processes[index];
            if client.stay(process, &topic, &mut tape) == Err(BehindWindow) {
                client.catch_up(&topic, &mut tape);
            }
            process.advance(&topic, &mut tape);
        }
        // In the end one process has read everything, and the client stays with it.
        let process = &mut processes[0];
        while process.advance(&topic, &mut tape) {}
        loop {
            match process.hub.subscribe(client.position.clone(), Arc::clone(&client.filter)) {
                Ok(mut subscription) => {
                    subscription.read().unwrap().iter().for_each(|delivery| client.take(delivery));
                    break;
                }
                Err(BehindWindow) => (0..=u8::MAX).for_each(|turn| client.catch_up(&topic, &mut Tape(vec![turn].into_iter()))),
            }
        }
        for (partition, records) in (0..).zip(&topic) {
            let wanted: Vec<i64> = records
                .iter()
                .filter(|(_, channel)| channels.is_empty() || channels.contains(channel))
                .map(|(offset, _)| *offset)
                .collect();
            prop_assert_eq!(client.got.remove(&partition).unwrap_or_default(), wanted);
        }
    }
}

fn is_woken(subscription: &Subscription) -> bool {
    use futures_util::FutureExt as _;
    subscription.woken().now_or_never().is_some()
}

#[test]
fn only_those_are_woken_for_whom_an_entry_may_be() {
    let hub = Arc::new(Hub::new(MANY));
    let subscribe = |filter: Arc<Filter>| hub.subscribe(Cursor::default(), filter).unwrap();
    let (all, a, b) = (
        subscribe(filter(&[])),
        subscribe(filter(&[0])),
        subscribe(filter(&[1])),
    );
    let of_task = |task| {
        Arc::new(Filter {
            task: Some(event(task, None).task_id),
            ..Filter::of_tenant("default")
        })
    };
    let (first, second) = (subscribe(of_task(1)), subscribe(of_task(2)));
    let mut tip = Cursor::default();
    hub.append(vec![entry(&mut tip, 0, 0, 1, Some("a"))], &tip);
    assert!(is_woken(&all) && is_woken(&a) && is_woken(&first));
    assert!(!is_woken(&b) && !is_woken(&second));
}

#[test]
fn a_subscriber_that_falls_behind_the_window_is_told_and_one_that_wants_nothing_of_it_is_not() {
    let hub = Arc::new(Hub::new(WindowBounds {
        event_count: 2,
        bytes: usize::MAX,
    }));
    let mut slow = hub.subscribe(Cursor::default(), filter(&[0])).unwrap();
    let mut idle = hub.subscribe(Cursor::default(), filter(&[1])).unwrap();
    let mut tip = Cursor::default();
    let entries = (0..4)
        .map(|offset| entry(&mut tip, 0, offset, 1, Some("a")))
        .collect();
    hub.append(entries, &tip);
    assert!(slow.read().is_err());
    assert_eq!(*slow.position(), Cursor::default());
    assert!(idle.read().unwrap().is_empty());
    assert_eq!(*idle.position(), tip);
}

#[test]
fn dropping_a_subscription_leaves_nothing_behind() {
    let hub = Arc::new(Hub::new(MANY));
    for channels in [&[][..], &[0], &[0, 1]] {
        drop(hub.subscribe(Cursor::default(), filter(channels)).unwrap());
    }
    let state = hub.state.read();
    assert!(
        state.waiters.all.is_empty()
            && state.waiters.by_channel.is_empty()
            && state.waiters.by_task.is_empty()
    );
}
