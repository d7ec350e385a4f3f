//! `kill -9` of each role at load: nothing accepted is lost, and each task has one result.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::load::{Load, assert_each_has_one_result, channel};
use crate::process::{Process, migrate};
use crate::sse::Stream;
use crate::world::World;

const PAUSE: Duration = Duration::from_millis(2);
const ROUND_COUNT: usize = 3;
/// Kills of everything at once, which is what a power cut is to us.
const WHOLE_ROUND_COUNT: usize = 10;
const ACCEPTED_BETWEEN_KILLS: usize = 300;

/// Kills one role again and again under a load while the others go on.
async fn kill_role_under_load(world: &World, role: &str) -> anyhow::Result<()> {
    migrate(world).await?;
    let mut others = Vec::new();
    for other in ["ingest", "connector", "worker", "scheduler", "delivery"] {
        if other != role {
            others.push(Process::role(world, other).await?);
        }
    }
    let mut victim = Process::role(world, role).await?;
    let url = if role == "ingest" {
        victim.url.clone()
    } else {
        others[0].url.clone()
    };
    let channel = channel(role);
    let load = Load::start(world, &url, &channel, PAUSE);
    for _ in 0..ROUND_COUNT {
        load.accepts(ACCEPTED_BETWEEN_KILLS).await?;
        let port = victim.port();
        victim.kill().await?;
        victim = Process::role_at(world, role, port).await?;
    }
    load.accepts(ACCEPTED_BETWEEN_KILLS).await?;
    let accepted = load.finish().await?;
    assert_each_has_one_result(world, &channel, &accepted).await?;
    victim.stop().await?;
    for other in others {
        other.stop().await?;
    }
    Ok(())
}

pub(crate) async fn killed_ingest_loses_nothing(world: Arc<World>) -> anyhow::Result<()> {
    kill_role_under_load(&world, "ingest").await
}

pub(crate) async fn killed_connector_loses_and_repeats_nothing(world: Arc<World>) -> anyhow::Result<()> {
    kill_role_under_load(&world, "connector").await
}

pub(crate) async fn killed_worker_loses_nothing_and_runs_to_one_end(world: Arc<World>) -> anyhow::Result<()> {
    kill_role_under_load(&world, "worker").await
}

pub(crate) async fn killed_delivery_resumes_streams(world: Arc<World>) -> anyhow::Result<()> {
    let whole = Process::whole(&world).await?;
    let mut delivery = Process::role(&world, "delivery").await?;
    let channel = channel("delivery");
    let load = Load::start(&world, &whole.url, &channel, PAUSE);
    let (mut seen, mut last_id) = (Vec::new(), None::<String>);
    let cursor = "cursor=earliest";
    for _ in 0..ROUND_COUNT {
        let url = format!("{}/v1/events?channel={channel}&{cursor}", delivery.url);
        let mut stream = Stream::open(&url, last_id.as_deref()).await?;
        for _ in 0..ACCEPTED_BETWEEN_KILLS {
            let event = stream.next().await?.context("the stream goes on")?;
            seen.push(event.data["data"]["id"].as_str().context("an id")?.to_owned());
            last_id = event.id;
        }
        let port = delivery.port();
        delivery.kill().await?;
        delivery = Process::role_at(&world, "delivery", port).await?;
    }
    let accepted = load.finish().await?;
    // Another process than the one that gave the id goes on from it.
    let url = format!("{}/v1/events?channel={channel}&{cursor}", whole.url);
    let mut stream = Stream::open(&url, last_id.as_deref()).await?;
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
    ensure!(distinct == accepted, "the streams brought each accepted task");
    delivery.stop().await?;
    whole.stop().await
}

pub(crate) async fn killed_whole_loses_and_repeats_nothing(world: Arc<World>) -> anyhow::Result<()> {
    let mut whole = Process::whole(&world).await?;
    let channel = channel("whole");
    let load = Load::start(&world, &whole.url, &channel, PAUSE);
    for _ in 0..WHOLE_ROUND_COUNT {
        load.accepts(ACCEPTED_BETWEEN_KILLS).await?;
        let port = whole.port();
        whole.kill().await?;
        whole = Process::whole_at(&world, port).await?;
    }
    load.accepts(ACCEPTED_BETWEEN_KILLS).await?;
    let accepted = load.finish().await?;
    assert_each_has_one_result(&world, &channel, &accepted).await?;
    whole.stop().await
}
