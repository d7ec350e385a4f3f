//! One attempt from claim to completion. It knows nothing of partitions: what it returns tells the dispatcher whether
//! the record is dealt with.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::FutureExt as _;
use metrics::{Counter, Gauge, Histogram};
use posthaste_runtime::{Backoff, Clock, Stopper, chain, metric};
use posthaste_schema::TaskRequested;
use posthaste_store::{Claim, Claimed, Completed, Completion, ErrorKind, Store, WorkerWrites};
use posthaste_types::{ClaimToken, RetryPolicy, TaskId};
use tokio::time::{Instant, sleep};

use crate::handlers::{ServedType, ServedTypes, is_builtin};
use crate::outcome::{AttemptFacts, Outcome};
use crate::reporter::{Ended, Reporter, ReporterState};
use crate::{Attempt, Handler, HandlerError, JsonText};

/// What all attempts of a process share.
pub(crate) struct Attempts {
    pub(crate) store: Store,
    pub(crate) writes: WorkerWrites,
    pub(crate) types: ServedTypes,
    pub(crate) clock: Arc<dyn Clock>,
    /// This process's name in the record.
    pub(crate) worker: Arc<str>,
    /// The process's wish to stop: for handlers.
    pub(crate) stopper: Stopper,
    /// Stopped when nothing may be written any more: after the drain.
    pub(crate) abandoned: Stopper,
    pub(crate) meters: Meters,
}

/// The handles of the metrics that each attempt touches.
pub(crate) struct Meters {
    claimed: Counter,
    queue_seconds: Histogram,
    done: Counter,
    failed: Counter,
    retried: Counter,
    stale: Counter,
    running: Gauge,
}

impl Meters {
    pub(crate) fn new() -> Self {
        Self {
            claimed: metrics::counter!(metric::CLAIMED),
            queue_seconds: metrics::histogram!(metric::QUEUE_SECONDS),
            done: metrics::counter!(metric::DONE),
            failed: metrics::counter!(metric::FAILED),
            retried: metrics::counter!(metric::RETRIED),
            stale: metrics::counter!(metric::STALE_WRITES),
            running: metrics::gauge!(metric::HANDLERS_RUNNING),
        }
    }
}

/// Whether the record that asked for the attempt is dealt with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dealt {
    /// The record has its outcome, or another worker or the scheduler is responsible now.
    With,
    /// The process is stopping: the record must come again.
    Not,
}

/// How a handler's run ended.
enum Run {
    Answered(Result<JsonText, HandlerError>),
    Lost,
}

impl Attempts {
    /// Deals with one record.
    pub(crate) async fn make(&self, task: TaskRequested) -> Dealt {
        let is_late = task.deadline.is_some_and(|deadline| deadline <= self.clock.now());
        if is_late {
            match self.expire(task.task_id).await {
                Some(true) => return Dealt::With,
                // It is final, or it was running when its worker died: the claim tells.
                Some(false) => {}
                None => return Dealt::Not,
            }
        }
        let token = posthaste_runtime::ids::claim_token();
        let Some(claimed) = self.claim(&task, token).await else {
            return Dealt::Not;
        };
        let facts = match claimed {
            Claimed::Granted {
                attempt,
                version,
                started_at,
                takeover,
            } => {
                self.meters.claimed.increment(1);
                if attempt == 1 && !takeover {
                    self.meters
                        .queue_seconds
                        .record(seconds(started_at - task.created_at));
                }
                AttemptFacts {
                    number: attempt,
                    version,
                    started_at,
                }
            }
            Claimed::Gone => return Dealt::With,
            Claimed::Missing(_) => {
                tracing::error!(task.id = %task.task_id, "a record names a task that the database does not have; it is skipped");
                return Dealt::With;
            }
        };
        self.run(task, token, facts, is_late).await
    }

    async fn run(&self, task: TaskRequested, token: ClaimToken, facts: AttemptFacts, is_late: bool) -> Dealt {
        let served = self.types.get(&task.task_type);
        // A policy comes with a record: one that was not checked must not get further.
        let policy = task.retry.filter(|policy| policy.check().is_ok());
        let policy = policy.unwrap_or(served.retry);
        let attempt = Attempt::new(task, facts.number, self.stopper.clone());
        let handler = match Self::runnable(&attempt, served, &policy, is_late) {
            Ok(handler) => handler,
            Err(error) => {
                let last = AttemptFacts {
                    version: facts.version + 1,
                    ..facts
                };
                return self.end(attempt, Err(error), &policy, token, last).await;
            }
        };
        let (run, last) = self.handle(handler, served, &attempt, token, facts).await;
        match run {
            Run::Answered(answer) => self.end(attempt, answer, &policy, token, last).await,
            Run::Lost => {
                self.meters.stale.increment(1);
                Dealt::With
            }
        }
    }

    /// The handler, unless the attempt ends before it has begun.
    fn runnable<'served>(
        attempt: &Attempt,
        served: &'served ServedType,
        policy: &RetryPolicy,
        is_late: bool,
    ) -> Result<&'served dyn Handler, HandlerError> {
        if u32::try_from(attempt.number()).is_ok_and(|number| number > policy.max_attempts) {
            // Only a worker that died without an answer gets here: an answer would have been the last one.
            let message = format!(
                "{} attempts ended with the loss of their worker",
                policy.max_attempts
            );
            return Err(HandlerError::never("attempts_exhausted", message));
        }
        if is_late {
            // RUNNING cannot expire. As any attempt that fails past the deadline, this one leaves that to the scheduler.
            let message = "the deadline passed while the task had lost its worker";
            return Err(HandlerError::retryable("deadline_passed", message).retry_after(Duration::ZERO));
        }
        served
            .handler
            .as_deref()
            .ok_or_else(|| HandlerError::retryable("no_handler", no_handler(&attempt.task().task_type)))
    }

    /// Runs the handler within its time, with reports beside it.
    async fn handle(
        &self,
        handler: &dyn Handler,
        served: &ServedType,
        attempt: &Attempt,
        token: ClaimToken,
        facts: AttemptFacts,
    ) -> (Run, AttemptFacts) {
        let reporter = Reporter {
            attempt,
            token,
            facts,
            running_event: served.running_event,
            writes: &self.writes,
            clock: &self.clock,
            state: ReporterState::new(facts.version),
        };
        let timeout = timeout(attempt.task(), served);
        let started = Instant::now();
        self.meters.running.increment(1.0);
        let mut reports = std::pin::pin!(reporter.run());
        let mut ended = None;
        let run = {
            // The handler is dropped at the end of this block, so that nothing of it runs on behind its last event.
            let mut handling = std::pin::pin!(AssertUnwindSafe(handler.handle(attempt)).catch_unwind());
            let mut time_out = std::pin::pin!(sleep(timeout));
            loop {
                // The order matters: a handler that is ready at once registers no timer.
                tokio::select! {
                    biased;
                    answer = &mut handling => {
                        break Run::Answered(answer.unwrap_or_else(|panic| Err(panicked(&*panic))));
                    }
                    () = &mut time_out => break Run::Answered(Err(timed_out(timeout))),
                    end = &mut reports, if ended.is_none() => {
                        ended = Some(end);
                        if end == Ended::Lost {
                            break Run::Lost;
                        }
                    }
                }
            }
        };
        self.meters.running.decrement(1.0);
        served.handler_seconds.record(started.elapsed().as_secs_f64());
        if reporter.close() && ended.is_none() && reports.await == Ended::Lost {
            return (Run::Lost, reporter.last_facts());
        }
        (run, reporter.last_facts())
    }

    /// Stores the attempt's end.
    async fn end(
        &self,
        attempt: Attempt,
        answer: Result<JsonText, HandlerError>,
        policy: &RetryPolicy,
        token: ClaimToken,
        facts: AttemptFacts,
    ) -> Dealt {
        let now = self.clock.now();
        let outcome = Outcome::of(answer, facts.number, policy, now, rand::random());
        let counter = match &outcome {
            Outcome::Done(_) => &self.meters.done,
            Outcome::Retrying(error, at) => {
                tracing::debug!(task.id = %attempt.id(), task.attempt = facts.number, error.code, error.message, retry_at = %at, "attempt failed");
                &self.meters.retried
            }
            Outcome::Failed(error) => {
                tracing::info!(task.id = %attempt.id(), task.attempt = facts.number, error.code, error.message, "task failed");
                &self.meters.failed
            }
        };
        let (task, progress) = attempt.into_parts();
        let (event, retry_at) = outcome.into_event(task, progress, facts, now);
        match self
            .complete(Completion {
                token,
                event,
                retry_at,
            })
            .await
        {
            Some(Completed::Stored) => counter.increment(1),
            Some(Completed::Stale) => self.meters.stale.increment(1),
            None => return Dealt::Not,
        }
        Dealt::With
    }
}

/// The writes. The grouped ones wait for the database themselves and give up only when the process stops.
impl Attempts {
    /// A row that is missing is looked for again: the log is read before its transaction is visible to others (with a
    /// synchronous standby that is away, long before), so the record of a new task may overtake its row. The row is
    /// missing for good when every transaction has ended that was under way when it was first looked for.
    async fn claim(&self, task: &TaskRequested, token: ClaimToken) -> Option<Claimed> {
        let claim = Claim {
            task_id: task.task_id,
            run: task.run,
            token,
            worker: Arc::clone(&self.worker),
        };
        let mut first = None;
        let mut is_settled = false;
        let mut backoff = Backoff::new(Duration::from_millis(2), Duration::from_millis(250));
        loop {
            let claimed = self.writes.claim(claim.clone()).await;
            match claimed.map_err(|error| given_up(task.task_id, &error)).ok()? {
                Claimed::Missing(horizon) if !is_settled => {
                    is_settled = horizon.is_past(*first.get_or_insert(horizon));
                    if !backoff.wait(&self.stopper).await {
                        return None;
                    }
                }
                claimed => return Some(claimed),
            }
        }
    }

    async fn complete(&self, completion: Completion) -> Option<Completed> {
        let id = completion.event.task_id;
        self.writes
            .complete(completion)
            .await
            .map_err(|error| given_up(id, &error))
            .ok()
    }

    /// Whether the task has expired; `None`: the process stops.
    async fn expire(&self, id: TaskId) -> Option<bool> {
        let mut backoff = Backoff::dependency();
        loop {
            match self.store.expire(id, self.clock.now()).await {
                Ok(expired) => return Some(expired),
                Err(error) => {
                    tracing::warn!(task.id = %id, error = %chain(&error), "a task could not expire; trying again");
                }
            }
            if !backoff.wait(&self.stopper).await {
                return None;
            }
        }
    }
}

/// The process stops, or the database refuses a value, which nothing that is JSON should make it do. The record stays
/// uncommitted, so the task comes again with the partition's next owner.
fn given_up(id: TaskId, error: &posthaste_store::Error) {
    if error.kind() != ErrorKind::Unavailable {
        tracing::error!(task.id = %id, error = %chain(error), "an attempt could not be stored; its task is held back until a restart");
    }
}

fn timeout(task: &TaskRequested, served: &ServedType) -> Duration {
    task.timeout_ms
        .and_then(|ms| u64::try_from(ms).ok())
        .map_or(served.timeout, Duration::from_millis)
}

fn no_handler(task_type: &str) -> String {
    let switch = if is_builtin(task_type) {
        "`worker.builtins = true` or "
    } else {
        ""
    };
    format!(
        "no handler here serves the type `{task_type}`: set {switch}`[worker.types.\"{task_type}\"]` in the worker's \
         configuration"
    )
}

fn timed_out(timeout: Duration) -> HandlerError {
    HandlerError::retryable(
        "timed_out",
        format!("the handler took longer than {} s", timeout.as_secs_f64()),
    )
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> HandlerError {
    let text = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    HandlerError::retryable("panicked", text.unwrap_or("the handler panicked"))
}

fn seconds(span: TimeDelta) -> f64 {
    span.to_std().unwrap_or_default().as_secs_f64()
}
