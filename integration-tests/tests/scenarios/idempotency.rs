//! Sent twice, a task exists once.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use serde_json::{Value, json};

use crate::load::channel;
use crate::process::{Process, migrate};
use crate::world::World;

pub(crate) async fn racing_requests_under_one_key_make_one_task(world: Arc<World>) -> anyhow::Result<()> {
    migrate(&world).await?;
    let (left, right) = (
        Process::role(&world, "ingest").await?,
        Process::role(&world, "ingest").await?,
    );
    let channel = channel("idempotency");
    let body = json!({"type": "echo", "channel": channel, "payload": 1});
    let answers = try_join_all((0..100).map(|number| {
        let url = if number % 2 == 0 { &left.url } else { &right.url };
        let request = world
            .http
            .post(format!("{url}/v1/tasks"))
            .header("idempotency-key", format!("\"{channel}\""));
        let request = request.json(&body);
        async move {
            let answer = request.send().await?;
            let replayed = answer
                .headers()
                .get("idempotent-replayed")
                .is_some_and(|value| value == "true");
            anyhow::Ok((answer.status().as_u16(), replayed, answer.text().await?))
        }
    }))
    .await?;
    let mut bodies = std::collections::BTreeSet::new();
    let mut first_count = 0;
    for (status, replayed, body) in answers {
        ensure!(status == 202 || status == 409, "{status} {body}");
        if status == 202 {
            first_count += usize::from(!replayed);
            bodies.insert(body);
        }
    }
    ensure!(
        first_count == 1,
        "{first_count} requests were told to be the first"
    );
    ensure!(bodies.len() == 1, "one body, byte for byte: {bodies:?}");

    let other = json!({"type": "echo", "channel": channel, "payload": 2});
    let request = world
        .http
        .post(format!("{}/v1/tasks", left.url))
        .header("idempotency-key", channel.as_str());
    let answer = request.json(&other).send().await?;
    ensure!(answer.status() == 422, "{}", answer.status());
    let problem: Value = answer.json().await?;
    ensure!(problem["code"] == "idempotency_key_reused", "{problem}");

    let list = world
        .http
        .get(format!("{}/v1/tasks?channel={channel}", right.url))
        .send()
        .await?;
    let list: Value = list.json().await?;
    ensure!(list["tasks"].as_array().context("tasks")?.len() == 1, "{list}");
    left.stop().await?;
    right.stop().await
}
