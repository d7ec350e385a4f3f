//! A door that takes who comes at their word: a tenant's name is its key, and a stream token says what it is for.

use std::sync::Arc;

use posthaste_api::Problem;
use posthaste_http::{Actor, Authenticator, Caller, Credentials, Quota, StreamGrant};
use posthaste_runtime::Stopper;
use posthaste_types::{Scope, Scopes, TenantLimits};

/// The tenant that may have one stream and one endpoint.
pub(crate) const LIMITED: &str = "limited";

/// Before a tenant's name: a key of it that may read alone.
pub(crate) const READER: &str = "reader-of-";

/// Lets everybody in: without credentials as the default tenant.
pub(crate) struct Door {
    limited: Arc<Quota>,
    /// Ends what tenants, and who comes with a token, have open.
    pub(crate) ended: Stopper,
}

impl Default for Door {
    fn default() -> Self {
        let limits = TenantLimits {
            streams: Some(1),
            endpoints: Some(1),
            ..TenantLimits::default()
        };
        Self {
            limited: Arc::new(Quota::new(limits)),
            ended: Stopper::new(),
        }
    }
}

impl Authenticator for Door {
    fn authenticate(&self, credentials: Credentials<'_>) -> Result<Caller, Problem> {
        let open = Caller::open();
        let caller = match credentials {
            Credentials::None => return Ok(open),
            Credentials::Bearer(tenant) => {
                let quota = match tenant {
                    LIMITED => Arc::clone(&self.limited),
                    _ => Arc::default(),
                };
                match tenant.strip_prefix(READER) {
                    Some(tenant) => {
                        let scopes = [Scope::Read].into_iter().collect();
                        Caller::new(tenant.into(), scopes, Actor::Open, quota)
                    }
                    None => Caller::new(tenant.into(), Scopes::ALL, Actor::Open, quota),
                }
            }
            Credentials::Token(token) => {
                let grant = match token.parse() {
                    Ok(task) => StreamGrant::Task(task),
                    Err(_) => StreamGrant::Channels(token.split(',').map(str::to_owned).collect()),
                };
                Caller::with_grant(open.tenant().into(), Actor::Open, grant, Arc::default())
            }
        };
        Ok(caller.until(self.ended.clone()))
    }
}
