//! What a tenant may use at once and in a second.

use serde::{Deserialize, Serialize};

/// Bounds of one tenant; an absent one is no bound of the tenant's own. Rates and streams are counted by each process,
/// open tasks and endpoints by the whole system.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TenantLimits {
    /// Requests a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_s: Option<f64>,
    /// Requests that may come at once after a pause; absent: one second's worth, at least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_burst: Option<u32>,
    /// Tasks submitted a second, each task of a batch counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_per_s: Option<f64>,
    /// Tasks that may be submitted at once after a pause; absent: one second's worth, at least 1. A batch larger than
    /// this can never be taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task_burst: Option<u32>,
    /// Tasks that have not ended. It is looked at about once a second, so a fast caller may pass it by what it sends in
    /// that time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_tasks: Option<u64>,
    /// Body of one request, bytes; below the limit of the route.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_bytes: Option<u64>,
    /// Streams open at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub streams: Option<u32>,
    /// Webhook endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<u32>,
}

impl TenantLimits {
    /// These limits, and `defaults` where they are silent.
    #[must_use]
    pub fn or(self, defaults: Self) -> Self {
        Self {
            requests_per_s: self.requests_per_s.or(defaults.requests_per_s),
            request_burst: self.request_burst.or(defaults.request_burst),
            tasks_per_s: self.tasks_per_s.or(defaults.tasks_per_s),
            task_burst: self.task_burst.or(defaults.task_burst),
            open_tasks: self.open_tasks.or(defaults.open_tasks),
            body_bytes: self.body_bytes.or(defaults.body_bytes),
            streams: self.streams.or(defaults.streams),
            endpoints: self.endpoints.or(defaults.endpoints),
        }
    }
}
