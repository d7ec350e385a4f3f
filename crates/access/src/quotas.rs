//! One quota for each tenant, for all its callers in this process. Limits change inside; what is used stays used.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use posthaste_http::Quota;
use posthaste_store::Tenant;
use posthaste_types::TenantLimits;

/// The quotas that callers have been given.
pub(crate) struct Quotas {
    defaults: TenantLimits,
    by_tenant: Mutex<HashMap<String, Arc<Quota>>>,
}

impl Quotas {
    /// Tenants without limits of their own have `defaults`.
    pub(crate) fn new(defaults: TenantLimits) -> Self {
        Self {
            defaults,
            by_tenant: Mutex::default(),
        }
    }

    /// The tenant's quota. So many are kept as there are tenants with keys.
    pub(crate) fn of(&self, tenant: &str) -> Arc<Quota> {
        let mut quotas = self.by_tenant.lock();
        if let Some(quota) = quotas.get(tenant) {
            return Arc::clone(quota);
        }
        let quota = Arc::new(Quota::new(self.defaults));
        quotas.insert(tenant.to_owned(), Arc::clone(&quota));
        quota
    }

    /// Puts limits in force that have changed.
    pub(crate) fn change(&self, tenants: &[Tenant]) {
        for tenant in tenants {
            self.of(&tenant.name).set_limits(tenant.limits.or(self.defaults));
        }
    }

    /// Puts the limits of all tenants in force; who is not named has none of its own.
    pub(crate) fn replace(&self, all: &[Tenant]) {
        for (name, quota) in self.by_tenant.lock().iter() {
            if !all.iter().any(|tenant| tenant.name == *name) {
                quota.set_limits(self.defaults);
            }
        }
        self.change(all);
    }

    /// Whether any tenant's open tasks are bounded.
    pub(crate) fn bound_open_tasks(&self) -> bool {
        let quotas = self.by_tenant.lock();
        quotas.values().any(|quota| quota.limits().open_tasks.is_some())
    }

    /// Tells each quota how many tasks of its tenant have not ended; who is not named has none.
    pub(crate) fn set_open_tasks(&self, counts: Vec<(String, u64)>) {
        let counts: HashMap<String, u64> = counts.into_iter().collect();
        for (tenant, quota) in self.by_tenant.lock().iter() {
            quota.set_open_tasks(counts.get(tenant).copied().unwrap_or(0));
        }
    }
}
