//! Changing a tenant's own limits: for `posthaste tenants set`.

use posthaste_api::Problem;
use posthaste_runtime::Clock;
use posthaste_store::{Act, Store};
use posthaste_types::TenantLimits;
use serde_json::json;

use crate::keys::unavailable;

/// What is to change: an outer none leaves a limit, an inner none takes the tenant's own away.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LimitChanges {
    /// See [`TenantLimits`], here and below.
    pub requests_per_s: Option<Option<f64>>,
    /// Requests at once.
    pub request_burst: Option<Option<u32>>,
    /// Tasks a second.
    pub tasks_per_s: Option<Option<f64>>,
    /// Tasks at once.
    pub task_burst: Option<Option<u32>>,
    /// Tasks that have not ended.
    pub open_tasks: Option<Option<u64>>,
    /// Body, bytes.
    pub body_bytes: Option<Option<u64>>,
    /// Streams at once.
    pub streams: Option<Option<u32>>,
    /// Webhook endpoints.
    pub endpoints: Option<Option<u32>>,
}

impl LimitChanges {
    fn apply(&self, limits: &mut TenantLimits) {
        fn set<T: Copy>(limit: &mut Option<T>, change: Option<Option<T>>) {
            *limit = change.unwrap_or(*limit);
        }
        set(&mut limits.requests_per_s, self.requests_per_s);
        set(&mut limits.request_burst, self.request_burst);
        set(&mut limits.tasks_per_s, self.tasks_per_s);
        set(&mut limits.task_burst, self.task_burst);
        set(&mut limits.open_tasks, self.open_tasks);
        set(&mut limits.body_bytes, self.body_bytes);
        set(&mut limits.streams, self.streams);
        set(&mut limits.endpoints, self.endpoints);
    }
}

/// Changes a tenant's own limits, in force on every process within a second; the answer is what it has now. A tenant
/// that is not known yet is made.
///
/// # Errors
/// 503 when the record cannot be written.
pub async fn set_limits(
    store: &Store,
    clock: &dyn Clock,
    tenant: &str,
    actor: String,
    changes: &LimitChanges,
) -> Result<TenantLimits, Problem> {
    let mut asked = TenantLimits::default();
    changes.apply(&mut asked);
    let act = Act {
        tenant,
        actor,
        action: "tenant.limits",
        details: json!({ "set": asked, "taken_away": changes.taken_away() }),
        at: clock.now(),
    };
    let changed = store.change_tenant_limits(act, |limits| changes.apply(limits));
    changed.await.map_err(unavailable)
}

impl LimitChanges {
    fn taken_away(&self) -> Vec<&'static str> {
        let all = [
            ("requests_per_s", self.requests_per_s == Some(None)),
            ("request_burst", self.request_burst == Some(None)),
            ("tasks_per_s", self.tasks_per_s == Some(None)),
            ("task_burst", self.task_burst == Some(None)),
            ("open_tasks", self.open_tasks == Some(None)),
            ("body_bytes", self.body_bytes == Some(None)),
            ("streams", self.streams == Some(None)),
            ("endpoints", self.endpoints == Some(None)),
        ];
        all.into_iter()
            .filter_map(|(name, is_away)| is_away.then_some(name))
            .collect()
    }
}
