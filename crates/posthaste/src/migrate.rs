//! `posthaste migrate`: tables, slot, topics, schemas. Every step is safe to repeat, also at the same time.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use posthaste_broker::{ErrorKind as BrokerErrorKind, TopicOutcome, TopicSpec};
use posthaste_runtime::{Backoff, Stopper, chain};
use posthaste_schema::{SchemaId, SchemaText, TASK_EVENT, TASK_REQUESTED};
use posthaste_store::ErrorKind as StoreErrorKind;
use posthaste_types::{limits, topics};
use tokio::time::Instant;

use crate::config::{Config, TopicsOptions};
use crate::exit::Usage;
use crate::parts::Parts;

/// How long a dependency that is still starting is waited for.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Refuses what it cannot make.
///
/// # Errors
/// A usage error that names the key.
pub(crate) fn check(config: &Config) -> anyhow::Result<()> {
    specs(&config.topics).map(drop)
}

/// Does all of it and tells each step in a line.
pub(crate) async fn migrate(config: &Config, parts: &Parts, tell: &dyn Fn(String)) -> anyhow::Result<()> {
    let specs = specs(&config.topics)?;
    let report = patiently(store_is_away, || posthaste_store::migrate(&parts.store))
        .await
        .context("failed to migrate the database")?;
    tell(format!(
        "database: {} migrations applied now, {} before, {} partitions made",
        report.applied.len(),
        report.present,
        report.partitions
    ));
    let names = config.connector.names()?;
    patiently(store_is_away, || parts.store.ensure_replication(&names))
        .await
        .context("failed to make publication and slot")?;
    patiently(store_is_away, || parts.store.ensure_connector(&names.slot))
        .await
        .context("failed to make the connector known")?;
    let admin = parts.admin()?;
    for (spec, schema) in specs {
        let outcome = patiently(broker_is_away, || admin.ensure_topic(&spec))
            .await
            .with_context(|| format!("failed to make topic {}", spec.name))?;
        let id = match schema {
            Some(schema) => Some(register(parts, &spec.name, schema).await?),
            None => None,
        };
        tell(describe(&spec, outcome, id));
    }
    Ok(())
}

/// Registers the schema of a topic's values and notes its id in the record: last, because the note is what lets tasks
/// in for the topic.
async fn register(parts: &Parts, topic: &str, schema: SchemaText) -> anyhow::Result<SchemaId> {
    let subject = topics::value_subject(topic);
    let registry = parts.registry()?;
    let id = patiently(broker_is_away, || registry.register(&subject, schema.avsc))
        .await
        .with_context(|| format!("failed to register schema {subject}"))?;
    let set_rule = || registry.ensure_compatibility(Some(&subject), "BACKWARD");
    // Of two that set it at once the registry answers one with a conflict; when that one asks again the rule is there.
    if patiently(broker_is_away, set_rule).await.is_err() {
        patiently(broker_is_away, set_rule)
            .await
            .with_context(|| format!("failed to set the compatibility of {subject}"))?;
    }
    let (id, fingerprint) = (SchemaId(id), schema.fingerprint());
    patiently(store_is_away, || {
        parts.store.record_schema(&subject, id, schema.name, &fingerprint)
    })
    .await
    .context("failed to note a schema's id")?;
    Ok(id)
}

fn describe(spec: &TopicSpec, outcome: TopicOutcome, id: Option<SchemaId>) -> String {
    let schema = id
        .map(|SchemaId(id)| format!(", schema {id}"))
        .unwrap_or_default();
    match outcome {
        TopicOutcome::Created => format!(
            "topic {}: made, {} partitions{schema}",
            spec.name, spec.partitions
        ),
        TopicOutcome::Present { partitions } => {
            format!("topic {}: present, {partitions} partitions{schema}", spec.name)
        }
    }
}

/// Every topic with the schema of its values.
fn specs(options: &TopicsOptions) -> anyhow::Result<Vec<(TopicSpec, Option<SchemaText>)>> {
    let hours = |hours: u32| (u64::from(hours) * 3_600_000).to_string();
    let spec = |name: String, retention_h: u32, policy: &str| {
        let mut config = BTreeMap::from([
            ("cleanup.policy".to_owned(), policy.to_owned()),
            (
                "max.message.bytes".to_owned(),
                limits::RECORD_BYTES_MAX.to_string(),
            ),
            ("retention.ms".to_owned(), hours(retention_h)),
        ]);
        if let Some(factor) = options.replication_factor {
            config.insert("replication.factor".to_owned(), factor.to_string());
        }
        TopicSpec {
            name,
            partitions: options.partitions,
            config,
        }
    };
    let mut specs = Vec::new();
    for queue in &options.queues {
        ensure!(
            is_queue_name(queue),
            Usage(format!(
                "topics.queues: `{queue}` is not a queue's name: use a-z, 0-9, `.`, `_` and `-`"
            ))
        );
        let topic = topics::tasks_topic(queue);
        specs.push((
            spec(topic, options.tasks_retention_h, "delete"),
            Some(TASK_REQUESTED),
        ));
    }
    let policy = if options.results_compact {
        "compact,delete"
    } else {
        "delete"
    };
    specs.push((
        spec(topics::RESULTS.to_owned(), options.results_retention_h, policy),
        Some(TASK_EVENT),
    ));
    specs.push((
        spec(
            topics::DEAD_LETTERS.to_owned(),
            options.dead_letters_retention_h,
            "delete",
        ),
        None,
    ));
    Ok(specs)
}

fn is_queue_name(queue: &str) -> bool {
    let allowed =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    (1..=limits::QUEUE_LEN_MAX).contains(&queue.len()) && queue.bytes().all(allowed)
}

fn store_is_away(error: &posthaste_store::Error) -> bool {
    error.kind() == StoreErrorKind::Unavailable
}

fn broker_is_away(error: &posthaste_broker::Error) -> bool {
    error.kind() == BrokerErrorKind::Unavailable
}

/// Tries again while the dependency is away, up to [`WAIT_MAX`].
async fn patiently<T, E: std::error::Error + 'static, F: Future<Output = Result<T, E>>>(
    is_away: fn(&E) -> bool,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E> {
    let end = Instant::now() + WAIT_MAX;
    let mut backoff = Backoff::dependency();
    loop {
        match attempt().await {
            Err(error) if is_away(&error) && Instant::now() < end => {
                if backoff.failure_count() == 0 {
                    tracing::info!(
                        error = %chain(&error),
                        "waiting for a dependency"
                    );
                }
                backoff.wait(&Stopper::new()).await;
            }
            settled => return settled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_give_one_queue_results_and_dead_letters() {
        let specs = specs(&TopicsOptions::default()).unwrap();
        let names: Vec<&str> = specs.iter().map(|(spec, _)| spec.name.as_str()).collect();
        assert_eq!(names, ["tasks.default", "results", "dead-letters"]);
        assert!(
            specs
                .iter()
                .all(|(spec, _)| spec.config["retention.ms"].parse::<u64>().is_ok())
        );
    }

    #[test]
    fn a_queue_that_cannot_be_a_topic_is_refused_by_name() {
        for queue in ["", "Reports", "a b", "ä", &"x".repeat(101)] {
            let options = TopicsOptions {
                queues: vec![queue.to_owned()],
                ..TopicsOptions::default()
            };
            let error = specs(&options).unwrap_err().to_string();
            assert!(error.contains(&format!("`{queue}`")), "{error}");
        }
    }
}
