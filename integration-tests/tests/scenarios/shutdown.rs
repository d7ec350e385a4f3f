//! An orderly stop: what was begun is finished.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use serde_json::json;
use tokio::task::JoinSet;

use crate::load::{Load, assert_each_has_one_result, channel};
use crate::process::{Process, migrate};
use crate::world::World;

pub(crate) async fn stop_under_load_cuts_no_request_and_loses_no_task(
    world: Arc<World>,
) -> anyhow::Result<()> {
    migrate(&world).await?;
    let channel = channel("shutdown");
    let ingest = Process::role(&world, "ingest").await?;
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let (url, channel) = (format!("{}/v1/tasks", ingest.url), channel.clone());
        callers.spawn(async move {
            let http = reqwest::Client::new();
            let mut accepted = Vec::new();
            loop {
                let body = json!({"type": "echo", "channel": channel});
                let answer = match http.post(&url).json(&body).send().await {
                    Ok(answer) => answer,
                    // Refused, not cut: nothing was sent.
                    Err(error) if error.is_connect() => return Ok(accepted),
                    // The server closed an idle connection just as we used it again: HTTP/1.1 cannot avoid that race,
                    // and the request was never begun.
                    Err(error) if error.is_request() => return Ok(accepted),
                    Err(error) => return Err(anyhow::Error::from(error)),
                };
                match answer.status().as_u16() {
                    202 => {
                        let body: serde_json::Value = answer.json().await?;
                        accepted.push(body["id"].as_str().unwrap_or_default().to_owned());
                    }
                    503 => return Ok(accepted),
                    status => anyhow::bail!("{status}"),
                }
            }
        });
    }
    let others = Load::start(
        &world,
        &ingest.url,
        &format!("{channel}-pace"),
        Duration::from_millis(1),
    );
    others.accepts(500).await?;
    ingest.stop().await?;
    let mut accepted = std::collections::BTreeSet::new();
    while let Some(caller) = callers.join_next().await {
        accepted.extend(caller??);
    }
    ensure!(!accepted.is_empty(), "the callers were heard before the stop");

    // The rest of the way, and an ingest again for the load that has not given up.
    let whole = Process::whole(&world).await?;
    drop(others);
    assert_each_has_one_result(&world, &channel, &accepted).await?;
    whole.stop().await
}
