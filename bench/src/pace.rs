//! The open loop's schedule: a ticket at its time, whatever the server does.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

/// Tickets that wait for a free connection; past it the pacer waits, and the tickets keep their intended times.
const TICKET_COUNT_MAX: usize = 65_536;

/// Sends the intended time of each request, `per_second` of them between `start` and `end`.
///
/// A thread of its own, because the runtime's timer ticks in milliseconds and the kernel's in microseconds.
pub(crate) fn tickets(per_second: f64, start: Instant, end: Instant) -> mpsc::Receiver<Instant> {
    let (sender, receiver) = mpsc::channel(TICKET_COUNT_MAX);
    std::thread::spawn(move || {
        for index in 0_u64.. {
            let intended = start + Duration::from_secs_f64(index as f64 / per_second);
            if intended >= end {
                break;
            }
            let wait = intended.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                std::thread::sleep(wait);
            }
            if sender.blocking_send(intended).is_err() {
                break;
            }
        }
    });
    receiver
}
