//! What belongs to one tenant is not there for another, whatever way it is asked for.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use posthaste_types::TaskId;
use serde_json::{Value, json};

use crate::keys::{Caller, create_key};
use crate::load::channel;
use crate::process::Process;
use crate::sse::Stream;
use crate::world::World;

/// Every route that takes an id: method, path with the kind of id in braces, body.
const ROUTES: &[(&str, &str, &str)] = &[
    ("GET", "/v1/tasks/{task}", ""),
    ("GET", "/v1/tasks/{task}?wait=1", ""),
    ("GET", "/v1/tasks/{task}/history", ""),
    ("GET", "/v1/tasks/{task}/events", ""),
    ("POST", "/v1/tasks/{task}/cancel", ""),
    ("POST", "/v1/tasks/{task}/retry", ""),
    ("GET", "/v1/endpoints/{ep}", ""),
    ("GET", "/v1/endpoints/{ep}/secret", ""),
    ("GET", "/v1/endpoints/{ep}/attempts", ""),
    ("PATCH", "/v1/endpoints/{ep}", r#"{"description":"mine now"}"#),
    ("POST", "/v1/endpoints/{ep}/test", ""),
    ("POST", "/v1/endpoints/{ep}/disable", ""),
    ("POST", "/v1/endpoints/{ep}/enable", ""),
    ("DELETE", "/v1/endpoints/{ep}", ""),
    ("GET", "/v1/keys/{key}", ""),
    ("POST", "/v1/keys/{key}/rotate", "{}"),
    ("DELETE", "/v1/keys/{key}", ""),
];

/// What a tenant has.
struct Belongings {
    task: TaskId,
    endpoint: String,
    key: String,
    /// A list's and a stream's place.
    list_cursor: String,
    event_cursor: String,
}

impl Belongings {
    fn ids(&self) -> [(&'static str, String); 3] {
        [
            ("task", self.task.to_string()),
            ("ep", self.endpoint.clone()),
            ("key", self.key.clone()),
        ]
    }
}

pub(crate) async fn another_tenants_things_are_not_there(world: Arc<World>) -> anyhow::Result<()> {
    let process = Process::whole_with(&world, &["http.access=keys"]).await?;
    let channel = channel("tenants");
    let owner = tenant(&world, &process, "owner").await?;
    let stranger = tenant(&world, &process, "stranger").await?;
    let things = belongings(&owner, &channel).await?;

    nothing_by_id(&stranger, &things).await?;
    nothing_in_lists(&stranger, &things, &channel).await?;
    nothing_in_streams(&stranger, &things, &channel).await?;
    a_token_opens_no_other_tenants_task(&stranger, &things).await?;
    keys_of_idempotency_are_their_own(&owner, &stranger, &channel).await?;

    // And it is all still there for its owner.
    for (kind, id) in things.ids() {
        let path = match kind {
            "task" => format!("/v1/tasks/{id}"),
            "ep" => format!("/v1/endpoints/{id}"),
            _ => format!("/v1/keys/{id}"),
        };
        owner.expect(200, "GET", &path, None).await?;
    }
    process.stop().await
}

async fn tenant(world: &World, process: &Process, name: &str) -> anyhow::Result<Caller> {
    let caller = Caller::new(world, &process.url, &create_key(world, name, "admin").await?);
    caller.let_in().await?;
    Ok(caller)
}

async fn belongings(owner: &Caller, channel: &str) -> anyhow::Result<Belongings> {
    let endpoint = json!({"url": "http://127.0.0.1:9/", "channels": ["nobody's"]});
    let endpoint = owner
        .expect(201, "POST", "/v1/endpoints", Some(&endpoint))
        .await?;
    let (key, _) = owner.issue(&json!({"name": "spare", "scopes": ["read"]})).await?;
    let path = format!("/v1/events?channel={channel}&cursor=earliest");
    let mut stream = Stream::open_as(&format!("{}{path}", owner.url), None, Some(&owner.key)).await?;
    owner.submit(channel).await?;
    let task = owner.submit(channel).await?;
    let event = stream.next().await?.context("an event")?;
    let page = owner
        .expect(200, "GET", &format!("/v1/tasks?channel={channel}&limit=1"), None)
        .await?;
    Ok(Belongings {
        task,
        endpoint: endpoint["id"].as_str().context("an id")?.to_owned(),
        key: key.to_string(),
        list_cursor: page["next"].as_str().context("a further page")?.to_owned(),
        event_cursor: event.id.context("a cursor")?,
    })
}

/// The same answer for what is another's as for what nobody has, but for the id: it does not even show that there is
/// something.
async fn nothing_by_id(stranger: &Caller, things: &Belongings) -> anyhow::Result<()> {
    for (method, path, body) in ROUTES {
        let theirs = not_found(stranger, (method, path, body), &things.ids()).await?;
        let nobodys = things
            .ids()
            .map(|(kind, _)| (kind, format!("{kind}_01h2e8kqvbfwea724h75qc655w")));
        let unknown = not_found(stranger, (method, path, body), &nobodys).await?;
        ensure!(theirs == unknown, "{method} {path}: {theirs}, {unknown}");
    }
    Ok(())
}

/// Asks with these ids, expects 404, and gives the answer with the kinds in place of the ids.
async fn not_found(
    caller: &Caller,
    (method, path, body): (&str, &str, &str),
    ids: &[(&str, String)],
) -> anyhow::Result<String> {
    let with_ids = |text: &str| {
        ids.iter().fold(text.to_owned(), |text, (kind, id)| {
            text.replace(&format!("{{{kind}}}"), id)
        })
    };
    let body: Option<Value> = serde_json::from_str(&with_ids(body)).ok();
    let answer = caller.ask(method, &with_ids(path), body.as_ref()).await?;
    ensure!(
        answer.status == 404 && answer.json()?["code"] == "not_found",
        "{method} {path}: {} {}",
        answer.status,
        answer.text
    );
    Ok(ids.iter().fold(answer.text, |text, (kind, id)| {
        text.replace(id, &format!("{{{kind}}}"))
    }))
}

async fn nothing_in_lists(stranger: &Caller, things: &Belongings, channel: &str) -> anyhow::Result<()> {
    for path in [
        "/v1/tasks".to_owned(),
        "/v1/tasks?limit=500".to_owned(),
        format!("/v1/tasks?channel={channel}"),
        format!("/v1/tasks?cursor={}", things.list_cursor),
        "/v1/endpoints".to_owned(),
        "/v1/keys".to_owned(),
        "/v1/audit".to_owned(),
    ] {
        let text = stranger.expect(200, "GET", &path, None).await?.to_string();
        for (_, id) in things.ids() {
            ensure!(!text.contains(&id), "{path} shows {id}");
        }
    }
    Ok(())
}

/// The first event in each stream is the stranger's own.
async fn nothing_in_streams(stranger: &Caller, things: &Belongings, channel: &str) -> anyhow::Result<()> {
    let token = stranger.stream_token(&json!({"channels": [channel]})).await?;
    let mut streams = Vec::new();
    for (query, last_id, key) in [
        ("cursor=earliest".to_owned(), None, Some(stranger.key.as_str())),
        (
            format!("channel={channel}&cursor=earliest"),
            None,
            Some(&stranger.key),
        ),
        (
            format!("cursor={}", things.event_cursor),
            None,
            Some(&stranger.key),
        ),
        (
            String::new(),
            Some(things.event_cursor.as_str()),
            Some(&stranger.key),
        ),
        (
            format!("channel={channel}&cursor=earliest&token={token}"),
            None,
            None,
        ),
    ] {
        let url = format!("{}/v1/events?{query}", stranger.url);
        streams.push(Stream::open_as(&url, last_id, key).await?);
    }
    let own = stranger.submit(channel).await?.to_string();
    for mut stream in streams {
        let event = stream.next().await?.context("an event")?;
        ensure!(event.data["data"]["id"] == own, "{}", event.data);
    }
    Ok(())
}

/// A token is made without a look at the record; it opens what its own tenant has and nothing else.
async fn a_token_opens_no_other_tenants_task(stranger: &Caller, things: &Belongings) -> anyhow::Result<()> {
    let task = things.task;
    let token = stranger.stream_token(&json!({"task": task})).await?;
    let url = format!("{}/v1/tasks/{task}/events?token={token}", stranger.url);
    let answer = reqwest::get(url).await?;
    ensure!(answer.status() == 404, "{}", answer.status());
    Ok(())
}

/// Two tenants may use one idempotency key, each for a request of its own.
async fn keys_of_idempotency_are_their_own(
    owner: &Caller,
    stranger: &Caller,
    channel: &str,
) -> anyhow::Result<()> {
    let submit = async |caller: &Caller, payload: &str| {
        let request = caller.request("POST", "/v1/tasks")?;
        let body = json!({"type": "echo", "channel": channel, "payload": payload});
        let answer = request
            .header("idempotency-key", channel)
            .json(&body)
            .send()
            .await?;
        ensure!(answer.status() == 202, "{}", answer.status());
        ensure!(!answer.headers().contains_key("idempotent-replayed"), "a replay");
        Ok(answer.json::<Value>().await?["id"].clone())
    };
    let (first, second) = (submit(owner, "a").await?, submit(stranger, "b").await?);
    ensure!(first != second, "{first}");
    Ok(())
}
