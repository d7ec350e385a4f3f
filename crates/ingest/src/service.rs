//! The role as the executable sees it: options in, routes out, and an orderly end.

use std::sync::Arc;

use async_trait::async_trait;
use posthaste_http::{Check, Readiness, Routes, bounded_check};
use posthaste_runtime::{Clock, Stopper};
use posthaste_store::{GroupOptions, Store, Submitter};
use posthaste_types::limits::{LIST_COUNT_MAX, SUBMIT_QUEUE_BYTES_MAX, SUBMIT_QUEUE_LEN_MAX};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::intake::Intake;
use crate::routes;
use crate::slots::Slots;
use crate::wait::Waits;

/// Configuration of the role.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Connections on which submissions are committed, 1 or more. A batch is what arrives while the last one commits:
    /// one makes the largest batches, hence the cheapest; more may help where a commit takes many milliseconds.
    pub lanes: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            lanes: GroupOptions::default().lanes,
        }
    }
}

/// What the role needs from its process.
pub struct Deps {
    /// The record. Its pool serves reads; submissions open connections of their own.
    pub store: Store,
    /// Tells when a task was submitted.
    pub clock: Arc<dyn Clock>,
}

/// The running role.
pub struct Service {
    app: Arc<App>,
    /// Stops the submissions' lanes, later than `stopper` does the rest.
    lanes: Stopper,
}

impl Service {
    /// Starts the role inside a tokio runtime. The database may be away: submissions and reads are then refused with
    /// 503 until it is back. When `stopper` stops, readers that wait are answered at once; submissions go on until
    /// [`Service::drain`].
    pub fn start(options: &Options, deps: Deps, stopper: Stopper) -> Self {
        let lanes = Stopper::new();
        let group = GroupOptions {
            lanes: options.lanes.max(1),
            queue_len_max: SUBMIT_QUEUE_LEN_MAX,
            queue_bytes_max: SUBMIT_QUEUE_BYTES_MAX,
        };
        let submitter = Submitter::start(&deps.store, group, lanes.clone());
        let intake = Intake::start(deps.store.clone(), stopper.clone());
        let waits = Waits::start(deps.store.clone(), stopper);
        let app = Arc::new(App {
            store: deps.store,
            submitter,
            waits,
            lists: Slots::new(LIST_COUNT_MAX, LIST_COUNT_MAX / 2),
            intake,
            clock: deps.clock,
        });
        Self { app, lanes }
    }

    /// The role's routes, to be joined with others and wrapped by `posthaste_http::finish`.
    pub fn routes(&self) -> Routes {
        routes::routes(Arc::clone(&self.app))
    }

    /// Whether the role can do its work now.
    pub fn readiness(&self) -> Arc<dyn Readiness> {
        Arc::new(Database(self.app.store.clone()))
    }

    /// Ends the submissions. To be called when the listener has let its last request go: what was taken in is stored
    /// before this returns, and what comes later is refused.
    pub async fn drain(self) {
        self.lanes.stop();
        self.app.submitter.drain().await;
    }
}

struct Database(Store);

#[async_trait]
impl Readiness for Database {
    async fn check(&self) -> Vec<Check> {
        vec![bounded_check("database", self.0.ping()).await]
    }
}
