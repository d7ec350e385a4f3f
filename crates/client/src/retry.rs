//! When a call is tried again, and after how long.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::RETRY_AFTER;

use crate::Error;

/// Calls that fail transiently are tried so often in all.
pub(crate) const TRY_COUNT_MAX: u32 = 5;
/// The first wait between two tries, at most; each further one may be twice as long.
const WAIT: Duration = Duration::from_millis(200);
/// No wait of our own is longer.
const WAIT_MAX: Duration = Duration::from_secs(10);
/// A server that asks to be left alone for longer is not waited for, and a stream's is asked again after this.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(30);

/// How long the server asks to be left alone; whole seconds alone are understood.
pub(crate) fn retry_after(answer: &Response) -> Option<Duration> {
    let seconds = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Exponential back-off with jitter.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    failure_count: u32,
}

impl Waits {
    /// How long to wait after one more failure: half of the present bound and a random part of the other half, or what
    /// the server asked for.
    pub(crate) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let doublings = self.failure_count.min(10);
        self.failure_count += 1;
        let bound = (WAIT * 2_u32.pow(doublings)).min(WAIT_MAX);
        let own = bound.mul_f64(rand::random_range(0.5..=1.0));
        asked.map_or(own, |asked| asked.max(own))
    }

    /// The wait before the next try of a call that failed; none when it is to be given up.
    pub(crate) fn before_next_try(&mut self, error: &Error, asked: Option<Duration>) -> Option<Duration> {
        let is_hopeless = !error.is_transient() || asked.is_some_and(|asked| asked > RETRY_AFTER_MAX);
        (!is_hopeless && self.failure_count + 1 < TRY_COUNT_MAX).then(|| self.next(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_stay_bounded_and_obey_the_server() {
        let mut waits = Waits::default();
        let first = waits.next(None);
        assert!((WAIT / 2..=WAIT).contains(&first), "{first:?}");
        let twentieth = (0..20).map(|_| waits.next(None)).last().unwrap();
        assert!((WAIT_MAX / 2..=WAIT_MAX).contains(&twentieth), "{twentieth:?}");
        let asked = Duration::from_secs(20);
        assert_eq!(waits.next(Some(asked)), asked);
    }

    #[test]
    fn a_call_is_given_up_after_its_tries_or_when_no_try_can_help() {
        let transient = || Error::Gateway(503);
        let mut waits = Waits::default();
        let tries = 1
            + (0..100)
                .take_while(|_| waits.before_next_try(&transient(), None).is_some())
                .count();
        assert_eq!(tries, TRY_COUNT_MAX as usize);
        let mut fresh = Waits::default();
        assert_eq!(fresh.before_next_try(&Error::Gateway(404), None), None);
        let too_long = RETRY_AFTER_MAX + Duration::from_secs(1);
        assert_eq!(fresh.before_next_try(&transient(), Some(too_long)), None);
    }
}
