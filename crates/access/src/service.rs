//! What a process that answers requests has of this crate: doors, routes, and the loops that keep them right.

use std::sync::Arc;

use async_trait::async_trait;
use posthaste_http::{Actor, Authenticator, Caller, Check, Readiness, Routes};
use posthaste_runtime::{Clock, Stopper};
use posthaste_store::Store;
use posthaste_types::task::DEFAULT_TENANT;
use posthaste_types::{Scopes, TenantLimits};

use crate::api::Api;
use crate::door::KeyDoor;
use crate::keys::Keys;
use crate::quotas::Quotas;
use crate::routes::routes;
use crate::usage;
use crate::watch::Watch;

/// What it works with.
pub struct Deps {
    /// The record.
    pub store: Store,
    /// Tells when keys and tokens expire.
    pub clock: Arc<dyn Clock>,
}

/// Who may come in to this process.
pub struct Service {
    deps: Deps,
    quotas: Arc<Quotas>,
    watch: Arc<Watch>,
    stopper: Stopper,
}

impl Service {
    /// Puts it together; nothing is read before [`Self::run`]. `limits` are those of tenants without their own.
    pub fn start(limits: TenantLimits, deps: Deps, stopper: Stopper) -> Self {
        let quotas = Arc::new(Quotas::new(limits));
        let watch = Watch::new(deps.store.clone(), Arc::clone(&deps.clock), Arc::clone(&quotas));
        Self {
            deps,
            quotas,
            watch: Arc::new(watch),
            stopper,
        }
    }

    /// Lets in who has a key or a stream token. Before the keys have been read once it answers everybody with 503.
    pub fn authenticator(&self) -> Arc<dyn Authenticator> {
        Arc::new(KeyDoor {
            watch: Arc::clone(&self.watch),
            clock: Arc::clone(&self.deps.clock),
        })
    }

    /// Who comes in where no key is asked for: the default tenant, within its limits.
    pub fn open_caller(&self) -> Caller {
        let quota = self.quotas.of(DEFAULT_TENANT);
        Caller::new(DEFAULT_TENANT.into(), Scopes::ALL, Actor::Open, quota)
    }

    /// Whether it is known who may come in.
    pub fn readiness(&self) -> Arc<dyn Readiness> {
        Arc::new(Ready {
            watch: Arc::clone(&self.watch),
        })
    }

    /// The routes, to be joined with others and wrapped by `posthaste_http::finish`.
    pub fn routes(&self) -> Routes {
        routes(&Arc::new(Api {
            keys: Keys::new(self.deps.store.clone(), Arc::clone(&self.deps.clock)),
            store: self.deps.store.clone(),
            clock: Arc::clone(&self.deps.clock),
            watch: Arc::clone(&self.watch),
        }))
    }

    /// Keeps it right until stopped, then writes when keys were used last.
    pub async fn run(self) {
        let Self {
            deps, watch, stopper, ..
        } = self;
        tokio::join!(
            watch.run(&stopper),
            watch.run_expiry(&stopper),
            watch.run_open_tasks(&stopper),
            usage::run(&watch, &deps.store, &stopper),
        );
    }
}

struct Ready {
    watch: Arc<Watch>,
}

#[async_trait]
impl Readiness for Ready {
    async fn check(&self) -> Vec<Check> {
        let known = match self.watch.fresh_directory() {
            Some(_) => Ok(()),
            None => Err("keys have not been read, or not for too long".to_owned()),
        };
        vec![("keys", known)]
    }
}
