//! The grouped writes of a worker process: claims and the ends of attempts, each kind on lanes of its own.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use posthaste_runtime::{Backoff, Stopper};
use posthaste_schema::{SchemaId, TaskEvent};
use posthaste_types::{ClaimToken, TaskId, TaskState, topics};

use crate::claim::ClaimWrite;
use crate::complete::{CompleteWrite, Encoded};
use crate::group::{Group, GroupOptions};
use crate::{Error, Schemas, Store};

/// A worker's wish to run a task.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The task.
    pub task_id: TaskId,
    /// The run that its record names; a claim of another run changes nothing.
    pub run: i32,
    /// Fresh for each claim. The same claim tried twice counts one attempt.
    pub token: ClaimToken,
    /// The worker process.
    pub worker: Arc<str>,
}

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The task is RUNNING for this token and the attempt is counted.
    Granted {
        /// The attempt's number, from 1.
        attempt: i32,
        /// The task's version now. Each event that the attempt publishes takes the next one.
        version: i32,
        /// When the attempt began, by this process's clock.
        started_at: DateTime<Utc>,
        /// Whether it was taken over from a worker that had it RUNNING.
        takeover: bool,
    },
    /// The record is stale: the task is final, in another run, or waits for a timer that will publish it again.
    Gone,
    /// No such task can be seen. Its transaction may still be under way, as the log shows one before others can see it:
    /// when a later horizon [is past](Horizon::is_past) this one, a further claim tells for sure.
    Missing(Horizon),
}

/// Which transactions may have been under way at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizon {
    /// All before this one had ended.
    pub(crate) oldest: i64,
    /// Every one that had committed by then, visible or not, is before this one.
    pub(crate) latest: i64,
}

impl Horizon {
    /// Whether all that may have been under way at `earlier` had ended at this one.
    pub const fn is_past(self, earlier: Self) -> bool {
        self.oldest > earlier.latest
    }
}

/// One write of an attempt. The row's columns are taken from the event: state, version, result, error, progress,
/// finished_at. An event of kind RUNNING or PROGRESS keeps the task RUNNING.
#[derive(Debug, Clone)]
pub struct Completion {
    /// The token of the claim.
    pub token: ClaimToken,
    /// What happened; published in the same transaction. Its version must be above the row's.
    pub event: TaskEvent,
    /// With state RETRYING: when the next attempt is due.
    pub retry_at: Option<DateTime<Utc>>,
}

/// What became of a completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Completed {
    /// The task's row and the event are durable.
    Stored,
    /// The claim no longer holds (taken over, cancelled, run again), or a later event of it is stored: nothing was
    /// written but, for the end of an attempt, a line in the task's history.
    Stale,
}

/// A cheap handle on a worker's grouped writes.
#[derive(Clone)]
pub struct WorkerWrites {
    claims: Group<ClaimWrite>,
    completions: Group<CompleteWrite>,
    schemas: Schemas,
    stopper: Stopper,
}

impl WorkerWrites {
    /// Starts `options.lanes` lanes for claims and as many for completions; they tolerate that the database is away. After
    /// `stopper` nothing is taken in any more, but what was is still written once, so stop it after the handlers.
    pub fn start(store: &Store, options: GroupOptions, stopper: Stopper) -> Self {
        Self {
            claims: Group::start(store, ClaimWrite, &options, stopper.clone()),
            completions: Group::start(store, CompleteWrite, &options, stopper.clone()),
            schemas: store.schema_ids().clone(),
            stopper,
        }
    }

    /// Claims a task, waiting for as long as the database is away.
    ///
    /// # Errors
    /// [`Error::Stopping`], or a bug ([`crate::ErrorKind::Internal`]).
    pub async fn claim(&self, claim: Claim) -> Result<Claimed, Error> {
        self.claims.write(claim).await
    }

    /// Writes what an attempt came to, waiting for as long as the database is away.
    ///
    /// # Errors
    /// [`Error::Stopping`]; [`Error::Corrupt`] when the event's state is not one that an attempt can come to, or a time for
    /// the next attempt does not go with RETRYING; [`crate::ErrorKind::BadRow`] when the database refuses a value (a
    /// result that is not JSON for Postgres).
    pub async fn complete(&self, completion: Completion) -> Result<Completed, Error> {
        let state = completion.event.state;
        let due = completion.retry_at.is_some();
        if !matches!(
            state,
            TaskState::Running | TaskState::Done | TaskState::Failed | TaskState::Retrying
        ) || due != (state == TaskState::Retrying)
        {
            return Err(Error::Corrupt(format!(
                "an attempt cannot end {state}, due again: {due}"
            )));
        }
        let schema_id = self.results_schema().await?;
        self.completions.write(Encoded::new(completion, schema_id)).await
    }

    /// Waits for it as the lanes wait for the database: an attempt's result is not given up for want of set-up.
    async fn results_schema(&self) -> Result<SchemaId, Error> {
        let mut backoff = Backoff::dependency();
        loop {
            match self.schemas.id(topics::RESULTS).await {
                Ok(id) => return Ok(id),
                Err(error) if backoff.failure_count() == 0 => {
                    tracing::warn!(%error, "completions wait for the schema of the results topic");
                }
                Err(_) => {}
            }
            if !backoff.wait(&self.stopper).await {
                return Err(Error::Stopping);
            }
        }
    }

    /// Completes when everything that was taken in before the stop is answered.
    pub async fn drain(&self) {
        tokio::join!(self.claims.drain(), self.completions.drain());
    }
}
