//! The enabled endpoints in memory: who gets an event. Refreshed when the record says that something changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::TimeDelta;
use posthaste_runtime::{Backoff, Stopper, chain};
use posthaste_schema::TaskEvent;
use posthaste_store::{Endpoint, Error, Store};
use posthaste_types::{EndpointId, EventKind};
use tokio::sync::Mutex;
use url::Url;

use crate::stream::filter::KindSet;

/// How often the record is asked whether something changed.
const REFRESH: Duration = Duration::from_millis(500);
/// An endpoint also gets events that are a little older than itself, since the two times come from two clocks.
const CLOCK_SKEW_MAX: TimeDelta = TimeDelta::seconds(1);

/// An enabled endpoint, ready to be sent to.
#[derive(Debug)]
pub(crate) struct Target {
    /// Its settings.
    pub(crate) endpoint: Endpoint,
    /// Its URL, parsed.
    pub(crate) url: Url,
    kinds: KindSet,
}

/// Everybody who may get something.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    by_tenant: HashMap<String, Vec<Arc<Target>>>,
    by_id: HashMap<EndpointId, Arc<Target>>,
    kinds: KindSet,
}

/// The present directory. One for each process.
pub(crate) struct Directories {
    store: Store,
    present: ArcSwap<Directory>,
    /// The record's fingerprint that `present` was read under; held while reading.
    fingerprint: Mutex<Option<i64>>,
}

impl Target {
    /// A target, unless the stored URL is none any more.
    pub(crate) fn new(endpoint: Endpoint) -> Option<Self> {
        let url = Url::parse(&endpoint.url).ok()?;
        let kinds = endpoint.events.iter().copied().collect();
        Some(Self { endpoint, url, kinds })
    }

    fn wants(&self, event: &TaskEvent) -> bool {
        let listed = |list: &[String], name: &str| list.is_empty() || list.iter().any(|entry| entry == name);
        let endpoint = &self.endpoint;
        self.kinds.contains(event.kind)
            && listed(&endpoint.types, &event.task_type)
            && (endpoint.channels.is_empty()
                || event
                    .channel
                    .as_ref()
                    .is_some_and(|name| endpoint.channels.contains(name)))
            && event.timestamp + CLOCK_SKEW_MAX >= endpoint.created_at
    }

    /// Requests at once.
    pub(crate) fn in_flight_max(&self) -> usize {
        if self.endpoint.ordered {
            1
        } else {
            usize::try_from(self.endpoint.max_in_flight).unwrap_or(1).max(1)
        }
    }
}

impl Directory {
    fn new(endpoints: Vec<Endpoint>) -> Self {
        let mut directory = Self::default();
        for target in endpoints.into_iter().filter_map(Target::new).map(Arc::new) {
            directory.kinds = directory.kinds.union(target.kinds);
            directory.by_id.insert(target.endpoint.id, Arc::clone(&target));
            directory
                .by_tenant
                .entry(target.endpoint.tenant.clone())
                .or_default()
                .push(target);
        }
        directory
    }

    /// Whether anybody can want events of this kind: asked before an event is decoded.
    pub(crate) fn may_want(&self, kind: EventKind) -> bool {
        self.kinds.contains(kind)
    }

    /// Who gets the event.
    pub(crate) fn recipients(&self, event: &TaskEvent) -> Vec<Arc<Target>> {
        let targets = self
            .by_tenant
            .get(&event.tenant)
            .map(Vec::as_slice)
            .unwrap_or_default();
        targets
            .iter()
            .filter(|target| target.wants(event))
            .cloned()
            .collect()
    }

    /// An enabled endpoint.
    pub(crate) fn target(&self, id: EndpointId) -> Option<&Arc<Target>> {
        self.by_id.get(&id)
    }

    /// All enabled endpoints.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &Arc<Target>> {
        self.by_id.values()
    }
}

impl Directories {
    /// An empty one.
    pub(crate) fn new(store: Store) -> Self {
        Self {
            store,
            present: ArcSwap::default(),
            fingerprint: Mutex::new(None),
        }
    }

    /// The endpoints as they were read last.
    pub(crate) fn present(&self) -> Arc<Directory> {
        self.present.load_full()
    }

    /// Reads the endpoints if something changed.
    ///
    /// # Errors
    /// When the record cannot be read.
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        let mut fingerprint = self.fingerprint.lock().await;
        // Read first: a change between the two reads is seen the next time.
        let found = self.store.endpoints_fingerprint().await?;
        if *fingerprint != Some(found) {
            self.present
                .store(Arc::new(Directory::new(self.store.enabled_endpoints().await?)));
            *fingerprint = Some(found);
        }
        Ok(())
    }

    /// Reads the endpoints for the first time, as long as it takes; `false` when stopped.
    pub(crate) async fn load(&self, stopper: &Stopper) -> bool {
        let mut backoff = Backoff::dependency();
        loop {
            match stopper.unless_stopped(self.refresh()).await {
                None => return false,
                Some(Ok(())) => return true,
                Some(Err(error)) => note(&error, &backoff),
            }
            if !backoff.wait(stopper).await {
                return false;
            }
        }
    }

    /// Keeps refreshing until stopped.
    pub(crate) async fn run(&self, stopper: &Stopper) {
        let mut backoff = Backoff::dependency();
        while stopper
            .unless_stopped(tokio::time::sleep(REFRESH))
            .await
            .is_some()
        {
            match self.refresh().await {
                Ok(()) => backoff.reset(),
                Err(error) => {
                    note(&error, &backoff);
                    backoff.wait(stopper).await;
                }
            }
        }
    }
}

/// Logs the first failure of a row.
fn note(error: &Error, backoff: &Backoff) {
    if backoff.failure_count() == 0 {
        tracing::warn!(error = %chain(error), "webhook endpoints cannot be read; trying until they can");
    }
}
