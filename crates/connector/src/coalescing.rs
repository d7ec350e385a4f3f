//! Lets what comes in drops gather. A server sends each row of a small transaction as soon as it has it, and a thread that is
//! woken for each one spends most of its time on waking; so does the server on waking it.
//!
//! What network cards do with interrupts (ethtool(8), adaptive `rx-usecs`): only where wakes are many, so that a single row
//! waits for nothing.

use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_millis(1);
/// So many wakes within a window make a busy stream.
const BUSY_COUNT: u32 = 8;
/// So few make it quiet again; with naps there are fewer than there would be.
const QUIET_COUNT: u32 = 4;
/// The system adds about as much (prctl(2), `PR_SET_TIMERSLACK`).
const NAP: Duration = Duration::from_micros(50);

/// How often there was nothing more to read, lately.
#[derive(Debug)]
pub(crate) struct Coalescing {
    begun: Instant,
    wake_count: u32,
    is_busy: bool,
}

impl Default for Coalescing {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            wake_count: 0,
            is_busy: false,
        }
    }
}

impl Coalescing {
    /// To be called when all that had come is taken. Sleeps a little, on a thread that has nothing else to do, where the
    /// stream is busy.
    pub(crate) fn rest(&mut self) {
        if self.is_busy_at(Instant::now()) {
            std::thread::sleep(NAP);
        }
    }

    fn is_busy_at(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.begun) >= WINDOW {
            self.is_busy &= self.wake_count >= QUIET_COUNT;
            self.begun = now;
            self.wake_count = 0;
        }
        self.wake_count += 1;
        self.is_busy |= self.wake_count >= BUSY_COUNT;
        self.is_busy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the last of so many wakes, evenly over so long, finds the stream busy.
    fn is_busy_after(coalescing: &mut Coalescing, from: Instant, count: u32, each: Duration) -> bool {
        (0..count)
            .map(|number| coalescing.is_busy_at(from + each * number))
            .last()
            .unwrap_or(false)
    }

    #[test]
    fn only_a_stream_that_wakes_often_is_busy_and_it_stays_so_at_the_pace_of_naps() {
        let mut coalescing = Coalescing::default();
        let start = coalescing.begun;
        let second = |number| start + Duration::from_secs(number);
        assert!(!is_busy_after(
            &mut coalescing,
            second(1),
            1000,
            Duration::from_micros(250)
        ));
        assert!(is_busy_after(
            &mut coalescing,
            second(2),
            1000,
            Duration::from_micros(10)
        ));
        let napping = second(2) + Duration::from_millis(10);
        assert!(is_busy_after(
            &mut coalescing,
            napping,
            1000,
            Duration::from_micros(150)
        ));
        assert!(!is_busy_after(
            &mut coalescing,
            second(4),
            3,
            Duration::from_millis(2)
        ));
    }
}
