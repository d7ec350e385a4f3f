//! Group commit: concurrent writes of one kind share a statement and a commit, and each caller gets its own answer.
//!
//! A batch is what has arrived while the last one was committing; nothing lingers. It knows no SQL: see [`Write`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use posthaste_runtime::Stopper;
use posthaste_types::limits::{GROUP_BYTES_MAX, GROUP_ROW_COUNT_MAX, SUBMIT_QUEUE_AGE_MS_MAX};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};
use tokio_postgres::Client;
use tokio_util::task::TaskTracker;

use crate::lane::Lane;
use crate::{Error, Store};

/// How a group of writes is run.
#[derive(Debug, Clone)]
pub struct GroupOptions {
    /// Connections that commit at once, 1 or more. More lanes shorten the wait at a low rate; fewer make larger
    /// batches, hence cost less at a high one.
    pub lanes: usize,
    /// Rows that may wait or be under way.
    pub queue_len_max: usize,
    /// Bytes that may wait or be under way.
    pub queue_bytes_max: usize,
}

/// One kind of grouped write.
pub(crate) trait Write: Send + Sync + 'static {
    /// What a caller hands in: one row, or several that stand and fall together.
    type Item: Send + Sync + 'static;
    /// What the caller gets.
    type Outcome: Send + 'static;
    /// What is prepared once for each connection.
    type Statements: Send + Sync;
    /// In log lines and metrics.
    const NAME: &'static str;
    /// Whether a caller would rather wait for a person's repair than be told of missing set-up.
    const PATIENT: bool;

    /// Rows and bytes of an item.
    fn size(item: &Self::Item) -> Size;

    /// Prepares what `write` needs.
    fn prepare(client: &Client) -> impl Future<Output = Result<Self::Statements, Error>> + Send;

    /// Writes all items or none, and returns their outcomes in order. `again` says that an earlier try of the same
    /// items may have been committed.
    fn write(
        &self,
        client: &Client,
        statements: &Self::Statements,
        items: &[&Self::Item],
        again: bool,
    ) -> impl Future<Output = Result<Vec<Self::Outcome>, Error>> + Send;
}

/// What an item counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) rows: usize,
    pub(crate) bytes: usize,
}

/// An item and whoever waits for it.
pub(crate) struct Waiting<W: Write> {
    pub(crate) item: W::Item,
    pub(crate) reply: oneshot::Sender<Result<W::Outcome, Error>>,
    size: Size,
    since: Instant,
    _room: Room,
}

/// Gives its room in the queue back when dropped.
struct Room {
    _rows: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// What callers and lanes share.
pub(crate) struct Shared<W: Write> {
    pub(crate) write: W,
    pub(crate) stopper: Stopper,
    queue: Mutex<Queue<W>>,
    arrived: Notify,
    rows: Arc<Semaphore>,
    kibibytes: Arc<Semaphore>,
    rows_max: usize,
    kibibytes_max: usize,
}

struct Queue<W: Write> {
    waiting: VecDeque<Waiting<W>>,
    /// Set by a lane that found nothing left after stopping: nobody would serve what came later.
    closed: bool,
}

/// A cheap handle for callers.
pub(crate) struct Group<W: Write> {
    shared: Arc<Shared<W>>,
    lanes: TaskTracker,
}

impl<W: Write> Clone for Group<W> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            lanes: self.lanes.clone(),
        }
    }
}

impl<W: Write> Group<W> {
    /// Starts the lanes. They open their connections when there is something to write.
    pub(crate) fn start(store: &Store, write: W, options: &GroupOptions, stopper: Stopper) -> Self {
        let rows_max = options.queue_len_max.clamp(1, Semaphore::MAX_PERMITS);
        let kibibytes_max = (options.queue_bytes_max / 1024).clamp(1, Semaphore::MAX_PERMITS);
        let shared = Arc::new(Shared {
            write,
            stopper,
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                closed: false,
            }),
            arrived: Notify::new(),
            rows: Arc::new(Semaphore::new(rows_max)),
            kibibytes: Arc::new(Semaphore::new(kibibytes_max)),
            rows_max,
            kibibytes_max,
        });
        let lanes = TaskTracker::new();
        for _ in 0..options.lanes.max(1) {
            lanes.spawn(Lane::new(Arc::clone(&shared), store.server()).run());
        }
        lanes.close();
        Self { shared, lanes }
    }

    /// Writes one item, or refuses it at once when the queue is full or its oldest item has waited for too long: who
    /// came now would only wait longer.
    pub(crate) async fn try_write(&self, item: W::Item) -> Result<W::Outcome, Error> {
        if self.shared.is_stalled() {
            return Err(Error::QueueStalled(W::NAME));
        }
        let size = W::size(&item);
        let full = |error: TryAcquireError| match error {
            TryAcquireError::NoPermits => Error::QueueFull(W::NAME),
            TryAcquireError::Closed => Error::Stopping,
        };
        let (rows, kibibytes) = self.shared.permits(size);
        let room = Room {
            _rows: Arc::clone(&self.shared.rows)
                .try_acquire_many_owned(rows)
                .map_err(full)?,
            _bytes: Arc::clone(&self.shared.kibibytes)
                .try_acquire_many_owned(kibibytes)
                .map_err(full)?,
        };
        self.shared
            .push(item, size, room)?
            .await
            .map_err(|_| Error::Stopping)?
    }

    /// Writes one item, waiting for room in the queue.
    pub(crate) async fn write(&self, item: W::Item) -> Result<W::Outcome, Error> {
        let size = W::size(&item);
        let (rows, kibibytes) = self.shared.permits(size);
        let room = Room {
            _rows: Arc::clone(&self.shared.rows)
                .acquire_many_owned(rows)
                .await
                .map_err(|_| Error::Stopping)?,
            _bytes: Arc::clone(&self.shared.kibibytes)
                .acquire_many_owned(kibibytes)
                .await
                .map_err(|_| Error::Stopping)?,
        };
        self.shared
            .push(item, size, room)?
            .await
            .map_err(|_| Error::Stopping)?
    }

    /// Completes when stopping was asked for and everything that had been taken in is answered.
    pub(crate) async fn drain(&self) {
        self.lanes.wait().await;
    }
}

/// A lane's next step.
pub(crate) enum Next<W: Write> {
    Write(Vec<Waiting<W>>),
    Wait,
    Stop,
}

impl<W: Write> Shared<W> {
    /// The permits an item needs; one larger than the whole queue takes the whole queue.
    fn permits(&self, size: Size) -> (u32, u32) {
        let permits = |wanted: usize, max: usize| u32::try_from(wanted.clamp(1, max)).unwrap_or(u32::MAX);
        (
            permits(size.rows, self.rows_max),
            permits(size.bytes.div_ceil(1024), self.kibibytes_max),
        )
    }

    fn push(
        &self,
        item: W::Item,
        size: Size,
        room: Room,
    ) -> Result<oneshot::Receiver<Result<W::Outcome, Error>>, Error> {
        let (reply, answer) = oneshot::channel();
        let mut queue = self.queue.lock();
        if queue.closed || self.stopper.is_stopped() {
            return Err(Error::Stopping);
        }
        queue.waiting.push_back(Waiting {
            item,
            reply,
            size,
            since: Instant::now(),
            _room: room,
        });
        drop(queue);
        self.arrived.notify_one();
        Ok(answer)
    }

    /// Whether no lane has come to the oldest item within the bound.
    fn is_stalled(&self) -> bool {
        const AGE_MAX: Duration = Duration::from_millis(SUBMIT_QUEUE_AGE_MS_MAX);
        let queue = self.queue.lock();
        queue
            .waiting
            .front()
            .is_some_and(|oldest| oldest.since.elapsed() > AGE_MAX)
    }

    /// Takes what may travel together, oldest first.
    pub(crate) fn next(&self) -> Next<W> {
        let mut queue = self.queue.lock();
        let mut sum = Size { rows: 0, bytes: 0 };
        let mut count = 0;
        for waiting in &queue.waiting {
            sum.rows += waiting.size.rows;
            sum.bytes += waiting.size.bytes;
            if count > 0 && (sum.rows > GROUP_ROW_COUNT_MAX || sum.bytes > GROUP_BYTES_MAX) {
                break;
            }
            count += 1;
        }
        if count > 0 {
            let batch = queue.waiting.drain(..count).collect();
            let more = !queue.waiting.is_empty();
            drop(queue);
            if more {
                self.arrived.notify_one();
            }
            return Next::Write(batch);
        }
        if self.stopper.is_stopped() {
            queue.closed = true;
            return Next::Stop;
        }
        Next::Wait
    }

    /// Completes when something has arrived or stopping was asked for.
    pub(crate) async fn wait(&self) {
        tokio::select! {
            () = self.arrived.notified() => {}
            () = self.stopper.stopped() => {}
        }
    }
}
