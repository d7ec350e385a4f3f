//! Places for what goes on at once, a bounded number for all tenants and for each. What that is is not known here.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The places.
#[derive(Debug)]
pub(crate) struct Slots {
    count_max: usize,
    tenant_count_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    count: usize,
    /// Of tenants that have any.
    by_tenant: HashMap<Box<str>, usize>,
}

/// One of the places; dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Slot<'slots> {
    slots: &'slots Slots,
    tenant: &'slots str,
}

impl Slots {
    /// `count_max` in all, and no more than `tenant_count_max` for one tenant.
    pub(crate) fn new(count_max: usize, tenant_count_max: usize) -> Self {
        Self {
            count_max,
            tenant_count_max,
            taken: Mutex::default(),
        }
    }

    /// A place for `tenant`; none when all, or all that one tenant may have, are taken.
    pub(crate) fn try_take<'slots>(&'slots self, tenant: &'slots str) -> Option<Slot<'slots>> {
        let mut taken = self.taken();
        let own = taken.by_tenant.get(tenant).copied().unwrap_or_default();
        if taken.count >= self.count_max || own >= self.tenant_count_max {
            return None;
        }
        taken.count += 1;
        taken.by_tenant.insert(tenant.into(), own + 1);
        Some(Slot { slots: self, tenant })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let mut taken = self.slots.taken();
        taken.count -= 1;
        if let Some(own) = taken.by_tenant.get_mut(self.tenant) {
            *own -= 1;
            if *own == 0 {
                taken.by_tenant.remove(self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenant_leaves_places_for_others_and_what_is_given_back_can_be_had_again() {
        let slots = Slots::new(4, 2);
        let (first, _second) = (slots.try_take("a").unwrap(), slots.try_take("a").unwrap());
        assert!(slots.try_take("a").is_none(), "as many as one tenant may have");
        let _others = (slots.try_take("b").unwrap(), slots.try_take("c").unwrap());
        assert!(slots.try_take("d").is_none(), "as many as there are");
        drop(first);
        drop(slots.try_take("d").unwrap());
        drop(slots.try_take("a").unwrap());
        assert_eq!(slots.taken().by_tenant.len(), 3, "who has none is forgotten");
    }
}
