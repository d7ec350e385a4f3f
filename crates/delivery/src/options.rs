//! What an operator decides about this role.

use posthaste_types::limits::{WINDOW_BYTES_MAX, WINDOW_EVENT_COUNT_MAX};
use serde::{Deserialize, Serialize};

use crate::stream::log::WindowBounds;
use crate::webhook::address::Policy;

/// The section `delivery` of the configuration.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Whether webhooks may go to addresses that are not public: loopback, private networks, link-local and so on. Only
    /// for development, or where every caller may reach the network that this process is in.
    pub allow_private_addresses: bool,
    /// Whether webhooks may go to `http` URLs; without it `https` alone.
    pub allow_http: bool,
    /// Recent events that are kept in memory for streams. A stream that comes back from before them reads old events from
    /// Kafka first, which few can do at once.
    pub window_event_count: usize,
    /// Bytes of recent events that are kept in memory; whichever of the two bounds is met first holds.
    pub window_bytes: usize,
    /// The Kafka consumer group that shares the work of posting webhooks between delivery processes.
    pub webhook_group: String,
    /// A delivery process that is silent for so long loses its share of the webhooks to the others, milliseconds.
    pub session_timeout_ms: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            allow_private_addresses: false,
            allow_http: false,
            window_event_count: WINDOW_EVENT_COUNT_MAX,
            window_bytes: WINDOW_BYTES_MAX,
            webhook_group: "posthaste-webhooks".to_owned(),
            session_timeout_ms: 10_000,
        }
    }
}

impl Options {
    pub(crate) fn window(&self) -> WindowBounds {
        WindowBounds {
            event_count: self.window_event_count.max(1),
            bytes: self.window_bytes,
        }
    }

    pub(crate) const fn policy(&self) -> Policy {
        Policy {
            allow_private: self.allow_private_addresses,
            allow_http: self.allow_http,
        }
    }
}
