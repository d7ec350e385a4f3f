//! An operator lets the connector stand still on the command line, it is killed meanwhile, and goes on over HTTP.

use std::process::Output;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use posthaste_types::TaskId;
use serde_json::Value;

use crate::keys::{Caller, create_key};
use crate::load::channel;
use crate::process::{Process, free_port, migrate, run};
use crate::world::{World, eventually};

pub(crate) async fn a_pause_holds_over_a_killed_connector_and_ends_over_http(
    world: Arc<World>,
) -> anyhow::Result<()> {
    migrate(&world).await?;
    let ingest = Process::role_with(&world, "ingest", free_port()?, &["http.access=keys"]).await?;
    let worker = Process::role(&world, "worker").await?;
    let connector = Process::role(&world, "connector").await?;
    let operator = Caller::new(
        &world,
        &ingest.url,
        &create_key(&world, "default", "admin").await?,
    );
    operator.let_in().await?;
    let channel = channel("paused");
    done(&operator, operator.submit(&channel).await?).await?;
    ensure!(command(&world, "status").await?.status.success(), "it streams");

    let paused = command(&world, "pause").await?;
    ensure!(paused.status.success(), "{paused:?}");
    let told = String::from_utf8_lossy(&paused.stderr);
    ensure!(told.contains("stands still"), "{told}");
    let mut tasks = Vec::new();
    for _ in 0..20 {
        tasks.push(operator.submit(&channel).await?);
    }
    connector.kill().await?;
    let connector = Process::role(&world, "connector").await?;
    eventually("the new one to stand still", async || {
        let seen = status(&world, 1).await?;
        ensure!(seen["state"] == "paused", "{seen}");
        Ok(())
    })
    .await?;
    for &task in &tasks {
        ensure!(state(&operator, task).await? == "INIT", "{task} has run");
    }

    strangers_are_refused(&world, &operator).await?;
    let path = "/v1/connectors/posthaste";
    let seen = operator.expect(200, "GET", path, None).await?;
    ensure!(
        seen["paused_by"] == "cli" && seen["log"]["lag_bytes"].as_u64() > Some(0),
        "{seen}"
    );
    let resumed = operator
        .expect(200, "POST", &format!("{path}/resume"), None)
        .await?;
    ensure!(resumed["is_paused"] == false, "{resumed}");
    for task in tasks {
        done(&operator, task).await?;
    }
    let seen = status(&world, 0).await?;
    ensure!(seen["state"] == "streaming", "{seen}");
    noted(&operator).await?;
    for process in [connector, worker, ingest] {
        process.stop().await?;
    }
    Ok(())
}

async fn command(world: &World, act: &str) -> anyhow::Result<Output> {
    run(world, &["connector", act]).await
}

/// What `posthaste connector status` tells, with this exit code.
async fn status(world: &World, code: i32) -> anyhow::Result<Value> {
    let output = run(world, &["connector", "status", "--json"]).await?;
    ensure!(output.status.code() == Some(code), "{output:?}");
    Ok(serde_json::from_slice(&output.stdout)?)
}

async fn state(caller: &Caller, task: TaskId) -> anyhow::Result<String> {
    let seen = caller
        .expect(200, "GET", &format!("/v1/tasks/{task}"), None)
        .await?;
    Ok(seen["state"].as_str().context("a state")?.to_owned())
}

async fn done(caller: &Caller, task: TaskId) -> anyhow::Result<()> {
    eventually("a task to be done", async || {
        let state = state(caller, task).await?;
        ensure!(state == "DONE", "{task} is {state}");
        Ok(())
    })
    .await
}

/// Neither a lesser key of the operators nor another tenant's admin sees or resumes it.
async fn strangers_are_refused(world: &World, operator: &Caller) -> anyhow::Result<()> {
    for (tenant, scopes) in [("default", "submit,read"), ("paused-other", "admin")] {
        let caller = operator.with_key(&create_key(world, tenant, scopes).await?);
        caller.let_in().await?;
        for (method, path) in [
            ("GET", "/v1/connectors"),
            ("GET", "/v1/connectors/posthaste"),
            ("POST", "/v1/connectors/posthaste/resume"),
        ] {
            let refused = caller.expect(403, method, path, None).await?;
            ensure!(refused["code"] == "forbidden", "{refused}");
        }
    }
    let seen = status(world, 1).await?;
    ensure!(seen["is_paused"] == true, "{seen}");
    Ok(())
}

/// Both acts are in the audit log, by whom they were done.
async fn noted(operator: &Caller) -> anyhow::Result<()> {
    for (action, is_by) in [
        ("connector.pause", (|actor| actor == "cli") as fn(&str) -> bool),
        ("connector.resume", |actor| actor.starts_with("key_")),
    ] {
        let page = operator
            .expect(200, "GET", &format!("/v1/audit?action={action}&limit=1"), None)
            .await?;
        let entry = &page["entries"][0];
        ensure!(entry["object"] == "posthaste", "{page}");
        ensure!(entry["actor"].as_str().is_some_and(is_by), "{page}");
    }
    Ok(())
}
