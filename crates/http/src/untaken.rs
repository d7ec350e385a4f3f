//! Counts the bytes of answers that are made and not yet taken by their peers: for the process, and for each tenant, so that
//! readers who dawdle fill no memory. Answers that come as streams are bounded by whoever makes them.
//!
//! An HTTP/1.1 connection has one answer at a time, so small ones are served uncounted. On HTTP/2 they are counted for their
//! connection, and as large ones once it has too many of them.

use std::sync::Arc;

use bytes::Bytes;
use posthaste_api::Problem;
use posthaste_types::limits::{
    ANSWER_SMALL_BYTES_MAX, ANSWER_UNCOUNTED_BYTES_MAX, ANSWERS_UNTAKEN_BYTES_MAX,
    H2_CONNECTION_ANSWER_BYTES_MAX,
};

use crate::budget::{Budget, Short, take_both};
use crate::pace::Pace;
use crate::quota::Quota;

/// What one tenant may leave untaken of the process's bytes.
pub(crate) const SHARE_BYTES_MAX: usize = ANSWERS_UNTAKEN_BYTES_MAX / 2;

/// All answers of the process.
static PROCESS: Budget = Budget::new(ANSWERS_UNTAKEN_BYTES_MAX);

/// A connection's small answers, when it may have several at once.
#[derive(Debug)]
pub(crate) struct SmallAnswers(Budget);

impl Default for SmallAnswers {
    fn default() -> Self {
        Self(Budget::new(H2_CONNECTION_ANSWER_BYTES_MAX))
    }
}

/// Where an answer goes and for whom it is.
pub(crate) struct Way<'a> {
    /// The tenant's.
    pub(crate) quota: &'a Arc<Quota>,
    /// The connection's, on HTTP/2.
    pub(crate) streams: Option<&'a Arc<Pace>>,
    /// Whether it may be refused: nothing but reading was done to make it.
    pub(crate) is_refusable: bool,
}

/// What one answer holds; dropping it gives that back.
#[derive(Debug)]
pub(crate) struct Untaken {
    count: usize,
    from: From,
}

#[derive(Debug)]
enum From {
    Connection(Arc<Pace>),
    All(&'static Budget, Arc<Quota>),
}

impl Untaken {
    /// Counts an answer of `count` bytes; none when it is too small for that.
    ///
    /// # Errors
    /// 429 when the tenant leaves its share untaken, 503 when the process has all that it may.
    pub(crate) fn count(count: usize, way: &Way<'_>) -> Result<Option<Self>, Problem> {
        Self::count_in(&PROCESS, count, way)
    }

    fn count_in(process: &'static Budget, count: usize, way: &Way<'_>) -> Result<Option<Self>, Problem> {
        if count <= ANSWER_UNCOUNTED_BYTES_MAX {
            return Ok(None);
        }
        if count <= ANSWER_SMALL_BYTES_MAX {
            let Some(pace) = way.streams else { return Ok(None) };
            if pace.small_answers().0.take(count) {
                let from = From::Connection(Arc::clone(pace));
                return Ok(Some(Self { count, from }));
            }
        }
        take(process, way.quota, count, way.is_refusable)?;
        let from = From::All(process, Arc::clone(way.quota));
        Ok(Some(Self { count, from }))
    }

    /// `bytes`, which hold what was counted for as long as anyone has a part of them.
    pub(crate) fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Owner {
            bytes,
            _untaken: self,
        })
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        match &self.from {
            From::Connection(pace) => pace.small_answers().0.give_back(self.count),
            From::All(process, quota) => {
                quota.answers().give_back(self.count);
                process.give_back(self.count);
            }
        }
    }
}

struct Owner {
    bytes: Bytes,
    _untaken: Untaken,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn take(process: &Budget, quota: &Quota, count: usize, is_refusable: bool) -> Result<(), Problem> {
    if !is_refusable {
        quota.answers().take_anyway(count);
        process.take_anyway(count);
        return Ok(());
    }
    take_both(Some(quota.answers()), process, count).map_err(refused)
}

/// Refuses what will have a large answer that nobody can refuse any more once it is made.
///
/// # Errors
/// 429 when the tenant leaves its share of answers untaken, 503 when the process has all that it may.
pub(crate) fn check(quota: &Quota) -> Result<(), Problem> {
    if quota.answers().is_used_up() {
        return Err(refused(Short::Tenant));
    }
    if PROCESS.is_used_up() {
        return Err(refused(Short::Process));
    }
    Ok(())
}

fn refused(short: Short) -> Problem {
    short.problem(match short {
        Short::Tenant => format!(
            "answers to this tenant would have more than {SHARE_BYTES_MAX} bytes that are not taken yet; read those before, \
             or ask for less at a time"
        ),
        Short::Process => {
            "too many large answers are not taken yet; try again in a moment, or ask for less at a time".to_owned()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = ANSWER_SMALL_BYTES_MAX + 1;

    fn way<'a>(quota: &'a Arc<Quota>, streams: Option<&'a Arc<Pace>>) -> Way<'a> {
        Way {
            quota,
            streams,
            is_refusable: true,
        }
    }

    #[test]
    fn a_large_answer_is_held_until_its_last_part_is_gone_and_small_ones_are_served_meanwhile() {
        static SMALL: Budget = Budget::new(LARGE);
        let quota = Arc::new(Quota::default());
        let way = way(&quota, None);
        let first = Untaken::count_in(&SMALL, LARGE, &way).unwrap().unwrap();
        let part = first.hold(Bytes::from_static(b"all of it")).slice(4..6);
        let refused = Untaken::count_in(&SMALL, LARGE, &way).unwrap_err();
        assert_eq!((refused.status, refused.retry_after_s), (503, Some(1)));
        let small = Untaken::count_in(&SMALL, ANSWER_SMALL_BYTES_MAX, &way);
        assert!(small.unwrap().is_none());
        drop(part);
        assert!(Untaken::count_in(&SMALL, LARGE, &way).unwrap().is_some());
        assert!(SMALL.take(LARGE) && quota.answers().take(SHARE_BYTES_MAX));
    }

    #[test]
    fn a_tenant_that_takes_nothing_is_refused_and_others_are_not() {
        static ENOUGH: Budget = Budget::new(usize::MAX);
        let (one, other) = (Arc::new(Quota::default()), Arc::new(Quota::default()));
        let _held = Untaken::count_in(&ENOUGH, SHARE_BYTES_MAX, &way(&one, None)).unwrap();
        let refused = Untaken::count_in(&ENOUGH, LARGE, &way(&one, None)).unwrap_err();
        assert_eq!((refused.status, refused.retry_after_s), (429, Some(1)));
        assert_eq!(check(&one).unwrap_err().status, 429);
        let done = Way {
            is_refusable: false,
            ..way(&one, None)
        };
        assert!(Untaken::count_in(&ENOUGH, LARGE, &done).unwrap().is_some());
        assert!(
            Untaken::count_in(&ENOUGH, LARGE, &way(&other, None))
                .unwrap()
                .is_some()
        );
        assert!(check(&other).is_ok());
    }

    #[test]
    fn small_answers_of_one_connection_count_as_large_ones_past_its_bound() {
        static NONE: Budget = Budget::new(0);
        let (quota, pace) = (Arc::new(Quota::default()), Arc::new(Pace::default()));
        let way = way(&quota, Some(&pace));
        let count = || Untaken::count_in(&NONE, ANSWER_SMALL_BYTES_MAX, &way);
        let held: Vec<_> = (0..H2_CONNECTION_ANSWER_BYTES_MAX / ANSWER_SMALL_BYTES_MAX)
            .map(|_| count().unwrap().unwrap())
            .collect();
        assert_eq!(count().unwrap_err().status, 503);
        let tiny = Untaken::count_in(&NONE, ANSWER_UNCOUNTED_BYTES_MAX, &way);
        assert!(tiny.unwrap().is_none());
        drop(held);
        assert!(count().unwrap().is_some());
    }
}
