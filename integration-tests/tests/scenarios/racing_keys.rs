//! A thousand requests race under one idempotency key at two processes, and one of them dies: one task, one answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use posthaste_types::TaskId;
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::load::channel;
use crate::process::{Process, migrate};
use crate::world::World;

const REQUEST_COUNT: usize = 1000;
/// Answers of the process that dies, before it does.
const ANSWERED_BEFORE_DEATH: usize = 20;
const ROUND_COUNT: usize = 3;

/// What a caller was told in the end.
enum Told {
    Accepted(String),
    InProgress,
}

/// How far a round is.
#[derive(Default)]
struct Round {
    answered: AtomicUsize,
    progress: Notify,
}

pub(crate) async fn racing_requests_at_a_dying_process_make_one_task(
    world: Arc<World>,
) -> anyhow::Result<()> {
    migrate(&world).await?;
    let survivor = Process::role(&world, "ingest").await?;
    for _ in 0..ROUND_COUNT {
        let victim = Process::role(&world, "ingest").await?;
        race(&world, victim, &survivor).await?;
    }
    survivor.stop().await
}

async fn race(world: &World, victim: Process, survivor: &Process) -> anyhow::Result<()> {
    let channel = channel("racing-keys");
    let round = Round::default();
    let body = json!({"type": "echo", "channel": channel, "key": channel, "payload": 1});
    let victim_url = victim.url.clone();
    let requests = try_join_all((0..REQUEST_COUNT).map(|number| {
        let first = if number % 2 == 0 {
            &victim_url
        } else {
            &survivor.url
        };
        ask(world, &round, first, &survivor.url, &channel, &body)
    }));
    let death = async {
        let enough = || round.answered.load(Ordering::Relaxed) >= ANSWERED_BEFORE_DEATH;
        while !enough() {
            let progress = round.progress.notified();
            if !enough() {
                progress.await;
            }
        }
        victim.kill().await
    };
    let (told, ()) = tokio::try_join!(requests, death)?;

    let mut bodies = BTreeSet::new();
    for answer in told {
        if let Told::Accepted(body) = answer {
            bodies.insert(body);
        }
    }
    ensure!(bodies.len() == 1, "one body, byte for byte: {bodies:?}");
    let accepted: Value = serde_json::from_str(bodies.first().context("an answer")?)?;
    assert_one(world, &channel, accepted["id"].as_str().context("an id")?).await
}

/// Sends one request, and where it breaks, again to the survivor, as a careful client does.
async fn ask(
    world: &World,
    round: &Round,
    first: &str,
    survivor: &str,
    key: &str,
    body: &Value,
) -> anyhow::Result<Told> {
    let send = async |url: &str| {
        let request = world
            .http
            .post(format!("{url}/v1/tasks"))
            .header("idempotency-key", key);
        let answer = request.json(body).send().await?;
        anyhow::Ok((answer.status().as_u16(), answer.text().await?))
    };
    let answer = send(first).await;
    if first != survivor {
        round.answered.fetch_add(1, Ordering::Relaxed);
        round.progress.notify_one();
    }
    let (status, text) = match answer {
        Err(_) if first != survivor => send(survivor).await?,
        answer => answer?,
    };
    match status {
        202 => Ok(Told::Accepted(text)),
        409 => Ok(Told::InProgress),
        _ => anyhow::bail!("{status} {text}"),
    }
}

/// The record and the outbox hold the task once, and it is the one that was told. Its ordering key is the record's key.
async fn assert_one(world: &World, channel: &str, id: &str) -> anyhow::Result<()> {
    let database = world.database().await?;
    let tasks = database
        .query(
            "select id::text from posthaste.tasks where channel = $1",
            &[&channel],
        )
        .await?;
    ensure!(tasks.len() == 1, "{} tasks", tasks.len());
    let stored: TaskId = TaskId::from_uuid(tasks[0].get::<_, String>(0).parse()?);
    ensure!(stored.to_string() == id, "{stored} is stored, {id} was told");
    let published: i64 = database
        .query_one(
            "select count(*) from posthaste.outbox where aggregateid = $1",
            &[&channel],
        )
        .await?
        .get(0);
    ensure!(published == 1, "{published} rows of the outbox");
    Ok(())
}
