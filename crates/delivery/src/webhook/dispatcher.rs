//! Starts deliveries: fairly between endpoints, bounded in all and for each; takes due retries where there is room.
//!
//! One loop owns the lanes. Deliveries run as tasks of their own and report back to it.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use posthaste_broker::TopicPartition;
use posthaste_runtime::{Backoff, Stopper, chain};
use posthaste_store::{Error, Store, WebhookRetry};
use posthaste_types::EndpointId;
use posthaste_types::limits::{
    WEBHOOK_HELD_BYTES_MAX, WEBHOOK_HELD_COUNT_MAX, WEBHOOK_IN_FLIGHT_COUNT_MAX,
    WEBHOOK_RETRY_TAKE_COUNT_MAX, WEBHOOK_TIMEOUT_S,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::webhook::deliver::Deliverer;
use crate::webhook::directory::{Directories, Target};
use crate::webhook::lane::{Lane, Turn};

/// How often due retries are looked for.
const RETRY_POLL: Duration = Duration::from_millis(500);
/// A retry that was taken is due again after this. Longer than an attempt and the write of its outcome take.
const RETRY_LEASE: Duration = Duration::from_secs(4 * WEBHOOK_TIMEOUT_S);
/// Deliveries on their way from the consumer to the loop.
pub(crate) const JOB_CHANNEL_LEN: usize = 64;

/// A delivery to be made.
pub(crate) struct Job {
    /// Where it goes.
    pub(crate) target: Arc<Target>,
    /// What is sent.
    pub(crate) delivery: WebhookRetry,
    /// Who is told when it is durable; none for what came from the record.
    pub(crate) ack: Option<Ack>,
}

/// A record's offset, acknowledged when all deliveries that follow from it are durable.
#[derive(Clone)]
pub(crate) struct Ack(Arc<AckState>);

struct AckState {
    partition: TopicPartition,
    offset: i64,
    remaining: AtomicUsize,
    /// Unbounded, but holds no more than there are deliveries in memory.
    done: mpsc::UnboundedSender<(TopicPartition, i64)>,
}

impl Ack {
    /// For a record with `count` deliveries, 1 or more.
    pub(crate) fn new(
        partition: TopicPartition,
        offset: i64,
        count: usize,
        done: mpsc::UnboundedSender<(TopicPartition, i64)>,
    ) -> Self {
        Self(Arc::new(AckState {
            partition,
            offset,
            remaining: AtomicUsize::new(count),
            done,
        }))
    }

    /// One of the deliveries is durable.
    fn settle(self) {
        if self.0.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            // A consumer that has gone needs no offset.
            let _ = self.0.done.send((self.0.partition.clone(), self.0.offset));
        }
    }
}

/// What a task of the loop came back with.
enum Event {
    /// An attempt has ended, of a body of so many bytes.
    Delivered {
        endpoint_id: EndpointId,
        is_success: bool,
        bytes: usize,
    },
    /// A delivery was put off.
    PutOff { bytes: usize },
    /// Due retries.
    Taken(Result<Vec<WebhookRetry>, Error>),
}

/// Endpoints that wait for their turn, each once: however much one has to do, it has one place in the line.
#[derive(Default)]
struct Line {
    places: VecDeque<EndpointId>,
    waiting: HashSet<EndpointId>,
}

impl Line {
    /// Goes to the end, unless it stands in the line already.
    fn join(&mut self, endpoint_id: EndpointId) {
        if self.waiting.insert(endpoint_id) {
            self.places.push_back(endpoint_id);
        }
    }

    fn next(&mut self) -> Option<EndpointId> {
        let endpoint_id = self.places.pop_front()?;
        self.waiting.remove(&endpoint_id);
        Some(endpoint_id)
    }
}

/// The loop's state.
pub(crate) struct Dispatcher {
    deliverer: Arc<Deliverer>,
    directories: Arc<Directories>,
    store: Store,
    jobs: mpsc::Receiver<Job>,
    lanes: HashMap<EndpointId, Lane<Job>>,
    /// Lanes that may have something to start, in turn.
    ready: Line,
    /// Lanes that wait for their rate.
    throttled: BTreeSet<(Instant, EndpointId)>,
    tasks: JoinSet<Event>,
    in_flight: usize,
    held_count: usize,
    held_bytes: usize,
    take_at: Instant,
    is_taking: bool,
    take_backoff: Backoff,
}

impl Dispatcher {
    /// An idle one that gets its work over `jobs`.
    pub(crate) fn new(
        deliverer: Arc<Deliverer>,
        directories: Arc<Directories>,
        store: Store,
        jobs: mpsc::Receiver<Job>,
    ) -> Self {
        Self {
            deliverer,
            directories,
            store,
            jobs,
            lanes: HashMap::new(),
            ready: Line::default(),
            throttled: BTreeSet::new(),
            tasks: JoinSet::new(),
            in_flight: 0,
            held_count: 0,
            held_bytes: 0,
            take_at: Instant::now(),
            is_taking: false,
            take_backoff: Backoff::dependency(),
        }
    }

    /// Runs until stopped, then until what is under way has ended. What is queued is given up: it was not acknowledged,
    /// or its lease runs out.
    pub(crate) async fn run(mut self, stopper: Stopper) {
        while !stopper.is_stopped() {
            self.start_ready();
            let has_room =
                self.held_count < WEBHOOK_HELD_COUNT_MAX && self.held_bytes < WEBHOOK_HELD_BYTES_MAX;
            let throttled_until = self.throttled.first().map(|(at, _)| *at);
            tokio::select! {
                biased;
                () = stopper.stopped() => {}
                Some(ended) = self.tasks.join_next() => self.take_event(ended),
                Some(job) = self.jobs.recv(), if has_room => self.queue(job),
                () = sleep_until(throttled_until) => self.release_throttled(),
                () = tokio::time::sleep_until(self.take_at), if !self.is_taking => self.take_retries(),
            }
        }
        while self.tasks.join_next().await.is_some() {}
    }

    fn take_event(&mut self, ended: Result<Event, tokio::task::JoinError>) {
        match ended {
            Ok(Event::Delivered {
                endpoint_id,
                is_success,
                bytes,
            }) => {
                self.in_flight -= 1;
                self.release(bytes);
                self.finish(endpoint_id, is_success);
            }
            Ok(Event::PutOff { bytes }) => self.release(bytes),
            Ok(Event::Taken(taken)) => self.queue_retries(taken),
            // Deliveries do not panic; if one did, going on would leave its record unacknowledged for ever.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn release(&mut self, bytes: usize) {
        self.held_count -= 1;
        self.held_bytes -= bytes;
    }

    fn finish(&mut self, endpoint_id: EndpointId, is_success: bool) {
        let limit = self
            .directories
            .present()
            .target(endpoint_id)
            .map_or(1, |target| target.in_flight_max());
        let Some(lane) = self.lanes.get_mut(&endpoint_id) else {
            return;
        };
        lane.finish(is_success, limit);
        if lane.is_idle(Instant::now()) {
            self.lanes.remove(&endpoint_id);
        } else {
            self.ready.join(endpoint_id);
        }
    }

    fn queue(&mut self, job: Job) {
        let (endpoint_id, limit) = (job.target.endpoint.id, job.target.in_flight_max());
        self.held_count += 1;
        self.held_bytes += job.delivery.body.len();
        let lane = self
            .lanes
            .entry(endpoint_id)
            .or_insert_with(|| Lane::new(limit, Instant::now()));
        match lane.push(job) {
            Ok(()) => self.ready.join(endpoint_id),
            Err(job) => self.put_off(job),
        }
    }

    /// The endpoint's queue is full, so the delivery waits in the record.
    fn put_off(&mut self, job: Job) {
        let deliverer = Arc::clone(&self.deliverer);
        let bytes = job.delivery.body.len();
        self.tasks.spawn(async move {
            let is_durable = deliverer.put_off(job.delivery).await;
            if is_durable {
                job.ack.into_iter().for_each(Ack::settle);
            }
            Event::PutOff { bytes }
        });
    }

    /// Starts what may start, one of each endpoint in turn.
    fn start_ready(&mut self) {
        let now = Instant::now();
        while self.in_flight < WEBHOOK_IN_FLIGHT_COUNT_MAX
            && let Some(endpoint_id) = self.ready.next()
        {
            let Some(lane) = self.lanes.get_mut(&endpoint_id) else {
                continue;
            };
            let rate_per_s = self
                .directories
                .present()
                .target(endpoint_id)
                .and_then(|target| target.endpoint.rate_per_s);
            match lane.turn(rate_per_s, now) {
                Turn::Start(job) => {
                    self.ready.join(endpoint_id);
                    self.start(job);
                }
                Turn::At(at) => {
                    self.throttled.insert((at, endpoint_id));
                }
                Turn::Wait => {}
            }
        }
    }

    fn start(&mut self, job: Job) {
        self.in_flight += 1;
        let deliverer = Arc::clone(&self.deliverer);
        let (endpoint_id, bytes) = (job.target.endpoint.id, job.delivery.body.len());
        self.tasks.spawn(async move {
            let delivered = deliverer.deliver(&job.target, job.delivery).await;
            if delivered.is_durable {
                job.ack.into_iter().for_each(Ack::settle);
            }
            Event::Delivered {
                endpoint_id,
                is_success: delivered.is_success,
                bytes,
            }
        });
    }

    fn release_throttled(&mut self) {
        let now = Instant::now();
        while let Some((at, endpoint_id)) = self.throttled.first().copied()
            && at <= now
        {
            self.throttled.pop_first();
            if self.lanes.get(&endpoint_id).is_some_and(|lane| lane.is_idle(now)) {
                self.lanes.remove(&endpoint_id);
            } else {
                self.ready.join(endpoint_id);
            }
        }
    }

    fn take_retries(&mut self) {
        self.take_at = Instant::now() + RETRY_POLL;
        let rooms = self.rooms();
        if rooms.is_empty() {
            return;
        }
        self.is_taking = true;
        let (store, now) = (self.store.clone(), self.deliverer.now());
        self.tasks.spawn(async move {
            let taken = store.take_webhook_retries(&rooms, now, RETRY_LEASE, WEBHOOK_RETRY_TAKE_COUNT_MAX);
            Event::Taken(taken.await)
        });
    }

    /// Endpoints that could start more at once.
    fn rooms(&self) -> Vec<(EndpointId, usize)> {
        let directory = self.directories.present();
        let room = |target: &Arc<Target>| {
            let idle = || Lane::<Job>::new(target.in_flight_max(), Instant::now()).room();
            (
                target.endpoint.id,
                self.lanes.get(&target.endpoint.id).map_or_else(idle, Lane::room),
            )
        };
        directory
            .targets()
            .map(room)
            .filter(|(_, room)| *room > 0)
            .collect()
    }

    fn queue_retries(&mut self, taken: Result<Vec<WebhookRetry>, Error>) {
        self.is_taking = false;
        match taken {
            Ok(retries) => {
                self.take_backoff.reset();
                if !retries.is_empty() {
                    // There may be more.
                    self.take_at = Instant::now();
                }
                let directory = self.directories.present();
                for delivery in retries {
                    // Disabled or deleted meanwhile: its lease runs out, or it is gone.
                    let Some(target) = directory.target(delivery.endpoint_id) else {
                        continue;
                    };
                    self.queue(Job {
                        target: Arc::clone(target),
                        delivery,
                        ack: None,
                    });
                }
            }
            Err(error) => {
                if self.take_backoff.failure_count() == 0 {
                    tracing::warn!(error = %chain(&error), "webhook retries cannot be read; trying until they can");
                }
                self.take_at = Instant::now() + self.take_backoff.next_wait();
            }
        }
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use posthaste_runtime::ids;

    use super::*;

    #[test]
    fn an_endpoint_has_one_place_in_the_line() {
        let (busy, other) = (ids::endpoint_id(), ids::endpoint_id());
        let mut line = Line::default();
        (0..3).for_each(|_| line.join(busy));
        line.join(other);
        assert_eq!(line.next(), Some(busy));
        line.join(busy);
        assert_eq!(
            [line.next(), line.next(), line.next()],
            [Some(other), Some(busy), None]
        );
    }
}
