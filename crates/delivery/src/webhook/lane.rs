//! One endpoint's deliveries: which may start now. Pure; time is passed in.

use std::collections::VecDeque;
use std::time::Duration;

use posthaste_types::limits::WEBHOOK_ENDPOINT_QUEUE_LEN_MAX;
use tokio::time::Instant;

/// Requests at once to an endpoint that nothing is known of yet.
const IN_FLIGHT_AT_FIRST: usize = 4;

/// The queue of one endpoint, and how much it is trusted with: one more request at once after each success, half as many
/// after a failure. So an endpoint that hangs holds one place of the process's and not all of its own.
pub(crate) struct Lane<J> {
    queue: VecDeque<J>,
    in_flight: usize,
    in_flight_max: usize,
    /// The next one may start then.
    next_at: Instant,
}

/// Whether a delivery may start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn<J> {
    /// This one, now.
    Start(J),
    /// One, then.
    At(Instant),
    /// None: nothing is queued, or enough is under way.
    Wait,
}

impl<J> Lane<J> {
    /// An idle one; `limit` is the endpoint's own.
    pub(crate) fn new(limit: usize, now: Instant) -> Self {
        Self {
            queue: VecDeque::new(),
            in_flight: 0,
            in_flight_max: limit.min(IN_FLIGHT_AT_FIRST),
            next_at: now,
        }
    }

    /// Queues a delivery, or gives it back when the queue is full.
    pub(crate) fn push(&mut self, job: J) -> Result<(), J> {
        if self.queue.len() >= WEBHOOK_ENDPOINT_QUEUE_LEN_MAX {
            return Err(job);
        }
        self.queue.push_back(job);
        Ok(())
    }

    /// How many more it could start at once.
    pub(crate) fn room(&self) -> usize {
        self.in_flight_max
            .saturating_sub(self.in_flight + self.queue.len())
    }

    /// The next delivery that may start; it is under way from now on.
    pub(crate) fn turn(&mut self, rate_per_s: Option<f64>, now: Instant) -> Turn<J> {
        if self.in_flight >= self.in_flight_max {
            return Turn::Wait;
        }
        if self.next_at > now && !self.queue.is_empty() {
            return Turn::At(self.next_at);
        }
        let Some(job) = self.queue.pop_front() else {
            return Turn::Wait;
        };
        self.in_flight += 1;
        if let Some(rate_per_s) = rate_per_s {
            self.next_at = now + Duration::from_secs_f64(1.0 / rate_per_s);
        }
        Turn::Start(job)
    }

    /// A delivery has ended; `limit` is the endpoint's own.
    pub(crate) fn finish(&mut self, is_success: bool, limit: usize) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let wanted = if is_success {
            self.in_flight_max + 1
        } else {
            self.in_flight_max / 2
        };
        self.in_flight_max = wanted.clamp(1, limit.max(1));
    }

    /// Whether nothing is queued or under way and nothing has to be remembered.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.queue.is_empty() && self.in_flight == 0 && self.next_at <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(limit: usize, jobs: u32) -> Lane<u32> {
        let mut lane = Lane::new(limit, Instant::now());
        (0..jobs).for_each(|job| lane.push(job).unwrap());
        lane
    }

    fn start_all(lane: &mut Lane<u32>) -> Vec<u32> {
        let now = Instant::now();
        std::iter::from_fn(|| match lane.turn(None, now) {
            Turn::Start(job) => Some(job),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn successes_widen_the_lane_up_to_the_endpoints_own_limit_and_failures_narrow_it() {
        let mut lane = lane(6, 40);
        assert_eq!(start_all(&mut lane), [0, 1, 2, 3]);
        (0..4).for_each(|_| lane.finish(true, 6));
        assert_eq!(start_all(&mut lane).len(), 6);
        (0..6).for_each(|_| lane.finish(false, 6));
        assert_eq!(start_all(&mut lane), [10]);
        lane.finish(true, 6);
        assert_eq!(start_all(&mut lane).len(), 2);
    }

    #[test]
    fn an_ordered_endpoint_gets_one_at_a_time() {
        let mut lane = lane(1, 3);
        assert_eq!(start_all(&mut lane), [0]);
        lane.finish(true, 1);
        assert_eq!(start_all(&mut lane), [1]);
    }

    #[test]
    fn a_rate_spaces_the_starts() {
        let mut lane = lane(10, 2);
        let now = Instant::now();
        assert_eq!(lane.turn(Some(2.0), now), Turn::Start(0));
        let next = now + Duration::from_millis(500);
        assert_eq!(lane.turn(Some(2.0), now), Turn::At(next));
        assert_eq!(lane.turn(Some(2.0), next), Turn::Start(1));
        assert!(!lane.is_idle(next));
    }

    #[test]
    fn a_full_queue_gives_the_delivery_back() {
        let mut lane = lane(1, u32::try_from(WEBHOOK_ENDPOINT_QUEUE_LEN_MAX).unwrap());
        assert_eq!(lane.push(7), Err(7));
    }
}
