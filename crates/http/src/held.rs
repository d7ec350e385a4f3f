//! Counts the bytes of bodies that come in several pieces, from their coming until nobody holds them: for the process, and
//! for each tenant, so that none takes all there is. A body in one piece is bounded by its connection's buffer.

use std::sync::Arc;

use bytes::Bytes;
use posthaste_api::Problem;
use posthaste_types::limits::BODIES_HELD_BYTES_MAX;

use crate::budget::{Budget, Short, take_both};
use crate::quota::Quota;

/// What one tenant may hold of the process's bytes.
pub(crate) const SHARE_BYTES_MAX: usize = BODIES_HELD_BYTES_MAX / 2;

/// All bodies of the process.
static PROCESS: Budget = Budget::new(BODIES_HELD_BYTES_MAX);

/// What one body holds; dropping it gives that back.
#[derive(Debug)]
pub(crate) struct Held {
    process: &'static Budget,
    /// Of its caller, when there is one.
    quota: Option<Arc<Quota>>,
    count: usize,
}

impl Held {
    /// Nothing yet.
    pub(crate) const fn new(quota: Option<Arc<Quota>>) -> Self {
        Self {
            process: &PROCESS,
            quota,
            count: 0,
        }
    }

    /// Counts bytes that have come.
    ///
    /// # Errors
    /// 429 when the tenant holds its share, 503 when the process holds all that it may.
    pub(crate) fn grow(&mut self, count: usize) -> Result<(), Problem> {
        let share = self.quota.as_deref().map(Quota::bodies);
        take_both(share, self.process, count).map_err(refused)?;
        self.count += count;
        Ok(())
    }

    /// `bytes`, which hold what was counted for as long as anyone has a part of them.
    pub(crate) fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Owner { bytes, _held: self })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.process.give_back(self.count);
        if let Some(quota) = &self.quota {
            quota.bodies().give_back(self.count);
        }
    }
}

fn refused(short: Short) -> Problem {
    short.problem(match short {
        Short::Tenant => format!(
            "the bodies that this tenant sends at once would have more than {SHARE_BYTES_MAX} bytes; send fewer at a time"
        ),
        Short::Process => "too many large bodies are being received; try again in a moment".to_owned(),
    })
}

struct Owner {
    bytes: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(process: &'static Budget, quota: Option<&Arc<Quota>>) -> Held {
        Held {
            process,
            quota: quota.cloned(),
            count: 0,
        }
    }

    #[test]
    fn the_process_refuses_past_its_bound_and_gets_back_what_is_dropped() {
        static SMALL: Budget = Budget::new(100);
        let quota = Arc::new(Quota::default());
        let mut first = held(&SMALL, None);
        first.grow(60).unwrap();
        let mut second = held(&SMALL, Some(&quota));
        second.grow(40).unwrap();
        let refused = second.grow(1).unwrap_err();
        assert_eq!((refused.status, refused.retry_after_s), (503, Some(1)));
        let bytes = first.hold(Bytes::from_static(b"all of it"));
        let part = bytes.slice(4..6);
        drop(bytes);
        assert!(second.grow(1).is_err(), "a part is still held");
        drop(part);
        second.grow(60).unwrap();
        drop(second);
        assert!(SMALL.take(100) && quota.bodies().take(SHARE_BYTES_MAX));
    }

    #[test]
    fn a_tenant_is_refused_past_its_share_and_others_are_not() {
        static LARGE: Budget = Budget::new(usize::MAX);
        let (one, other) = (Arc::new(Quota::default()), Arc::new(Quota::default()));
        let mut greedy = held(&LARGE, Some(&one));
        greedy.grow(SHARE_BYTES_MAX).unwrap();
        let refused = held(&LARGE, Some(&one)).grow(1).unwrap_err();
        assert_eq!((refused.status, refused.retry_after_s), (429, Some(1)));
        held(&LARGE, Some(&other)).grow(1).unwrap();
        drop(greedy);
        held(&LARGE, Some(&one)).grow(1).unwrap();
    }
}
