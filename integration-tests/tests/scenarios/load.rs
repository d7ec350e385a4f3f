//! A load that a scenario can run while it breaks things: it submits under idempotency keys, repeats what was not
//! answered, and remembers every task that was accepted.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::world::{PATIENCE, World};

/// A fresh channel name, by which a scenario tells its tasks from others'.
pub(crate) fn channel(scenario: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!(
        "{scenario}-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    )
}

struct Shared {
    stopping: AtomicBool,
    accepted_count: AtomicUsize,
    progress: Notify,
}

/// A load under way.
pub(crate) struct Load {
    shared: Arc<Shared>,
    submitters: JoinSet<anyhow::Result<Vec<String>>>,
}

impl Load {
    /// Begins to submit `echo` tasks over a few connections, `pause` between two of one connection.
    pub(crate) fn start(world: &World, url: &str, channel: &str, pause: Duration) -> Self {
        let shared = Arc::new(Shared {
            stopping: AtomicBool::new(false),
            accepted_count: AtomicUsize::new(0),
            progress: Notify::new(),
        });
        let mut submitters = JoinSet::new();
        for lane in 0..8 {
            let (http, url, channel) = (world.http.clone(), url.to_owned(), channel.to_owned());
            let shared = Arc::clone(&shared);
            submitters.spawn(async move {
                let mut accepted = Vec::new();
                while !shared.stopping.load(Ordering::Relaxed) {
                    let key = format!("{channel}-{lane}-{}", accepted.len());
                    accepted.push(submit_until_accepted(&http, &url, &channel, &key).await?);
                    shared.accepted_count.fetch_add(1, Ordering::Relaxed);
                    shared.progress.notify_waiters();
                    tokio::time::sleep(pause).await;
                }
                Ok(accepted)
            });
        }
        Self { shared, submitters }
    }

    /// Waits until so many more tasks have been accepted from now on.
    pub(crate) async fn accepts(&self, count: usize) -> anyhow::Result<()> {
        let goal = self.shared.accepted_count.load(Ordering::Relaxed) + count;
        tokio::time::timeout(PATIENCE, async {
            loop {
                let progress = self.shared.progress.notified();
                if self.shared.accepted_count.load(Ordering::Relaxed) >= goal {
                    return;
                }
                progress.await;
            }
        })
        .await
        .with_context(|| format!("the load goes on past {goal} accepted tasks"))
    }

    /// Ends the load and gives every accepted task's id.
    pub(crate) async fn finish(mut self) -> anyhow::Result<BTreeSet<String>> {
        self.shared.stopping.store(true, Ordering::Relaxed);
        let mut accepted = BTreeSet::new();
        while let Some(lane) = self.submitters.join_next().await {
            for id in lane?? {
                ensure!(accepted.insert(id.clone()), "{id} was given to two submissions");
            }
        }
        Ok(accepted)
    }
}

/// Repeats one submission under its key until a 202, as a careful client does.
async fn submit_until_accepted(
    http: &reqwest::Client,
    url: &str,
    channel: &str,
    key: &str,
) -> anyhow::Result<String> {
    let body = json!({"type": "echo", "channel": channel, "payload": {"key": key}});
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        let request = http
            .post(format!("{url}/v1/tasks"))
            .header("idempotency-key", key)
            .json(&body);
        match request.send().await {
            Ok(answer) if answer.status() == 202 => {
                let accepted: Value = match answer.json().await {
                    Ok(accepted) => accepted,
                    // Cut in the middle of the answer: ask again.
                    Err(_) => continue,
                };
                return Ok(accepted["id"].as_str().context("an id")?.to_owned());
            }
            Ok(answer) if answer.status().is_server_error() || answer.status() == 409 => {}
            Ok(answer) => bail!("{} {}", answer.status(), answer.text().await?),
            Err(_) => {}
        }
        ensure!(
            tokio::time::Instant::now() < end,
            "{key} was not accepted within {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Checks the promise: each accepted task is final and has exactly one final event in the topic.
pub(crate) async fn assert_each_has_one_result(
    world: &World,
    channel: &str,
    accepted: &BTreeSet<String>,
) -> anyhow::Result<()> {
    world.settled(channel).await?;
    let events = world.final_events(channel).await?;
    let lost: Vec<_> = accepted.iter().filter(|id| !events.contains_key(*id)).collect();
    let repeated: Vec<_> = events
        .iter()
        .filter(|(_, events)| events.len() > 1)
        .map(|(id, _)| id)
        .collect();
    ensure!(
        lost.is_empty(),
        "{} of {} lost, for instance {}",
        lost.len(),
        accepted.len(),
        lost[0]
    );
    ensure!(
        repeated.is_empty(),
        "{} of {} repeated, for instance {}",
        repeated.len(),
        accepted.len(),
        repeated[0]
    );
    Ok(())
}
