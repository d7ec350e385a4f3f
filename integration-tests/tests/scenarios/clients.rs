//! The examples that users copy from, and the OpenAPI document that other clients are made from, against the executable.
//! Needs what `interop` needs, and is ignored where that is missing.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use tokio::process::Command;

use crate::process::{Process, run};
use crate::world::World;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Runs a script of this tree; each bounds its own time. Installing what it needs the first time takes as long as the
/// network does.
async fn script(path: &str, arguments: &[&str], key: Option<&str>) -> anyhow::Result<()> {
    let mut command = Command::new(format!("{ROOT}/{path}"));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    command.env_remove("POSTHASTE_KEY");
    if let Some(key) = key {
        command.env("POSTHASTE_KEY", key);
    }
    let output = command.output().await.context("the script runs")?;
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// A process of all roles that asks for keys, and a key with these scopes.
async fn with_key(world: &World, scopes: &str) -> anyhow::Result<(Process, String)> {
    let process = Process::whole_with(world, &["http.access=keys"]).await?;
    let output = run(
        world,
        &["keys", "create", "--name", "clients", "--scopes", scopes],
    )
    .await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok((process, String::from_utf8(output.stdout)?.trim().to_owned()))
}

pub(crate) async fn tours_of_the_examples_go_through(world: Arc<World>) -> anyhow::Result<()> {
    let (process, key) = with_key(&world, "submit,read").await?;
    let arguments = ["--url", &process.url, "tour.sh", "tour.py", "tour.mjs"];
    script("integration-tests/interop/run", &arguments, Some(&key)).await?;
    process.stop().await
}

pub(crate) async fn every_route_answers_as_the_document_says(world: Arc<World>) -> anyhow::Result<()> {
    let (process, key) = with_key(&world, "admin").await?;
    let arguments = ["--examples", "5", "--url", &process.url];
    script("scripts/contract", &arguments, Some(&key)).await?;
    process.stop().await
}
