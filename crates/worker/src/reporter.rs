//! Tells of a running attempt: `task.running` when it has run for a while, `task.progress` at most once a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

use posthaste_runtime::{Clock, chain};
use posthaste_store::{Completed, Completion, WorkerWrites};
use posthaste_types::{ClaimToken, EventKind, TaskState};
use tokio::time::{Instant, sleep_until};

use crate::Attempt;
use crate::options::RunningEvent;
use crate::outcome::{AttemptFacts, event};

/// How long a handler runs before `task.running` is published.
const RUNNING_AFTER: Duration = Duration::from_millis(500);
/// Time between two reports of one task.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// The reports of one attempt. Polled beside the handler, and only when that is not ready at once: a short task pays
/// nothing for it.
pub(crate) struct Reporter<'a> {
    pub(crate) attempt: &'a Attempt,
    pub(crate) token: ClaimToken,
    pub(crate) facts: AttemptFacts,
    pub(crate) running_event: RunningEvent,
    pub(crate) writes: &'a WorkerWrites,
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) state: ReporterState,
}

/// What the attempt's end needs to know of the reports.
#[derive(Debug)]
pub(crate) struct ReporterState {
    /// The version of the last event written.
    version: AtomicI32,
    writing: AtomicBool,
    closed: AtomicBool,
}

impl ReporterState {
    pub(crate) const fn new(version: i32) -> Self {
        Self {
            version: AtomicI32::new(version),
            writing: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }
}

/// Why the reports ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The task is not this attempt's any more: cancelled, or taken over by another worker.
    Lost,
    /// As asked, or the process is stopping.
    Closed,
}

impl Reporter<'_> {
    /// Reports until the attempt is lost or [`Self::close`] was called.
    pub(crate) async fn run(&self) -> Ended {
        let started = Instant::now();
        let mut next = started;
        if self.running_event != RunningEvent::Never {
            if self.running_event == RunningEvent::Auto {
                sleep_until(started + RUNNING_AFTER).await;
            }
            if let Some(ended) = self.write(EventKind::Running, self.attempt.progress.last()).await {
                return ended;
            }
            next = Instant::now() + PROGRESS_EVERY;
        }
        loop {
            self.attempt.progress.changed().await;
            sleep_until(next).await;
            if let Some(ended) = self
                .write(EventKind::Progress, self.attempt.progress.last())
                .await
            {
                return ended;
            }
            next = Instant::now() + PROGRESS_EVERY;
        }
    }

    /// Begins no further report. `true`: one is being written, and the attempt's own write must wait for
    /// [`Self::run`] to return, as two lanes could otherwise commit them in the wrong order.
    pub(crate) fn close(&self) -> bool {
        self.state.closed.store(true, Ordering::Relaxed);
        self.state.writing.load(Ordering::Relaxed)
    }

    /// What is known of the attempt for its last event.
    pub(crate) fn last_facts(&self) -> AttemptFacts {
        AttemptFacts {
            version: self.state.version.load(Ordering::Relaxed) + 1,
            ..self.facts
        }
    }

    async fn write(&self, kind: EventKind, progress: Option<String>) -> Option<Ended> {
        let version = self.state.version.fetch_add(1, Ordering::Relaxed) + 1;
        let facts = AttemptFacts {
            version,
            ..self.facts
        };
        let task = self.attempt.task().clone();
        let event = event(task, kind, TaskState::Running, progress, facts, self.clock.now());
        self.state.writing.store(true, Ordering::Relaxed);
        let written = self
            .writes
            .complete(Completion {
                token: self.token,
                event,
                retry_at: None,
            })
            .await;
        self.state.writing.store(false, Ordering::Relaxed);
        match written {
            Ok(Completed::Stale) => Some(Ended::Lost),
            Ok(Completed::Stored) => self.state.closed.load(Ordering::Relaxed).then_some(Ended::Closed),
            // A report that cannot be stored is no reason to end the attempt; its end will meet the same error.
            Err(error) => {
                tracing::warn!(task.id = %self.attempt.id(), error = %chain(&error), "a report of an attempt could not be stored");
                Some(Ended::Closed)
            }
        }
    }
}
