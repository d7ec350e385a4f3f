//! Whose request it is. Today everything belongs to one tenant; keys will name others.

use std::convert::Infallible;
use std::sync::Arc;

use posthaste_types::task::DEFAULT_TENANT;
use warp::Filter;

/// The tenant that a request acts for; every read and write is bound to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The tenant's name, as the record keeps it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self(DEFAULT_TENANT.into())
    }
}

/// Extracts the tenant of the request.
pub fn tenant() -> impl Filter<Extract = (Tenant,), Error = Infallible> + Clone + Send + Sync + 'static {
    let tenant = Tenant::default();
    warp::any().map(move || tenant.clone())
}
