//! Addresses whose HTTP/2 connections ended because they flooded us. Each such connection costs an accept, a task and some
//! heads before it is cut, so the address' further HTTP/2 connections are read only after a pause. Nobody is refused: others
//! behind the same address lose at most that pause on a new HTTP/2 connection, and nothing on HTTP/1.1.

use std::collections::HashMap;
use std::error::Error;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use posthaste_runtime::metric;
use posthaste_types::limits::{FLOOD_PAUSE_MS, FLOODER_COUNT_MAX};
use tokio::time::Instant;

use crate::places::network;

/// The addresses, and until when each of them is to pause.
#[derive(Debug, Default)]
pub(crate) struct Flooders {
    /// Whether there are any: asked for every connection.
    are_any: AtomicBool,
    until: Mutex<HashMap<IpAddr, Instant>>,
}

impl Flooders {
    /// Notes that a connection of `peer` was cut because it flooded us.
    pub(crate) fn note(&self, peer: IpAddr) {
        metrics::counter!(metric::HTTP_FLOODS).increment(1);
        let now = Instant::now();
        let mut until = self.until();
        if until.len() >= FLOODER_COUNT_MAX {
            until.retain(|_, until| *until > now);
        }
        // With more of them than can be remembered, some do not pause.
        if until.len() < FLOODER_COUNT_MAX {
            until.insert(network(peer), now + Duration::from_millis(FLOOD_PAUSE_MS));
            self.are_any.store(true, Ordering::Relaxed);
        }
    }

    /// Until when an HTTP/2 connection that `peer` begins now is to pause.
    pub(crate) fn pause_of(&self, peer: IpAddr) -> Option<Instant> {
        if !self.are_any.load(Ordering::Relaxed) {
            return None;
        }
        let now = Instant::now();
        let mut all = self.until();
        let peer = network(peer);
        let until = *all.get(&peer)?;
        if until > now {
            return Some(until);
        }
        all.remove(&peer);
        self.are_any.store(!all.is_empty(), Ordering::Relaxed);
        None
    }

    fn until(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the library ended a connection because its peer asked too much of it.
pub(crate) fn is_flood(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<h2::Error>() {
            return error.is_library() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM);
        }
        next = error.source();
    }
    false
}
