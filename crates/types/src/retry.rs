//! The retry policy: how often, and how long to wait between attempts.

use serde::{Deserialize, Serialize};

/// Exponential back-off with full jitter, as in the AWS Architecture Blog's "Exponential Backoff And Jitter".
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; 1 means no retry. 1 to [`crate::limits::ATTEMPT_COUNT_MAX`].
    #[serde(deserialize_with = "crate::whole::deserialize")]
    pub max_attempts: u32,
    /// The upper bound of the first wait, in seconds. 0 to `max_s`.
    pub base_s: f64,
    /// What the bound is multiplied by after each attempt. 1 to [`crate::limits::RETRY_FACTOR_MAX`].
    pub factor: f64,
    /// The bound never exceeds this, in seconds. At most [`crate::limits::RETRY_WAIT_S_MAX`].
    pub max_s: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 5,
            base_s: 1.0,
            factor: 2.0,
            max_s: 300.0,
        }
    }
}

impl RetryPolicy {
    /// The wait before the attempt after attempt number `attempt` (from 1), in seconds; `random` is uniform in 0..1.
    pub fn wait_s(&self, attempt: u32, random: f64) -> f64 {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        (self.base_s * self.factor.powi(exponent)).min(self.max_s) * random
    }

    /// What is wrong with the policy: the field and what it must be.
    ///
    /// # Errors
    /// The first field that is out of its bounds.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        use crate::limits::{ATTEMPT_COUNT_MAX, RETRY_FACTOR_MAX, RETRY_WAIT_S_MAX};
        if !(1..=ATTEMPT_COUNT_MAX).contains(&self.max_attempts) {
            return Err(("max_attempts", format!("must be from 1 to {ATTEMPT_COUNT_MAX}")));
        }
        if !(0.0..=RETRY_WAIT_S_MAX).contains(&self.max_s) {
            return Err(("max_s", format!("must be from 0 to {RETRY_WAIT_S_MAX}")));
        }
        if !(0.0..=self.max_s).contains(&self.base_s) {
            return Err(("base_s", "must be from 0 to max_s".to_owned()));
        }
        if !(1.0..=RETRY_FACTOR_MAX).contains(&self.factor) {
            return Err(("factor", format!("must be from 1 to {RETRY_FACTOR_MAX}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn default_policy_is_valid() {
        assert_eq!(RetryPolicy::default().check(), Ok(()));
    }

    #[test]
    fn not_a_number_and_out_of_bounds_are_named() {
        let policy = RetryPolicy {
            base_s: f64::NAN,
            ..RetryPolicy::default()
        };
        assert_eq!(policy.check().unwrap_err().0, "base_s");
        let policy = RetryPolicy {
            max_attempts: 0,
            ..RetryPolicy::default()
        };
        assert_eq!(policy.check().unwrap_err().0, "max_attempts");
    }

    proptest! {
        #[test]
        fn waits_stay_within_the_bound(attempt in 1u32.., random in 0.0f64..1.0) {
            let policy = RetryPolicy::default();
            let wait_s = policy.wait_s(attempt, random);
            prop_assert!((0.0..=policy.max_s).contains(&wait_s));
        }
    }
}
