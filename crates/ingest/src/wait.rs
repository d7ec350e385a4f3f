//! Readers that wait for a task to change: one look at the store a tick for all of them, none when nobody waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use posthaste_api::Problem;
use posthaste_http::{Caller, unauthenticated};
use posthaste_runtime::{Backoff, Stopper, chain};
use posthaste_store::{Awaited, Store};
use posthaste_types::limits::{WAIT_TICK_MS, WAITER_COUNT_MAX, WAITER_TENANT_COUNT_MAX};
use posthaste_types::{ErrorCode, Task};
use tokio::sync::{mpsc, oneshot};

use crate::slots::Slots;

/// A look may take one part of this many of the time, so that ten thousand readers cannot occupy the database.
const LOOK_SHARE: u32 = 5;

/// Handle of the one who looks.
pub(crate) struct Waits {
    readers: mpsc::Sender<Reader>,
    slots: Slots,
}

struct Reader {
    awaited: Awaited,
    answer: oneshot::Sender<Arc<Task>>,
}

/// Everybody who waits, by what they wait for: readers of one task cost one look, and have one copy of it until each makes
/// its answer, whose bytes are counted.
type Waiting = HashMap<Awaited, Vec<oneshot::Sender<Arc<Task>>>>;

impl Waits {
    /// Starts the looking; it ends, and lets every reader go, when `stopper` stops.
    pub(crate) fn start(store: Store, stopper: Stopper) -> Self {
        let (readers, arrivals) = mpsc::channel(WAITER_COUNT_MAX);
        tokio::spawn(async move {
            stopper.unless_stopped(look_until_closed(store, arrivals)).await;
        });
        Self {
            readers,
            slots: Slots::new(WAITER_COUNT_MAX, WAITER_TENANT_COUNT_MAX),
        }
    }

    /// The task once it has changed as awaited; `None` when `bound` passes first or the process stops.
    ///
    /// # Errors
    /// 429 when too many wait already, 401 when the caller's key is revoked or expires meanwhile.
    pub(crate) async fn changed(
        &self,
        caller: &Caller,
        awaited: Awaited,
        bound: Duration,
    ) -> Result<Option<Arc<Task>>, Problem> {
        let _slot = self.slots.try_take(caller.tenant()).ok_or_else(|| {
            Problem::new(
                ErrorCode::TooManyRequests,
                "too many requests wait for changes; ask again without waiting",
            )
        })?;
        let (answer, change) = oneshot::channel();
        let changed = async {
            // While the database is away readers that gave up still fill the channel, so this may wait too.
            self.readers.send(Reader { awaited, answer }).await.ok()?;
            change.await.ok()
        };
        let changed = tokio::time::timeout(bound, changed);
        let ended = || unauthenticated("the key was revoked or has expired while this request waited");
        let changed = caller.ended().unless_stopped(changed).await.ok_or_else(ended)?;
        Ok(changed.ok().flatten())
    }
}

async fn look_until_closed(store: Store, mut arrivals: mpsc::Receiver<Reader>) {
    let mut waiting = Waiting::new();
    let mut backoff = Backoff::dependency();
    loop {
        if waiting.is_empty() {
            let Some(reader) = arrivals.recv().await else {
                return;
            };
            waiting.entry(reader.awaited).or_default().push(reader.answer);
        }
        while let Ok(reader) = arrivals.try_recv() {
            waiting.entry(reader.awaited).or_default().push(reader.answer);
        }
        // Readers that gave up or whose time is over.
        waiting.retain(|_, answers| {
            answers.retain(|answer| !answer.is_closed());
            !answers.is_empty()
        });
        let began = Instant::now();
        let pause = match look(&store, &mut waiting).await {
            Ok(()) => {
                backoff.reset();
                Duration::from_millis(WAIT_TICK_MS).max(began.elapsed() * (LOOK_SHARE - 1))
            }
            Err(error) => {
                if backoff.failure_count() == 0 {
                    tracing::warn!(error = %chain(&error), "waiting readers cannot be looked after now");
                }
                backoff.next_wait()
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Answers whoever waits for what has changed.
async fn look(store: &Store, waiting: &mut Waiting) -> Result<(), posthaste_store::Error> {
    let awaited: Vec<Awaited> = waiting.keys().copied().collect();
    if awaited.is_empty() {
        return Ok(());
    }
    for (place, task) in store.changed_tasks(&awaited).await? {
        let answers = awaited
            .get(place)
            .and_then(|awaited| waiting.remove(awaited))
            .unwrap_or_default();
        let task = Arc::new(task);
        for answer in answers {
            // A reader that has just given up needs no answer.
            let _ = answer.send(Arc::clone(&task));
        }
    }
    Ok(())
}
