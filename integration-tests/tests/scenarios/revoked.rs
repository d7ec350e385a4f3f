//! A revoked key is refused everywhere, and what was opened with it ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::time::Instant;

use crate::keys::{Caller, create_key};
use crate::load::channel;
use crate::process::{Process, free_port, migrate, run};
use crate::sse::Stream;
use crate::world::World;

/// Far above the second that is promised: machines under tests stall.
const REVOKED_WITHIN: Duration = Duration::from_secs(10);

pub(crate) async fn revoked_key_is_refused_and_its_streams_end(world: Arc<World>) -> anyhow::Result<()> {
    migrate(&world).await?;
    let keyed = ["http.access=keys"];
    let ingest = Process::role_with(&world, "ingest", free_port()?, &keyed).await?;
    let delivery = Process::role_with(&world, "delivery", free_port()?, &keyed).await?;
    let admin = create_key(&world, "revoked", "admin").await?;
    let admin = Caller::new(&world, &ingest.url, &admin);
    admin.let_in().await?;

    for by_route in [true, false] {
        let (id, key) = admin
            .issue(&json!({"name": "short-lived", "scopes": ["submit", "read"]}))
            .await?;
        let holder = admin.with_key(&key);
        let at_delivery = holder.at(&delivery.url);
        holder.let_in().await?;
        at_delivery.let_in().await?;
        let streams = open_streams(&holder, &delivery.url).await?;

        let began = Instant::now();
        let id = id.to_string();
        if by_route {
            let answer = admin.ask("DELETE", &format!("/v1/keys/{id}"), None).await?;
            ensure!(answer.status == 204, "{} {}", answer.status, answer.text);
        } else {
            let output = run(&world, &["keys", "revoke", &id, "--tenant", "revoked"]).await?;
            ensure!(
                output.status.success(),
                "{}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        let refused = async {
            holder.shut_out().await?;
            at_delivery.shut_out().await?;
            anyhow::Ok(began.elapsed())
        };
        let ended = async {
            try_join_all(streams.into_iter().map(to_its_end)).await?;
            Ok(began.elapsed())
        };
        let (refused, ended) = tokio::try_join!(refused, ended)?;
        eprintln!("a revoked key was refused after {refused:?}, its streams ended after {ended:?}");
        ensure!(refused.max(ended) < REVOKED_WITHIN, "{refused:?}, {ended:?}");
    }
    // Another key of the same tenant goes on.
    admin.submit(&channel("revoked")).await?;
    delivery.stop().await?;
    ingest.stop().await
}

/// One stream of each kind: of a channel and of a task, with the key and with its tokens.
async fn open_streams(holder: &Caller, url: &str) -> anyhow::Result<Vec<Stream>> {
    let channel = channel("revoked");
    let task = holder.submit(&channel).await?;
    let channel_token = holder.stream_token(&json!({"channels": [channel]})).await?;
    let task_token = holder.stream_token(&json!({"task": task})).await?;
    let key = Some(holder.key.as_str());
    try_join_all(
        [
            (format!("{url}/v1/events?channel={channel}"), key),
            (format!("{url}/v1/tasks/{task}/events"), key),
            (
                format!("{url}/v1/events?channel={channel}&token={channel_token}"),
                None,
            ),
            (format!("{url}/v1/tasks/{task}/events?token={task_token}"), None),
        ]
        .map(async |(url, key)| Stream::open_as(&url, None, key).await.context(url)),
    )
    .await
}

async fn to_its_end(mut stream: Stream) -> anyhow::Result<()> {
    while stream.next().await?.is_some() {}
    Ok(())
}
