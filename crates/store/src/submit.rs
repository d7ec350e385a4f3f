//! Grouped submissions: a task, its outbox row or timer, and its idempotency key in one statement for a whole batch.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use posthaste_runtime::Stopper;
use posthaste_schema::TaskRequested;
use posthaste_types::limits::{
    IDEMPOTENCY_WAIT_MS_MAX, STORE_WAIT_MS_MAX, SUBMIT_QUEUE_BYTES_MAX, SUBMIT_QUEUE_LEN_MAX,
};
use posthaste_types::{EventId, Task, TaskId, TaskState, topics};
use tokio::time::Instant;

use crate::group::{Group, GroupOptions};
use crate::submit_row::{Row, Submission};
use crate::submit_write::SubmitWrite;
use crate::{Error, Schemas, Store};

/// What makes a request sent twice one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller's key, unique within the tenant.
    pub key: String,
    /// SHA-256 of what the request says: another request under the key is told apart by it.
    pub fingerprint: [u8; 32],
    /// What whoever repeats the request is to be answered, where it does not follow from the task. It is kept as long
    /// as the key.
    pub answer: Option<Vec<u8>>,
}

/// A task that is to be stored.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// The task, in state INIT (published at once) or SCHEDULED (by a timer at `not_before`).
    pub task: Task,
    /// The id of the outbox row of its first publication.
    pub event_id: EventId,
    /// What makes it idempotent.
    pub idempotency: Option<Idempotency>,
}

/// What became of a submission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// It is durable.
    Stored,
    /// The same request was stored before.
    Replayed {
        /// Its task, or the first one of its tasks.
        task_id: TaskId,
        /// When that was submitted.
        created_at: DateTime<Utc>,
        /// Whether that was SCHEDULED.
        scheduled: bool,
        /// The answer that was kept with the key.
        answer: Option<Vec<u8>>,
    },
    /// Another request was stored under this key; nothing was stored now.
    KeyReused,
    /// Another request under this key has been in progress for [`IDEMPOTENCY_WAIT_MS_MAX`]; nothing was stored, and
    /// trying again later helps.
    InProgress,
}

impl Default for GroupOptions {
    /// One lane: what arrives while it commits is the next batch, and large batches are what makes a task cheap. On two
    /// cores it was faster than two or four at every rate, in latency too.
    fn default() -> Self {
        Self {
            lanes: 1,
            queue_len_max: SUBMIT_QUEUE_LEN_MAX,
            queue_bytes_max: SUBMIT_QUEUE_BYTES_MAX,
        }
    }
}

/// A cheap handle that stores submissions in groups.
#[derive(Clone)]
pub struct Submitter {
    group: Group<SubmitWrite>,
    schemas: Schemas,
}

impl Submitter {
    /// Starts the lanes, which tolerate that the database is away. After `stopper` nothing is taken in any more, but what
    /// was is still stored: stop it only after the callers have been served.
    pub fn start(store: &Store, options: GroupOptions, stopper: Stopper) -> Self {
        Self {
            group: Group::start(store, SubmitWrite, &options, stopper),
            schemas: store.schema_ids().clone(),
        }
    }

    /// Stores one task. `Ok(Submitted::Stored)` comes after the commit.
    ///
    /// # Errors
    /// [`crate::ErrorKind::Unavailable`] when the queue is full or stands still, or there was no commit within
    /// [`STORE_WAIT_MS_MAX`]: the task may then be stored or not. [`crate::ErrorKind::BadRow`] when the database refuses
    /// a value, [`crate::ErrorKind::Setup`] when a migration or a schema is missing.
    pub async fn submit(&self, mut new: NewTask) -> Result<Submitted, Error> {
        let idempotency = new.idempotency.take();
        self.submit_batch(vec![new], idempotency).await
    }

    /// Stores several tasks, each with an outcome of its own.
    pub async fn submit_each(&self, news: Vec<NewTask>) -> Vec<Result<Submitted, Error>> {
        futures_util::future::join_all(news.into_iter().map(|new| self.submit(new))).await
    }

    /// Stores all of these tasks, of which there is at least one, or none, in one commit and under one key. Keys of their
    /// own are not looked at.
    ///
    /// # Errors
    /// As [`Submitter::submit`].
    pub async fn submit_batch(
        &self,
        news: Vec<NewTask>,
        idempotency: Option<Idempotency>,
    ) -> Result<Submitted, Error> {
        let write = async {
            let mut rows = Vec::with_capacity(news.len());
            for new in news {
                rows.push(self.row(new).await?);
            }
            self.settle(Arc::new(Submission { rows, idempotency })).await
        };
        tokio::time::timeout(Duration::from_millis(STORE_WAIT_MS_MAX), write)
            .await
            .map_err(|_| Error::TimedOut("submit"))?
    }

    /// Completes when everything that was taken in before the stop is answered.
    pub async fn drain(&self) {
        self.group.drain().await;
    }

    /// Writes it, once more while its key is in somebody else's hands: that is, as a rule, for the length of a commit.
    async fn settle(&self, submission: Arc<Submission>) -> Result<Submitted, Error> {
        const PAUSE_MAX: Duration = Duration::from_millis(200);
        let give_up_at = Instant::now() + Duration::from_millis(IDEMPOTENCY_WAIT_MS_MAX);
        let mut pause = Duration::from_millis(5);
        loop {
            let outcome = self.group.try_write(Arc::clone(&submission)).await?;
            if outcome != Submitted::InProgress || Instant::now() + pause > give_up_at {
                return Ok(outcome);
            }
            tokio::time::sleep(pause).await;
            pause = (2 * pause).min(PAUSE_MAX);
        }
    }

    /// Encodes here, on the caller's task, so that the lanes only move bytes.
    async fn row(&self, new: NewTask) -> Result<Row, Error> {
        let topic = topics::tasks_topic(&new.task.queue);
        let scheduled = new.task.state == TaskState::Scheduled;
        let schema_id = self.schemas.id(&topic).await?;
        let value = if scheduled {
            Vec::new()
        } else {
            TaskRequested::encode_task(&new.task, schema_id)
        };
        Ok(Row::new(new, topic, scheduled, value))
    }
}
