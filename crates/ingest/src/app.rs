//! What every handler of the role has at hand, made once.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use posthaste_api::Problem;
use posthaste_http::Caller;
use posthaste_runtime::Clock;
use posthaste_store::{Store, Submitter};
use posthaste_types::{Task, TaskId};

use crate::intake::Intake;
use crate::problems;
use crate::slots::Slots;
use crate::wait::Waits;

/// The role's parts, shared by all requests.
pub(crate) struct App {
    pub(crate) store: Store,
    pub(crate) submitter: Submitter,
    pub(crate) waits: Waits,
    /// Lists that are being read.
    pub(crate) lists: Slots,
    pub(crate) intake: Intake,
    pub(crate) clock: Arc<dyn Clock>,
}

impl App {
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// The tenant's task, or 404.
    pub(crate) async fn task(&self, caller: &Caller, id: TaskId) -> Result<Task, Problem> {
        let found = self
            .store
            .task(caller.tenant(), id)
            .await
            .map_err(|error| problems::read(&error))?;
        found.ok_or_else(|| problems::no_task(&id))
    }
}
