//! Where a connection's conversation is: which requests have come, and what became of them. Told by its service, and asked by
//! its socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use posthaste_types::limits::H2_TAKEN_BACK_COUNT_MAX;

use crate::under_way::UnderWay;
use crate::untaken::SmallAnswers;

/// Where a connection's conversation is; what its service tells its socket.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    begun: AtomicU64,
    ended: AtomicU64,
    /// HTTP/2 or an upgraded connection: bytes that come between requests need not begin a head.
    is_free: AtomicBool,
    /// How many more requests were taken back than answered, of late.
    taken_back: AtomicU32,
    small_answers: SmallAnswers,
}

impl Pace {
    /// Notes a request, whose head has come, until the guard is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Busy {
            pace: Arc::clone(self),
            is_answered: false,
            under_way: None,
        }
    }

    /// Notes that from now on the peer may send what it likes when it likes.
    pub(crate) fn set_free(&self) {
        self.is_free.store(true, Ordering::Relaxed);
    }

    /// Its small answers that are not taken yet, where there may be several.
    pub(crate) const fn small_answers(&self) -> &SmallAnswers {
        &self.small_answers
    }

    /// Whether the peer takes its requests back rather than wait for their answers.
    pub(crate) fn is_flooded(&self) -> bool {
        self.taken_back.load(Ordering::Relaxed) > H2_TAKEN_BACK_COUNT_MAX
    }

    /// Whether a request has come.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
    }

    /// How many requests have come, when bytes that come now begin a further one.
    pub(crate) fn awaited_head(&self) -> Option<u64> {
        let begun = self.begun.load(Ordering::Relaxed);
        let is_idle = begun > 0 && begun == self.ended.load(Ordering::Relaxed);
        (is_idle && !self.is_free.load(Ordering::Relaxed)).then_some(begun)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Busy {
    pace: Arc<Pace>,
    is_answered: bool,
    under_way: Option<UnderWay>,
}

impl Busy {
    pub(crate) const fn pace(&self) -> &Arc<Pace> {
        &self.pace
    }

    /// Keeps what the request costs for as long as it is under way.
    pub(crate) fn keep(&mut self, under_way: UnderWay) {
        self.under_way = Some(under_way);
    }

    /// Notes that there is an answer, which makes up for one that was not wanted.
    pub(crate) fn set_answered(&mut self) {
        self.is_answered = true;
        let taken_back = &self.pace.taken_back;
        if taken_back.load(Ordering::Relaxed) > 0 {
            let less = |count: u32| count.checked_sub(1);
            // None to make up for any more.
            let _ = taken_back.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.pace.ended.fetch_add(1, Ordering::Relaxed);
        if !self.is_answered {
            self.pace.taken_back.fetch_add(1, Ordering::Relaxed);
        }
    }
}
