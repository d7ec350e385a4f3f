//! One delivery from the request to the record: an attempt, what follows from it, and making both durable.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use metrics::{Counter, Histogram};
use posthaste_runtime::{Clock, chain, ids, metric};
use posthaste_store::{
    ATTEMPT_FAILED, ATTEMPT_SUCCEEDED, Act, Error, ErrorKind, Store, WebhookAttempt, WebhookNext,
    WebhookOutcome, WebhookRetry, WebhookWrites,
};
use serde_json::json;

use crate::webhook::directory::{Directories, Target};
use crate::webhook::schedule;
use crate::webhook::send::{Answer, Sender};

/// Why an endpoint is disabled that answered 410.
const GONE: &str = "the endpoint answered 410 Gone";
/// When a delivery is due that found no room in memory.
const OVERFLOW_WAIT: TimeDelta = TimeDelta::seconds(5);

/// What deliveries need; shared by all of them.
pub(crate) struct Deliverer {
    sender: Sender,
    store: Store,
    writes: WebhookWrites,
    directories: Arc<Directories>,
    clock: Arc<dyn Clock>,
    succeeded: Counter,
    failed: Counter,
    seconds: Histogram,
}

/// What became of an attempt, for whoever schedules the next ones.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delivered {
    /// Whether the endpoint took the event.
    pub(crate) is_success: bool,
    /// Whether that is durable; if not, the delivery must be made again.
    pub(crate) is_durable: bool,
}

impl Deliverer {
    /// Puts together what deliveries need.
    pub(crate) fn new(
        sender: Sender,
        store: Store,
        writes: WebhookWrites,
        directories: Arc<Directories>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let attempts = |status| metrics::counter!(metric::WEBHOOK_ATTEMPTS, "status" => status);
        Self {
            sender,
            store,
            writes,
            directories,
            clock,
            succeeded: attempts(ATTEMPT_SUCCEEDED),
            failed: attempts(ATTEMPT_FAILED),
            seconds: metrics::histogram!(metric::WEBHOOK_SECONDS),
        }
    }

    /// Now, by the clock that attempts are timed with.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Makes one attempt and records it.
    pub(crate) async fn deliver(&self, target: &Target, mut delivery: WebhookRetry) -> Delivered {
        let (attempt, answer) = self.attempt(target, &delivery).await;
        delivery.attempt_count = attempt.number;
        if answer.is_gone() {
            self.disable(target).await;
        }
        let next = match attempt.next_at {
            Some(due_at) => WebhookNext::Retry {
                retry: delivery,
                due_at,
            },
            // Kept for the day that somebody enables the endpoint again; until then none of its deliveries is due.
            None if answer.is_gone() => WebhookNext::Retry {
                retry: delivery,
                due_at: self.clock.now(),
            },
            None => WebhookNext::Settled {
                endpoint_id: delivery.endpoint_id,
                event_id: delivery.event_id,
            },
        };
        let is_durable = self
            .record(WebhookOutcome {
                attempt: Some(attempt),
                next,
            })
            .await;
        Delivered {
            is_success: answer.is_success(),
            is_durable,
        }
    }

    /// Makes one attempt outside of any schedule and records it: somebody wants to see whether the endpoint works.
    pub(crate) async fn try_out(
        &self,
        target: &Target,
        delivery: WebhookRetry,
    ) -> Result<WebhookAttempt, Error> {
        let (mut attempt, _) = self.attempt(target, &delivery).await;
        attempt.next_at = None;
        let next = WebhookNext::Settled {
            endpoint_id: delivery.endpoint_id,
            event_id: delivery.event_id,
        };
        self.writes
            .record(WebhookOutcome {
                attempt: Some(attempt.clone()),
                next,
            })
            .await?;
        Ok(attempt)
    }

    /// Puts a delivery off that cannot be made now; whether that is durable.
    pub(crate) async fn put_off(&self, delivery: WebhookRetry) -> bool {
        let next = WebhookNext::Retry {
            retry: delivery,
            due_at: self.clock.now() + OVERFLOW_WAIT,
        };
        self.record(WebhookOutcome { attempt: None, next }).await
    }

    async fn attempt(&self, target: &Target, delivery: &WebhookRetry) -> (WebhookAttempt, Answer) {
        let at = self.clock.now();
        let answer = self
            .sender
            .send(target, delivery.event_id, delivery.body.clone(), at)
            .await;
        let counter = if answer.is_success() {
            &self.succeeded
        } else {
            &self.failed
        };
        counter.increment(1);
        self.seconds.record(answer.took);
        let number = delivery.attempt_count.saturating_add(1);
        let is_over = answer.is_success() || answer.is_gone();
        let wait = schedule::wait_after(number, answer.retry_after, rand::random()).filter(|_| !is_over);
        let attempt = WebhookAttempt {
            id: ids::attempt_id(),
            endpoint_id: delivery.endpoint_id,
            event_id: delivery.event_id,
            task_id: delivery.task_id,
            kind: delivery.kind,
            number,
            status: if answer.is_success() {
                ATTEMPT_SUCCEEDED
            } else {
                ATTEMPT_FAILED
            }
            .to_owned(),
            http_status: answer.status.map(i32::from),
            error: answer.error.clone(),
            answer: answer.body.clone(),
            took_ms: i64::try_from(answer.took.as_millis()).unwrap_or(i64::MAX),
            at,
            next_at: wait.map(|wait| self.clock.now() + wait),
        };
        (attempt, answer)
    }

    async fn disable(&self, target: &Target) {
        let endpoint = &target.endpoint;
        let act = Act {
            tenant: &endpoint.tenant,
            actor: "posthaste".to_owned(),
            action: "endpoint.disable",
            details: json!({ "reason": GONE }),
            at: self.clock.now(),
        };
        match self
            .store
            .set_endpoint_enabled(endpoint.id, false, Some(GONE), &act)
            .await
        {
            Ok(_) => tracing::info!(endpoint.id = %endpoint.id, "disabled an endpoint that answered 410"),
            // It will answer 410 again.
            Err(error) => {
                tracing::warn!(error = %chain(&error), endpoint.id = %endpoint.id, "cannot disable an endpoint")
            }
        }
        if let Err(error) = self.directories.refresh().await {
            tracing::debug!(%error, "the endpoints are read again later");
        }
    }

    async fn record(&self, outcome: WebhookOutcome) -> bool {
        match self.writes.record(outcome).await {
            Ok(()) => true,
            // Its endpoint was deleted at this moment, so nothing is owed.
            Err(error) if error.kind() == ErrorKind::BadRow => true,
            Err(error) => {
                tracing::debug!(%error, "a delivery's outcome was not recorded");
                false
            }
        }
    }
}
