//! What one tenant may use: rates, open tasks and streams, sizes. Shared by all its callers in this process.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use posthaste_api::Problem;
use posthaste_types::limits::{REFUSAL_HELD_MS_MAX, REFUSALS_PER_S_MAX};
use posthaste_types::{ErrorCode, TenantLimits};
use tokio::time::Instant;
use warp::http::HeaderValue;

use crate::budget::Budget;
use crate::rate::{Bucket, Rate, Refusal, seconds, too_many};
use crate::{held, under_way, untaken};

/// The limits of one tenant and what is used of them. Limits may change while requests run.
#[derive(Debug)]
pub struct Quota {
    bounds: ArcSwap<Bounds>,
    /// What the buckets' times are counted from.
    epoch: Instant,
    requests: Bucket,
    tasks: Bucket,
    open_tasks: AtomicU64,
    streams: AtomicU32,
    /// Refusals (429), which wait for their place in it.
    refusals: Bucket,
    /// Bytes of bodies that come in pieces.
    bodies: Budget,
    /// Bytes of answers that are not taken yet.
    answers: Budget,
    /// What HTTP/2 requests cost that are under way, bytes.
    under_way: Budget,
}

/// The limits, made ready for use.
#[derive(Debug)]
struct Bounds {
    limits: TenantLimits,
    requests: Option<Rate>,
    tasks: Option<Rate>,
    /// `RateLimit-Policy`.
    policy: Option<HeaderValue>,
}

impl Bounds {
    fn new(limits: TenantLimits) -> Self {
        let rate = |per_s: Option<f64>, burst| per_s.map(|per_s| Rate::new(per_s, burst));
        let requests = rate(limits.requests_per_s, limits.request_burst);
        let tasks = rate(limits.tasks_per_s, limits.task_burst);
        let policy = items([("requests", requests), ("tasks", tasks)], |text, rate| {
            write!(text, ";q={};w={}", rate.burst(), rate.window_s())
        });
        Self {
            limits,
            requests,
            tasks,
            policy,
        }
    }
}

/// A structured field's list with an item for each rate that there is; none without any.
fn items<T>(
    rates: [(&str, Option<T>); 2],
    write: impl Fn(&mut String, T) -> std::fmt::Result,
) -> Option<HeaderValue> {
    let mut text = String::new();
    for (name, rate) in rates {
        let Some(rate) = rate else { continue };
        let comma = if text.is_empty() { "" } else { ", " };
        write!(text, "{comma}\"{name}\"")
            .and_then(|()| write(&mut text, rate))
            .expect("a string takes all text");
    }
    (!text.is_empty()).then(|| HeaderValue::try_from(text).expect("words and numbers"))
}

/// An open stream's place; dropping it gives the place back.
#[derive(Debug)]
pub struct StreamPlace(Arc<Quota>);

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self::new(TenantLimits::default())
    }
}

impl Quota {
    /// One with these limits, all unused.
    pub fn new(limits: TenantLimits) -> Self {
        Self {
            bounds: ArcSwap::from_pointee(Bounds::new(limits)),
            epoch: Instant::now(),
            requests: Bucket::default(),
            tasks: Bucket::default(),
            open_tasks: AtomicU64::new(0),
            streams: AtomicU32::new(0),
            refusals: Bucket::default(),
            bodies: Budget::new(held::SHARE_BYTES_MAX),
            answers: Budget::new(untaken::SHARE_BYTES_MAX),
            under_way: Budget::new(under_way::SHARE_BYTES_MAX),
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> TenantLimits {
        self.bounds.load().limits
    }

    /// Puts other limits in force; what is used of a rate stays used while there is one.
    pub fn set_limits(&self, limits: TenantLimits) {
        let new = Arc::new(Bounds::new(limits));
        let old = self.bounds.swap(Arc::clone(&new));
        let now_ns = self.now_ns();
        for (bucket, old, new) in [
            (&self.requests, old.requests, new.requests),
            (&self.tasks, old.tasks, new.tasks),
        ] {
            match (old, new) {
                (Some(old), Some(new)) if old != new => bucket.convert(old, new, now_ns),
                (Some(_), None) | (None, Some(_)) => bucket.clear(),
                _ => {}
            }
        }
    }

    /// Counts a request.
    ///
    /// # Errors
    /// 429 with the time to wait when the rate is passed.
    pub fn take_request(&self) -> Result<(), Problem> {
        let Some(rate) = self.bounds.load().requests else {
            return Ok(());
        };
        self.requests.take(rate, 1, self.now_ns()).map_err(|refusal| {
            let Refusal::Wait(wait) = refusal else {
                return too_many("this tenant may send no requests", NEVER);
            };
            let detail = format!(
                "this tenant may send {} requests in {} s; slow down, or ask the operator for more",
                rate.burst(),
                rate.window_s()
            );
            too_many(detail, wait)
        })
    }

    /// Counts `count` tasks that are about to be submitted.
    ///
    /// # Errors
    /// 429 with the time to wait when the rate, or the bound of open tasks, is passed; 422 when so many can never be
    /// taken at once.
    pub fn take_tasks(&self, count: usize) -> Result<(), Problem> {
        let count = count as u64;
        let bounds = self.bounds.load();
        if let Some(open_max) = bounds.limits.open_tasks {
            self.check_open_tasks(count, open_max)?;
        }
        if let Some(rate) = bounds.tasks {
            self.tasks
                .take(rate, count, self.now_ns())
                .map_err(|refusal| tasks_refused(rate, count, refusal))?;
        }
        if bounds.limits.open_tasks.is_some() {
            self.open_tasks.fetch_add(count, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Takes back from the open tasks what [`Self::take_tasks`] counted and was not stored: it repeats an earlier request,
    /// or the store failed. The rate keeps it, as it was asked for.
    pub fn give_back_tasks(&self, count: usize) {
        let _ = self
            .open_tasks
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                Some(open.saturating_sub(count as u64))
            });
    }

    fn check_open_tasks(&self, count: u64, open_max: u64) -> Result<(), Problem> {
        if open_max == 0 {
            return Err(too_many("this tenant may have no tasks open", NEVER));
        }
        if count > open_max {
            return Err(never_fits(count, open_max, "open"));
        }
        let open = self.open_tasks.load(Ordering::Relaxed);
        if open.saturating_add(count) > open_max {
            let detail = format!(
                "about {open} tasks of this tenant have not ended, and {open_max} may be open; wait for some to end"
            );
            return Err(too_many(detail, Duration::from_secs(1)));
        }
        Ok(())
    }

    /// Tells how many tasks of the tenant have not ended. Until the next time it is told, what is submitted here is added.
    pub fn set_open_tasks(&self, count: u64) {
        self.open_tasks.store(count, Ordering::Relaxed);
    }

    /// Counts a stream in.
    ///
    /// # Errors
    /// 429 when as many are open as may be.
    pub fn open_stream(self: &Arc<Self>) -> Result<StreamPlace, Problem> {
        let streams_max = self.bounds.load().limits.streams.unwrap_or(u32::MAX);
        self.streams
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| {
                (open < streams_max).then_some(open + 1)
            })
            .map(|_| StreamPlace(Arc::clone(self)))
            .map_err(|_| {
                let detail = format!("this tenant may have {streams_max} streams open; close one first");
                too_many(detail, Duration::from_secs(1))
            })
    }

    /// Counts a 429, and waits before it is given when there were too many: a tenant that goes on as if nothing had been
    /// said would cost others more by what is refused than by what is taken.
    pub(crate) async fn refused(&self) {
        let rate = Rate::new(f64::from(REFUSALS_PER_S_MAX), None);
        let wait_max = Duration::from_millis(REFUSAL_HELD_MS_MAX);
        let wait = self.refusals.queue(rate, wait_max, self.now_ns());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// The tenant's share of the bytes of bodies.
    pub(crate) const fn bodies(&self) -> &Budget {
        &self.bodies
    }

    /// Its share of the bytes of answers that are not taken yet.
    pub(crate) const fn answers(&self) -> &Budget {
        &self.answers
    }

    /// Its share of what HTTP/2 requests cost that are under way.
    pub(crate) const fn under_way(&self) -> &Budget {
        &self.under_way
    }

    /// To be asked before something is done whose answer may be large: once it is done, the answer has to be given.
    ///
    /// # Errors
    /// 429 when the tenant leaves its share of answers untaken, 503 when the process has all that it may.
    pub fn check_answers(&self) -> Result<(), Problem> {
        untaken::check(self)
    }

    /// `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers), when a rate is bounded.
    pub(crate) fn headers(&self) -> Option<(HeaderValue, HeaderValue)> {
        let bounds = self.bounds.load();
        let policy = bounds.policy.clone()?;
        let now_ns = self.now_ns();
        let left = |bucket: &Bucket, rate: Option<Rate>| rate.map(|rate| bucket.left(rate, now_ns));
        let rates = [
            ("requests", left(&self.requests, bounds.requests)),
            ("tasks", left(&self.tasks, bounds.tasks)),
        ];
        let left = items(rates, |text, left| {
            write!(text, ";r={};t={}", left.units, seconds(left.wait))
        })?;
        Some((policy, left))
    }

    fn now_ns(&self) -> u64 {
        // Five centuries fit.
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX >> 1)
    }
}

/// When to come again though nothing tells that it will help.
const NEVER: Duration = Duration::from_secs(3600);

fn never_fits(count: u64, count_max: u64, word: &str) -> Problem {
    let detail = format!("{count} tasks can never be taken: this tenant may have {count_max} {word} at once");
    Problem::new(ErrorCode::Unprocessable, detail)
}

fn tasks_refused(rate: Rate, count: u64, refusal: Refusal) -> Problem {
    match refusal {
        Refusal::Never if rate.burst() == 0 => too_many("this tenant may submit no tasks", NEVER),
        Refusal::Never => never_fits(count, rate.burst(), "submitted"),
        Refusal::Wait(wait) => {
            let detail = format!(
                "this tenant may submit {} tasks in {} s; slow down, or ask the operator for more",
                rate.burst(),
                rate.window_s()
            );
            too_many(detail, wait)
        }
    }
}

#[cfg(test)]
mod tests;
