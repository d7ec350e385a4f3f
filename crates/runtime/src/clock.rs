//! Time comes in through a trait, so that tests can set it.

use std::sync::Arc;

use chrono::{DateTime, SubsecRound as _, Utc};

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// Now, in UTC, cut to microseconds: what Postgres and Avro keep, so that a value reads back as it was written.
    fn now(&self) -> DateTime<Utc>;
}

/// The operating system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }
}

impl SystemClock {
    /// The system clock behind the trait.
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self)
    }
}
