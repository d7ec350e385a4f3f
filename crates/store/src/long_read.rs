//! The turns of reads that may take long. They leave most of the pool, and most of the database's time, to what does not:
//! a turn is followed by a rest, so however many lists are asked for, what they take is bounded.

use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{PoolError, TimeoutType};
use posthaste_types::limits::{LONG_READ_POOL_SHARE, LONG_READ_REST_MS_MAX, LONG_READ_REST_TIMES};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::Error;

/// The turns of one pool.
#[derive(Debug, Clone)]
pub(crate) struct LongReads(Arc<Semaphore>);

/// One that was begun; it ends, and its rest begins, when this is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    /// There until this is dropped.
    permit: Option<OwnedSemaphorePermit>,
    began: Instant,
}

impl LongReads {
    /// Those of a pool of so many connections.
    pub(crate) fn new(pool_size: usize) -> Self {
        Self(Arc::new(Semaphore::new(
            (pool_size / LONG_READ_POOL_SHARE).max(1),
        )))
    }

    /// The next turn, at most `wait` from now.
    pub(crate) async fn turn(&self, wait: Duration) -> Result<Turn, Error> {
        let permit = tokio::time::timeout(wait, Arc::clone(&self.0).acquire_owned())
            .await
            .map_err(|_| PoolError::Timeout(TimeoutType::Wait))?
            .map_err(|_| PoolError::Closed)?;
        Ok(Turn {
            permit: Some(permit),
            began: Instant::now(),
        })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let rest_max = Duration::from_millis(LONG_READ_REST_MS_MAX);
        let rest = (self.began.elapsed() * LONG_READ_REST_TIMES).min(rest_max);
        let permit = self.permit.take();
        // Without a runtime nobody waits for a turn.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(rest).await;
                drop(permit);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_turn_is_followed_by_a_rest_of_its_length_and_its_bound() {
        let reads = LongReads::new(1);
        for (length_ms, rest_ms) in [(2, 2 * LONG_READ_REST_TIMES), (1_000, 25)] {
            let turn = reads.turn(LONG).await.unwrap();
            tokio::time::advance(Duration::from_millis(length_ms)).await;
            drop(turn);
            let ended = Instant::now();
            drop(reads.turn(LONG).await.unwrap());
            assert_eq!(ended.elapsed().as_millis(), u128::from(rest_ms));
            tokio::time::sleep(LONG).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_turns_as_a_quarter_of_the_pool_are_taken_at_once() {
        let reads = LongReads::new(8);
        let _turns = (reads.turn(LONG).await.unwrap(), reads.turn(LONG).await.unwrap());
        assert!(reads.turn(LONG).await.is_err());
    }
}
