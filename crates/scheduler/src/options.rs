//! The scheduler's configuration, section `[scheduler]`, and its check. The docs of the fields are its reference.

use serde::{Deserialize, Serialize};

/// How a scheduler works.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Longest time between two looks at the timers, milliseconds: how late a timer may fire that was set meanwhile.
    pub poll_ms: u64,
    /// Time between two rounds of maintenance, seconds. The outbox, which fills and empties in minutes, is looked at every
    /// half minute, or as often if that is more often.
    pub maintenance_s: u64,
    /// Partitions are made so many days ahead.
    pub days_ahead: u32,
    /// Tasks, their history and webhook attempts are kept for so many days after the day of their submission; tasks that
    /// have not ended, and those of the same day, for longer.
    pub retention_days: u32,
    /// Idempotency keys are kept for at least so many hours. They go by the day (UTC), so as a rule for up to a day
    /// longer; a request that comes again after that is a new one.
    pub idempotency_hours: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            poll_ms: 200,
            maintenance_s: 3600,
            days_ahead: 2,
            retention_days: 30,
            idempotency_hours: 24,
        }
    }
}

/// What can keep a scheduler from starting. Dependencies that are away are waited for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration does not make sense; the text names the key.
    #[error("{0}")]
    Setup(String),
}

impl Options {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`Error::Setup`], naming the key and what it must be.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |key: &str, must: &str| Err(Error::Setup(format!("scheduler.{key} must be {must}")));
        if !(1..=60_000).contains(&self.poll_ms) {
            return wrong("poll_ms", "from 1 to 60000");
        }
        if !(1..=86_400).contains(&self.maintenance_s) {
            return wrong("maintenance_s", "from 1 to 86400");
        }
        if !(1..=31).contains(&self.days_ahead) {
            return wrong("days_ahead", "from 1 to 31");
        }
        // A key that outlives its task would name one that is gone.
        if self.retention_days == 0 || self.idempotency_hours > self.retention_days.saturating_mul(24) {
            return wrong(
                "retention_days",
                "1 or more, and not shorter than idempotency_hours",
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_what_is_wrong_is_named() {
        Options::default().check().unwrap();
        let error = Options {
            poll_ms: 0,
            ..Options::default()
        }
        .check()
        .unwrap_err()
        .to_string();
        assert!(error.starts_with("scheduler.poll_ms"), "{error}");
        let error = Options {
            retention_days: 1,
            idempotency_hours: 25,
            ..Options::default()
        }
        .check();
        assert!(error.is_err());
    }
}
