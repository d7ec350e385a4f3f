//! What a tenant may use at once and in a second.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::limits::TENANT_BYTES_MAX;

/// Whether a tenant may have this name: 1 to [`TENANT_BYTES_MAX`] letters and digits of ASCII, `.`, `_` and `-`.
pub fn is_tenant_name(text: &str) -> bool {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=TENANT_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_name)
}

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
    /// The names of all limits.
    const NAMES: [&str; 8] = [
        "requests_per_s",
        "request_burst",
        "tasks_per_s",
        "task_burst",
        "open_tasks",
        "body_bytes",
        "streams",
        "endpoints",
    ];

    /// What a record says, which a newer version may have written: the limits that are known here, and the rest as it
    /// is, to be kept when the limits are written again.
    ///
    /// # Errors
    /// When it is no object, or a limit that is known here has a value that it cannot have.
    pub fn from_record(record: Value) -> serde_json::Result<(Self, Map<String, Value>)> {
        let mut fields = Map::deserialize(record)?;
        let known: Map<_, _> = Self::NAMES
            .into_iter()
            .filter_map(|name| fields.remove_entry(name))
            .collect();
        Ok((Self::deserialize(Value::Object(known))?, fields))
    }

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_record_of_a_newer_version_is_read_and_nothing_of_it_is_lost() {
        let all = TenantLimits {
            requests_per_s: Some(1.0),
            request_burst: Some(2),
            tasks_per_s: Some(3.0),
            task_burst: Some(4),
            open_tasks: Some(5),
            body_bytes: Some(6),
            streams: Some(7),
            endpoints: Some(8),
        };
        let mut record = serde_json::to_value(all).unwrap();
        assert_eq!(
            TenantLimits::from_record(record.clone()).unwrap(),
            (all, Map::new())
        );
        record["colours"] = json!(9);
        let (known, rest) = TenantLimits::from_record(record.clone()).unwrap();
        assert_eq!((known, Value::Object(rest)), (all, json!({ "colours": 9 })));
        // Where people write, a name that is not known is a mistake.
        assert!(serde_json::from_value::<TenantLimits>(record).is_err());
        for broken in [json!([]), json!({ "streams": "many" })] {
            assert!(TenantLimits::from_record(broken).is_err());
        }
    }
}
