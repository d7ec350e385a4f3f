//! When a delivery is tried again. Pure.

use std::time::Duration;

use posthaste_types::limits::WEBHOOK_RETRY_WAITS_S;

/// An endpoint may ask for a wait of at most this, seconds.
const RETRY_AFTER_S_MAX: u64 = 86_400;

/// The wait after attempt number `number` (from 1) failed; none when it was the last. `random` is uniform in 0..1.
/// Full jitter spreads what failed together; an endpoint that says when to come again is not asked earlier.
pub(crate) fn wait_after(number: i32, retry_after: Option<Duration>, random: f64) -> Option<Duration> {
    let index = usize::try_from(number).ok()?.checked_sub(1)?;
    let bound = Duration::from_secs(*WEBHOOK_RETRY_WAITS_S.get(index)?);
    let asked = retry_after
        .unwrap_or_default()
        .min(Duration::from_secs(RETRY_AFTER_S_MAX));
    Some(bound.mul_f64(random).max(asked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_attempt_has_no_next() {
        let count = i32::try_from(WEBHOOK_RETRY_WAITS_S.len()).unwrap();
        assert!(wait_after(count, None, 1.0).is_some());
        assert_eq!(wait_after(count + 1, None, 1.0), None);
    }

    #[test]
    fn an_endpoints_wish_is_a_lower_bound_and_bounded_itself() {
        assert_eq!(
            wait_after(1, Some(Duration::from_secs(60)), 0.5),
            Some(Duration::from_secs(60))
        );
        assert_eq!(
            wait_after(1, Some(Duration::MAX), 0.5),
            Some(Duration::from_secs(RETRY_AFTER_S_MAX))
        );
    }

    proptest! {
        #[test]
        fn waits_stay_within_the_schedule(number in 1..10i32, random in 0.0..1.0f64) {
            let wait = wait_after(number, None, random).unwrap();
            prop_assert!(wait.as_secs() <= WEBHOOK_RETRY_WAITS_S[usize::try_from(number).unwrap() - 1]);
        }
    }
}
