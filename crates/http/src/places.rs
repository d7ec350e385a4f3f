//! How many connections there may be, altogether and from one address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use metrics::Gauge;
use posthaste_runtime::metric;

/// The bounds and who takes places.
pub(crate) struct Places {
    total_max: usize,
    per_address_max: usize,
    open: Mutex<Open>,
    gauge: Gauge,
}

#[derive(Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place; dropping it gives the place back.
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

/// Which bound is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    Total,
    Address,
}

impl Places {
    pub(crate) fn new(total_max: usize, per_address_max: usize) -> Self {
        Self {
            total_max,
            per_address_max,
            open: Mutex::default(),
            gauge: metrics::gauge!(metric::HTTP_CONNECTIONS),
        }
    }

    /// A place for a connection from `peer`.
    pub(crate) fn take(self: &Arc<Self>, peer: IpAddr) -> Result<Place, Full> {
        let address = network(peer);
        let mut open = self.open();
        if open.total >= self.total_max {
            return Err(Full::Total);
        }
        let count = open.by_address.entry(address).or_default();
        if *count >= self.per_address_max {
            // Above zero, so no entry was made in vain, unless nobody at all may come.
            return Err(Full::Address);
        }
        *count += 1;
        open.total += 1;
        self.gauge.increment(1);
        Ok(Place {
            places: Arc::clone(self),
            address,
        })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.places.open();
        open.total -= 1;
        if let Entry::Occupied(mut entry) = open.by_address.entry(self.address) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
        self.places.gauge.decrement(1);
    }
}

/// What counts as one address: an IPv6 customer commonly holds a whole /64.
pub(crate) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_all_together_are_bounded_and_places_come_back() {
        let places = Arc::new(Places::new(3, 2));
        let take = |address: &str| places.take(address.parse().unwrap());
        let first = take("192.0.2.1").ok().unwrap();
        let second = take("::ffff:192.0.2.1").ok().unwrap();
        assert_eq!(take("192.0.2.1").err(), Some(Full::Address));
        let third = take("192.0.2.2").ok().unwrap();
        assert_eq!(take("192.0.2.3").err(), Some(Full::Total));
        drop((first, second, third));
        assert!(places.open().by_address.is_empty());
        let _first = take("2001:db8:1:2::3").ok().unwrap();
        let _second = take("2001:db8:1:2:4:5:6:7").ok().unwrap();
        assert_eq!(take("2001:db8:1:2::9").err(), Some(Full::Address));
        assert!(take("2001:db8:1:3::9").is_ok());
    }
}
