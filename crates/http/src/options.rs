//! What a listener allows its connections.

use posthaste_types::limits::{CONNECTION_COUNT_MAX, CONNECTION_PER_ADDRESS_COUNT_MAX};

use crate::tls::Tls;

/// How connections are served.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Connections at once; further ones are closed as they come, so that a balancer tries elsewhere.
    pub connections_max: usize,
    /// Connections at once from one address (IPv6: one /64 network). Behind a proxy, the proxy is the address.
    pub connections_per_address_max: usize,
    /// TLS in place of plain TCP.
    pub tls: Option<Tls>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            connections_max: CONNECTION_COUNT_MAX,
            connections_per_address_max: CONNECTION_PER_ADDRESS_COUNT_MAX,
            tls: None,
        }
    }
}
