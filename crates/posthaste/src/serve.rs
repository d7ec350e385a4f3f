//! One HTTP port of a process: the routes of its roles, health, readiness, metrics; and what readiness means.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use posthaste_broker::Admin;
use posthaste_http::{Check, Front, Listener, Readiness, Routes, bounded_check};
use posthaste_runtime::Stopper;
use posthaste_runtime::telemetry::Metrics;

use crate::parts::Parts;

/// How often recorded samples are folded into the histograms' buckets.
const UPKEEP: Duration = Duration::from_secs(1);

/// What a process depends on.
#[derive(Clone)]
pub(crate) struct Dependencies {
    pub(crate) parts: Parts,
    /// Kafka's administration, where a role of the process needs Kafka.
    pub(crate) kafka: Option<Admin>,
    /// Topics that must be there, since a worker of the process reads them.
    pub(crate) topics: Vec<String>,
    /// The delivery role asks more: whether it has caught up with its topic.
    pub(crate) delivery: Option<Arc<dyn Readiness>>,
    /// Whether it is known who may come in, where that is asked.
    pub(crate) access: Option<Arc<dyn Readiness>>,
    /// The connector role knows best whether it streams.
    pub(crate) connector: Option<Arc<dyn Fn() -> Result<(), String> + Send + Sync>>,
}

#[async_trait]
impl Readiness for Dependencies {
    async fn check(&self) -> Vec<Check> {
        let migrated = posthaste_store::check_migrated(&self.parts.store);
        let mut checks = vec![bounded_check("database", migrated).await];
        if let Some(admin) = &self.kafka {
            checks.push(bounded_check("kafka", has_topics(admin, &self.topics)).await);
        }
        if let Some(access) = &self.access {
            checks.extend(access.check().await);
        }
        if let Some(connector) = &self.connector {
            checks.push(("connector", connector()));
        }
        if let Some(delivery) = &self.delivery {
            let known: Vec<&str> = checks.iter().map(|(name, _)| *name).collect();
            let more = delivery.check().await;
            checks.extend(more.into_iter().filter(|(name, _)| !known.contains(name)));
        }
        checks
    }
}

/// Whether a broker answers and knows the topics.
async fn has_topics(admin: &Admin, wanted: &[String]) -> Result<(), String> {
    let known = admin.topics().await.map_err(|error| error.to_string())?;
    missing(wanted, &known).map_or(Ok(()), Err)
}

/// Which topic is missing, and what to do about it.
fn missing(wanted: &[String], known: &[String]) -> Option<String> {
    let topic = wanted.iter().find(|topic| !known.contains(topic))?;
    Some(format!(
        "there is no topic `{topic}`: name its queue in topics.queues and run `posthaste migrate`"
    ))
}

/// Listens; callers may connect from now on and are answered once [`serve`] runs.
pub(crate) fn bind(address: SocketAddr) -> anyhow::Result<Listener> {
    Ok(posthaste_http::bind(address)?)
}

/// Serves until told to stop, then until the requests in flight have ended.
pub(crate) async fn serve(
    listener: Listener,
    role: &'static str,
    (routes, front): (Vec<Routes>, Front),
    readiness: Arc<dyn Readiness>,
    metrics: Metrics,
    stopper: Stopper,
) -> anyhow::Result<()> {
    let page = metrics.clone();
    let operating = posthaste_http::operating(role, move || page.page(), readiness);
    let pages = posthaste_http::pages(posthaste_api::OPENAPI_JSON);
    let routes = routes.into_iter().chain([operating, pages]);
    let routes = posthaste_http::finish(posthaste_http::any_of(routes));
    let upkeep = async {
        let mut ticks = tokio::time::interval(UPKEEP);
        loop {
            ticks.tick().await;
            metrics.upkeep();
        }
    };
    tokio::select! {
        served = listener.serve(routes, front, stopper) => Ok(served?),
        () = upkeep => unreachable!("it ticks for ever"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_topic_that_is_missing_is_named_with_the_fix() {
        let topics = |names: &[&str]| -> Vec<String> { names.iter().map(|&name| name.to_owned()).collect() };
        let known = topics(&["results", "tasks.default"]);
        assert_eq!(missing(&topics(&["tasks.default"]), &known), None);
        assert_eq!(missing(&[], &[]), None);
        let error = missing(&topics(&["tasks.default", "tasks.nope"]), &known).unwrap();
        assert!(
            error.contains("`tasks.nope`") && error.contains("topics.queues"),
            "{error}"
        );
    }
}
