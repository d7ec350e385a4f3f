//! Grouped submissions: a task, its outbox row or timer, and its idempotency key in one statement for a whole batch.

use chrono::{DateTime, Utc};
use posthaste_runtime::Stopper;
use posthaste_schema::TaskRequested;
use posthaste_types::limits::{STORE_WAIT_MS_MAX, SUBMIT_QUEUE_BYTES_MAX, SUBMIT_QUEUE_LEN_MAX};
use posthaste_types::{EventId, Task, TaskId, TaskState, topics};
use std::time::Duration;

use crate::group::{Group, GroupOptions};
use crate::submit_sql::{Row, Submission, SubmitWrite};
use crate::{Error, Schemas, Store};

/// What makes a request sent twice one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The caller's key, unique within the tenant.
    pub key: String,
    /// SHA-256 of what the request says: another request under the key is told apart by it.
    pub fingerprint: [u8; 32],
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
    /// The same request was stored before, as this task.
    Replayed {
        /// The first task's id.
        task_id: TaskId,
        /// When it was submitted.
        created_at: DateTime<Utc>,
        /// Whether the first answer said SCHEDULED.
        scheduled: bool,
    },
    /// Another request was stored under this key; nothing was stored now.
    KeyReused,
    /// The key was taken and given up again meanwhile; nothing was stored, and trying again helps.
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
    /// [`crate::ErrorKind::Unavailable`] when the queue is full or there was no commit within
    /// [`STORE_WAIT_MS_MAX`]: the task may then be stored or not. [`crate::ErrorKind::BadRow`] when the database refuses
    /// a value, [`crate::ErrorKind::Setup`] when a migration or a schema is missing.
    pub async fn submit(&self, new: NewTask) -> Result<Submitted, Error> {
        let outcomes = self.bounded(vec![new], false).await?;
        outcomes.into_iter().next().expect("one row has one outcome")
    }

    /// Stores several tasks, each with an outcome of its own; `atomic`: all or none, in one transaction. A task that
    /// was not stored because another of its atomic batch was refused gets [`Error::NotStored`].
    pub async fn submit_all(&self, news: Vec<NewTask>, atomic: bool) -> Vec<Result<Submitted, Error>> {
        if !atomic {
            return futures_util::future::join_all(news.into_iter().map(|new| self.submit(new))).await;
        }
        let count = news.len();
        match self.bounded(news, true).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                let error = std::sync::Arc::new(error);
                (0..count)
                    .map(|_| Err(Error::Group(std::sync::Arc::clone(&error))))
                    .collect()
            }
        }
    }

    /// Completes when everything that was taken in before the stop is answered.
    pub async fn drain(&self) {
        self.group.drain().await;
    }

    async fn bounded(
        &self,
        news: Vec<NewTask>,
        atomic: bool,
    ) -> Result<Vec<Result<Submitted, Error>>, Error> {
        if news.is_empty() {
            return Ok(Vec::new());
        }
        let write = async {
            let mut rows = Vec::with_capacity(news.len());
            for new in news {
                rows.push(self.row(new).await?);
            }
            self.group.try_write(Submission { rows, atomic }).await
        };
        tokio::time::timeout(Duration::from_millis(STORE_WAIT_MS_MAX), write)
            .await
            .map_err(|_| Error::TimedOut("submit"))?
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
