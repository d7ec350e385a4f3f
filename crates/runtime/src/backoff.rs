//! Waiting between tries of something that must succeed in the end: exponential with full jitter, without end.

use std::time::Duration;

use crate::Stopper;

/// Bounds of a wait.
#[derive(Debug, Clone)]
pub struct Backoff {
    base: Duration,
    max: Duration,
    failure_count: u32,
}

impl Backoff {
    /// First wait at most `base`, doubling up to `max`.
    pub const fn new(base: Duration, max: Duration) -> Self {
        Self {
            base,
            max,
            failure_count: 0,
        }
    }

    /// What a dependency that is away gets: 50 ms doubling to 5 s.
    pub const fn dependency() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_secs(5))
    }

    /// To be called after a success.
    pub const fn reset(&mut self) {
        self.failure_count = 0;
    }

    /// Failures since the last success.
    pub const fn failure_count(&self) -> u32 {
        self.failure_count
    }

    /// The next wait; at least a tenth of the bound, so that a jitter near zero does not spin.
    pub fn next_wait(&mut self) -> Duration {
        let bound = self
            .base
            .saturating_mul(1 << self.failure_count.min(16))
            .min(self.max);
        self.failure_count = self.failure_count.saturating_add(1);
        bound.mul_f64(rand::random_range(0.1..=1.0))
    }

    /// Waits; `false` means that stopping was asked for meanwhile.
    pub async fn wait(&mut self, stopper: &Stopper) -> bool {
        let wait = self.next_wait();
        stopper.unless_stopped(tokio::time::sleep(wait)).await.is_some()
    }
}
