//! The one owner of a worker's state: takes events of the consumer and ends of jobs, and starts attempts.
//!
//! It awaits nothing else, so that a rebalance is never kept waiting by a database or a handler.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use posthaste_broker::{ErrorKind, GroupConsumer, GroupEvent, Record, RevokeGuard, TopicPartition};
use posthaste_runtime::{Stopper, chain};
use posthaste_schema::{SchemaId, TaskRequested};
use posthaste_types::limits::{DRAIN_MS_MAX, WORKER_HELD_BYTES_MAX};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::attempt::{Attempts, Dealt};
use crate::intake::{Intake, Reader};
use crate::partitions::{Partitions, Place};
use crate::queue::{Lane, Queue, Waiting};

/// How often the same trouble is logged.
const COMPLAINT_EVERY: Duration = Duration::from_secs(30);

/// A task that waits for its turn.
struct Job {
    place: Place,
    task: Box<TaskRequested>,
}

/// What a job of the process has come to.
enum Ended {
    Attempt {
        place: Place,
        lane: Lane,
        dealt: Dealt,
    },
    Buried {
        place: Place,
        is_done: bool,
    },
    /// A schema was looked up; `refused` says why there is none.
    Learned {
        id: SchemaId,
        refused: Option<String>,
    },
}

/// Why the dispatcher ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The process stops and the work in progress has ended or had its time.
    Drained,
    /// The consumer has ended; a new one may be started.
    ConsumerGone,
}

/// See the module.
pub(crate) struct Dispatcher {
    attempts: Arc<Attempts>,
    reader: Reader,
    consumer: GroupConsumer,
    /// What it reads, for the log.
    topics: String,
    handler_count_max: usize,
    partitions: Partitions,
    queue: Queue<Job>,
    /// Attempts, burials and look-ups in progress; what is left is aborted when it is dropped.
    jobs: JoinSet<Ended>,
    running_count: usize,
    /// Bytes of the records that wait or run.
    held_bytes: usize,
    learning: HashSet<SchemaId>,
    is_stopping: bool,
    complained_at: Option<Instant>,
}

impl Dispatcher {
    pub(crate) fn new(
        attempts: Arc<Attempts>,
        reader: Reader,
        consumer: GroupConsumer,
        topics: String,
        handler_count_max: usize,
    ) -> Self {
        Self {
            attempts,
            reader,
            consumer,
            topics,
            handler_count_max,
            partitions: Partitions::default(),
            queue: Queue::new(),
            jobs: JoinSet::new(),
            running_count: 0,
            held_bytes: 0,
            learning: HashSet::new(),
            is_stopping: false,
            complained_at: None,
        }
    }

    /// Works until the process stops and its work has ended, or until the consumer ends.
    pub(crate) async fn run(
        mut self,
        mut events: mpsc::Receiver<GroupEvent>,
        stopper: &Stopper,
    ) -> Result<End, Error> {
        let mut stopped = std::pin::pin!(stopper.stopped());
        let mut out_of_time = std::pin::pin!(sleep(Duration::MAX));
        let end = loop {
            tokio::select! {
                Some(ended) = self.jobs.join_next() => {
                    self.on_ended(ended?);
                    while let Some(ended) = self.jobs.try_join_next() {
                        self.on_ended(ended?);
                    }
                }
                event = events.recv() => match event {
                    Some(event) => self.on_event(event),
                    None => break End::ConsumerGone,
                },
                () = &mut stopped, if !self.is_stopping => {
                    self.stop();
                    out_of_time.as_mut().reset(Instant::now() + Duration::from_millis(DRAIN_MS_MAX));
                }
                () = &mut out_of_time, if self.is_stopping => {
                    tracing::warn!(handlers.running = self.running_count, "handlers did not end in time; their tasks run again");
                    break End::Drained;
                }
            }
            if self.turn().is_break() {
                break End::Drained;
            }
        };
        // Nobody waits for this process's share of a rebalance any more: what is stored is committed on leaving.
        drop(events);
        self.jobs.shutdown().await;
        self.consumer.close().await;
        Ok(end)
    }

    /// What follows every event.
    fn turn(&mut self) -> ControlFlow<()> {
        if self.is_stopping {
            return if self.jobs.is_empty() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            };
        }
        while self.running_count < self.handler_count_max
            && let Some(waiting) = self.queue.pop()
        {
            self.start(waiting);
        }
        let is_full = self.held_bytes >= WORKER_HELD_BYTES_MAX;
        let has_room = self.held_bytes <= WORKER_HELD_BYTES_MAX / 2;
        self.partitions.balance(is_full, has_room, &self.consumer);
        ControlFlow::Continue(())
    }

    fn start(&mut self, waiting: Waiting<Job>) {
        let Waiting {
            lane,
            item: Job { place, task },
            ..
        } = waiting;
        self.partitions.begin(place);
        self.running_count += 1;
        let attempts = Arc::clone(&self.attempts);
        self.jobs.spawn(async move {
            let dealt = attempts.make(*task).await;
            Ended::Attempt { place, lane, dealt }
        });
    }

    fn on_event(&mut self, event: GroupEvent) {
        match event {
            GroupEvent::Records(records) => {
                if !self.is_stopping {
                    records.into_iter().for_each(|record| self.accept(record));
                }
            }
            GroupEvent::Assigned(partitions) => {
                tracing::info!(partitions = %names(&partitions), "partitions assigned");
                self.partitions.assign(partitions);
            }
            GroupEvent::Revoked(partitions, guard) => self.revoke(&partitions, guard),
            GroupEvent::Failed(error) => self.complain(&error),
        }
    }

    fn accept(&mut self, record: Record) {
        if let Some(place) = self.partitions.track(&record) {
            self.held_bytes += place.byte_count;
            self.sort(place, record);
        }
    }

    /// Gives a record its way: to the queue, behind a look-up, or to the dead letters.
    fn sort(&mut self, place: Place, record: Record) {
        if self.partitions.is_parked(place.assignment) {
            return self.partitions.park(place, record);
        }
        match self.reader.read(&record) {
            Intake::Task(task) => {
                let lane = match &task.key {
                    Some(key) => Lane::Key(Arc::new((task.tenant.clone(), key.clone()))),
                    None => Lane::Task(task.task_id),
                };
                self.queue.push(Waiting {
                    lane,
                    priority: task.priority,
                    item: Job { place, task },
                });
            }
            Intake::UnknownSchema(id) => {
                let topic = Arc::clone(&record.topic);
                self.partitions.park(place, record);
                self.learn(id, &topic);
            }
            Intake::Bad(reason) => self.bury(place, record, reason),
        }
    }

    fn learn(&mut self, id: SchemaId, topic: &Arc<str>) {
        if self.learning.insert(id) {
            let (reader, topic) = (self.reader.clone(), Arc::clone(topic));
            self.jobs.spawn(async move {
                Ended::Learned {
                    id,
                    refused: reader.learn(id, &topic).await,
                }
            });
        }
    }

    fn bury(&mut self, place: Place, record: Record, reason: String) {
        self.partitions.begin(place);
        let reader = self.reader.clone();
        self.jobs.spawn(async move {
            Ended::Buried {
                place,
                is_done: reader.bury(&record, &reason).await,
            }
        });
    }

    fn on_ended(&mut self, ended: Ended) {
        match ended {
            Ended::Attempt { place, lane, dealt } => {
                self.running_count -= 1;
                self.queue.finish(lane);
                self.finish(place, dealt == Dealt::With);
            }
            Ended::Buried { place, is_done } => self.finish(place, is_done),
            Ended::Learned { id, refused } => {
                self.learning.remove(&id);
                if !self.is_stopping {
                    self.sort_parked(id, refused.as_deref());
                }
            }
        }
    }

    /// After a look-up: what waited for this schema goes on, to the dead letters if there is none.
    fn sort_parked(&mut self, id: SchemaId, refused: Option<&str>) {
        for (place, record) in self.partitions.unpark() {
            let is_refused = record.value.as_ref().is_some_and(|value| {
                posthaste_schema::frame_id(value).is_ok_and(|of_record| of_record == id)
            });
            match refused.filter(|_| is_refused && !self.partitions.is_parked(place.assignment)) {
                Some(reason) => self.bury(
                    place,
                    record,
                    format!("its schema {} cannot be had: {reason}", id.0),
                ),
                None => self.sort(place, record),
            }
        }
    }

    fn finish(&mut self, place: Place, is_dealt_with: bool) {
        self.held_bytes -= place.byte_count;
        self.partitions.finish(place, is_dealt_with, &self.consumer);
    }

    /// What waits of these partitions is forgotten; what runs goes on. A task that runs on after its partition is gone
    /// is fenced by its token, and keeps its lane, so that it is not run a second time here meanwhile.
    fn revoke(&mut self, partitions: &[TopicPartition], guard: RevokeGuard) {
        tracing::info!(partitions = %names(partitions), lost = guard.is_lost(), "partitions revoked");
        self.held_bytes -= self.partitions.revoke(partitions, guard);
        self.forget_waiting();
    }

    fn forget_waiting(&mut self) {
        let (owned, held_bytes) = (&self.partitions, &mut self.held_bytes);
        let is_stopping = self.is_stopping;
        self.queue.retain(|job| {
            let keep = !is_stopping && owned.owns(job.place.assignment);
            if !keep {
                *held_bytes -= job.place.byte_count;
            }
            keep
        });
    }

    fn stop(&mut self) {
        self.is_stopping = true;
        self.forget_waiting();
        tracing::info!(
            handlers.running = self.running_count,
            "stopping: no task is taken up any more"
        );
    }

    fn complain(&mut self, error: &posthaste_broker::Error) {
        if self
            .complained_at
            .is_none_or(|at| at.elapsed() >= COMPLAINT_EVERY)
        {
            self.complained_at = Some(Instant::now());
            let (kafka_topics, error_text) = (&self.topics, chain(error));
            if error.kind() == ErrorKind::Setup {
                tracing::error!(
                    kafka.topics = kafka_topics,
                    error = %error_text,
                    "a topic of these is missing or may not be read: name its queue in topics.queues and run `posthaste \
                     migrate`"
                );
            } else {
                tracing::warn!(
                    kafka.topics = kafka_topics,
                    error = %error_text,
                    "reading tasks from kafka fails; it goes on by itself"
                );
            }
        }
    }
}

fn names(partitions: &[TopicPartition]) -> String {
    let name = |partition: &TopicPartition| format!("{}/{}", partition.topic, partition.partition);
    partitions.iter().map(name).collect::<Vec<_>>().join(" ")
}
