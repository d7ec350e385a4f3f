//! A task goes in over HTTP and its result comes back, by every way there is.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use crate::load::{Load, channel};
use crate::process::Process;
use crate::receiver::Receiver;
use crate::sse::Stream;
use crate::world::{World, eventually};

/// Submits and gives the 202's body.
async fn submit(world: &World, url: &str, body: &Value) -> anyhow::Result<Value> {
    let answer = world
        .http
        .post(format!("{url}/v1/tasks"))
        .json(body)
        .send()
        .await?;
    ensure!(
        answer.status() == 202,
        "{} {}",
        answer.status(),
        answer.text().await?
    );
    let location = answer
        .headers()
        .get("location")
        .context("Location")?
        .to_str()?
        .to_owned();
    ensure!(
        answer
            .headers()
            .get("retry-after")
            .is_some_and(|value| value == "1"),
        "Retry-After: 1"
    );
    let accepted: Value = answer.json().await?;
    ensure!(
        Some(location.as_str()) == accepted["links"]["self"].as_str(),
        "Location is links.self"
    );
    Ok(accepted)
}

async fn get(world: &World, url: &str, path: &str) -> anyhow::Result<Value> {
    let answer = world.http.get(format!("{url}{path}")).send().await?;
    ensure!(
        answer.status() == 200,
        "{path}: {} {}",
        answer.status(),
        answer.text().await?
    );
    Ok(answer.json().await?)
}

fn path(accepted: &Value) -> &str {
    accepted["links"]["self"].as_str().expect("checked by submit")
}

pub(crate) async fn result_comes_by_short_poll(world: Arc<World>) -> anyhow::Result<()> {
    let process = Process::whole(&world).await?;
    let body =
        json!({"type": "text.stats", "payload": {"text": "to be or not to be"}, "tags": {"play": "hamlet"}});
    let accepted = submit(&world, &process.url, &body).await?;
    eventually("the task is done", async || {
        let task = get(&world, &process.url, path(&accepted)).await?;
        ensure!(task["state"] == "DONE", "{task}");
        ensure!(
            task["payload"] == body["payload"] && task["tags"] == body["tags"],
            "{task}"
        );
        ensure!(task["result"]["words"] == 6, "{task}");
        ensure!(task["attempt"] == 1 && task["run"] == 1, "{task}");
        Ok(())
    })
    .await?;
    let history = get(&world, &process.url, &format!("{}/history", path(&accepted))).await?;
    let states: Vec<_> = history["history"]
        .as_array()
        .context("entries")?
        .iter()
        .map(|entry| &entry["state"])
        .collect();
    ensure!(states == ["INIT", "RUNNING", "DONE"], "{history}");
    process.stop().await
}

pub(crate) async fn result_comes_by_long_poll(world: Arc<World>) -> anyhow::Result<()> {
    let process = Process::whole(&world).await?;
    let accepted = submit(
        &world,
        &process.url,
        &json!({"type": "sleep", "payload": {"ms": 300}}),
    )
    .await?;
    let url = format!("{}{}?wait=30", process.url, path(&accepted));
    let mut tag: Option<String> = None;
    let mut answer_count = 0;
    let task = loop {
        let mut request = world.http.get(&url);
        if let Some(tag) = &tag {
            request = request.header("if-none-match", tag);
        }
        let answer = request.send().await?;
        ensure!(answer.status() == 200, "{}", answer.status());
        let new_tag = answer.headers().get("etag").context("ETag")?.to_str()?.to_owned();
        ensure!(tag.as_ref() != Some(&new_tag), "a 200 means a change");
        tag = Some(new_tag);
        answer_count += 1;
        let task: Value = answer.json().await?;
        if task["state"] == "DONE" {
            break task;
        }
    };
    ensure!(
        answer_count <= 4,
        "a long poll answers at changes alone, not {answer_count} times"
    );
    ensure!(!task["finished_at"].is_null(), "{task}");
    let unchanged = world.http.get(format!("{}{}", process.url, path(&accepted)));
    let unchanged = unchanged
        .header("if-none-match", tag.expect("at least one answer"))
        .send()
        .await?;
    ensure!(unchanged.status() == 304, "{}", unchanged.status());
    process.stop().await
}

pub(crate) async fn result_comes_with_the_submission_when_the_caller_waits(
    world: Arc<World>,
) -> anyhow::Result<()> {
    let process = Process::whole(&world).await?;
    let url = format!("{}/v1/tasks", process.url);
    let body = json!({"type": "echo", "payload": {"big": 12345678901234567890_u64}});
    let answer = world
        .http
        .post(&url)
        .header("prefer", "wait=30")
        .json(&body)
        .send()
        .await?;
    ensure!(answer.status() == 200, "{}", answer.status());
    ensure!(
        answer
            .headers()
            .get("preference-applied")
            .is_some_and(|value| value == "wait=30"),
        "Preference-Applied"
    );
    let task: Value = answer.json().await?;
    ensure!(
        task["state"] == "DONE" && task["result"] == body["payload"],
        "{task}"
    );

    let slow = json!({"type": "sleep", "payload": {"ms": 20_000}});
    let answer = world
        .http
        .post(&url)
        .header("prefer", "wait=1")
        .json(&slow)
        .send()
        .await?;
    ensure!(
        answer.status() == 202,
        "the wait ended before the task: {}",
        answer.status()
    );
    let accepted: Value = answer.json().await?;
    let cancel = world
        .http
        .post(format!("{}{}/cancel", process.url, path(&accepted)))
        .send()
        .await?;
    ensure!(cancel.status() == 202, "{}", cancel.status());
    process.stop().await
}

pub(crate) async fn result_comes_by_server_sent_events(world: Arc<World>) -> anyhow::Result<()> {
    let process = Process::whole(&world).await?;
    let channel = channel("sse");
    let mut stream = Stream::open(&format!("{}/v1/events?channel={channel}", process.url), None).await?;
    let mut wanted = std::collections::BTreeSet::new();
    for number in 0..50 {
        let body = json!({"type": "echo", "channel": channel, "payload": {"number": number}});
        let accepted = submit(&world, &process.url, &body).await?;
        wanted.insert(accepted["id"].as_str().context("an id")?.to_owned());
    }
    while !wanted.is_empty() {
        let event = stream.next().await?.context("the stream goes on")?;
        ensure!(
            event.name == "task.done" && event.data["type"] == "task.done",
            "{event:?}"
        );
        ensure!(
            event.data["data"]["state"] == "DONE" && event.data["data"].get("payload").is_none(),
            "{event:?}"
        );
        ensure!(
            event.id.is_some() && event.data["id"].as_str().is_some_and(|id| id.starts_with("evt_")),
            "{event:?}"
        );
        let id = event.data["data"]["id"].as_str().context("an id")?;
        ensure!(wanted.remove(id), "{id} came twice or was never asked for");
    }
    process.stop().await
}

pub(crate) async fn task_stream_ends_after_the_final_event(world: Arc<World>) -> anyhow::Result<()> {
    let process = Process::whole(&world).await?;
    let accepted = submit(
        &world,
        &process.url,
        &json!({"type": "sleep", "payload": {"ms": 200}}),
    )
    .await?;
    let url = format!("{}{}/events", process.url, path(&accepted));
    let mut stream = Stream::open(&url, None).await?;
    let mut last = None;
    while let Some(event) = stream.next().await? {
        last = Some(event);
    }
    let last = last.context("at least one event")?;
    ensure!(last.name == "task.done", "{last:?}");
    let again = world
        .http
        .get(&url)
        .header("last-event-id", last.id.context("an id")?)
        .send()
        .await?;
    ensure!(again.status() == 204, "EventSource must stop: {}", again.status());
    process.stop().await
}

pub(crate) async fn result_comes_by_webhook(world: Arc<World>) -> anyhow::Result<()> {
    let process = Process::whole(&world).await?;
    let channel = channel("webhook");
    let mut receiver = Receiver::start(&[500, 200]).await?;
    let body = json!({"url": receiver.url, "events": ["task.done"], "channels": [channel]});
    let answer = world
        .http
        .post(format!("{}/v1/endpoints", process.url))
        .json(&body)
        .send()
        .await?;
    ensure!(
        answer.status() == 201,
        "{} {}",
        answer.status(),
        answer.text().await?
    );
    let endpoint: Value = answer.json().await?;
    ensure!(
        endpoint["secret"]
            .as_str()
            .is_some_and(|secret| secret.starts_with("whsec_")),
        "a secret"
    );

    let task = json!({"type": "echo", "channel": channel, "payload": 1});
    let accepted = submit(&world, &process.url, &task).await?;
    let first = receiver.next().await?;
    let second = receiver.next().await?;
    ensure!(
        first.header("webhook-id") == second.header("webhook-id"),
        "one id over all attempts"
    );
    let event: Value = serde_json::from_slice(&second.body)?;
    ensure!(
        event["type"] == "task.done" && event["data"]["id"] == accepted["id"],
        "{event}"
    );
    ensure!(
        second.header("webhook-id") == event["id"].as_str(),
        "webhook-id is the event's id"
    );
    ensure!(
        second
            .header("webhook-signature")
            .is_some_and(|value| value.starts_with("v1,")),
        "a v1 signature"
    );

    let id = endpoint["id"].as_str().context("an id")?;
    eventually("both attempts are readable", async || {
        let page = get(&world, &process.url, &format!("/v1/endpoints/{id}/attempts")).await?;
        let statuses: Vec<_> = page["attempts"]
            .as_array()
            .context("attempts")?
            .iter()
            .map(|attempt| &attempt["status"])
            .collect();
        ensure!(statuses == ["succeeded", "failed"], "{page}");
        Ok(())
    })
    .await?;
    let removed = world
        .http
        .delete(format!("{}/v1/endpoints/{id}", process.url))
        .send()
        .await?;
    ensure!(removed.status() == 204, "{}", removed.status());
    process.stop().await
}

pub(crate) async fn batch_answers_each_task_in_order(world: Arc<World>) -> anyhow::Result<()> {
    let process = Process::whole(&world).await?;
    let url = format!("{}/v1/tasks/batch", process.url);
    let tasks =
        json!([{"type": "echo", "payload": 1}, {"type": "NO SUCH TYPE"}, {"type": "echo", "payload": 3}]);
    let answer = world
        .http
        .post(&url)
        .json(&json!({"tasks": tasks}))
        .send()
        .await?;
    ensure!(answer.status() == 202, "{}", answer.status());
    let answer: Value = answer.json().await?;
    let items = answer["tasks"].as_array().context("tasks")?;
    ensure!(
        items.len() == 3 && items[0]["id"].is_string() && items[2]["id"].is_string(),
        "{answer}"
    );
    ensure!(items[1]["error"]["code"] == "invalid_request", "{answer}");
    let refused = world
        .http
        .post(&url)
        .json(&json!({"tasks": tasks, "atomic": true}))
        .send()
        .await?;
    ensure!(refused.status() == 400, "all or none: {}", refused.status());
    process.stop().await
}

pub(crate) async fn delayed_task_runs_when_due(world: Arc<World>) -> anyhow::Result<()> {
    let process = Process::whole(&world).await?;
    let accepted = submit(&world, &process.url, &json!({"type": "echo", "delay_s": 0.5})).await?;
    ensure!(accepted["state"] == "SCHEDULED", "{accepted}");
    let mut stream = Stream::open(&format!("{}{}/events", process.url, path(&accepted)), None).await?;
    while stream.next().await?.is_some() {}
    let task = get(&world, &process.url, path(&accepted)).await?;
    ensure!(task["state"] == "DONE", "{task}");
    ensure!(
        task["started_at"].as_str() >= task["not_before"].as_str(),
        "not before its time: {task}"
    );
    process.stop().await
}

pub(crate) async fn cancelled_task_never_runs(world: Arc<World>) -> anyhow::Result<()> {
    let process = Process::whole(&world).await?;
    let accepted = submit(&world, &process.url, &json!({"type": "echo", "delay_s": 3600})).await?;
    let url = format!("{}{}/cancel", process.url, path(&accepted));
    let cancelled = world.http.post(&url).send().await?;
    ensure!(cancelled.status() == 202, "{}", cancelled.status());
    let task: Value = cancelled.json().await?;
    ensure!(task["state"] == "CANCELLED" && task["attempt"] == 0, "{task}");
    ensure!(
        world.http.post(&url).send().await?.status() == 409,
        "a final task cannot be cancelled"
    );
    process.stop().await
}

pub(crate) async fn stream_resumes_without_gap_or_repeat(world: Arc<World>) -> anyhow::Result<()> {
    let process = Process::whole(&world).await?;
    let channel = channel("resume");
    let url = format!("{}/v1/events?channel={channel}", process.url);
    let mut stream = Stream::open(&url, None).await?;
    let load = Load::start(&world, &process.url, &channel, Duration::from_millis(2));
    let mut seen = Vec::new();
    let mut last_id = None;
    for cut_after in [1, 7, 40, 3, 150, 11] {
        for _ in 0..cut_after {
            let event = stream.next().await?.context("the stream goes on")?;
            seen.push(event.data["data"]["id"].as_str().context("an id")?.to_owned());
            last_id = event.id;
        }
        // Dropped in the middle of whatever was on its way.
        stream = Stream::open(&url, last_id.as_deref()).await?;
    }
    let accepted = load.finish().await?;
    while seen.len() < accepted.len() {
        let event = stream.next().await?.context("the stream goes on")?;
        seen.push(event.data["data"]["id"].as_str().context("an id")?.to_owned());
    }
    let distinct: std::collections::BTreeSet<_> = seen.iter().cloned().collect();
    ensure!(
        distinct.len() == seen.len(),
        "{} events came twice",
        seen.len() - distinct.len()
    );
    ensure!(distinct == accepted, "the stream brought each accepted task");
    process.stop().await
}
