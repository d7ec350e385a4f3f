//! Readers who ask for large lists and take nothing of the answers.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use posthaste_types::limits::ANSWERS_UNTAKEN_BYTES_MAX;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::assert_serves;
use crate::load::channel;
use crate::process::{Process, free_port, migrate};
use crate::world::{World, eventually};

/// Tasks of a list, and the payload of each, bytes.
const TASK_COUNT: usize = 4;
const PAYLOAD_BYTES: usize = 1_000_000;
const READER_COUNT: usize = 100;
/// What the process may grow by, bytes: what may be untaken, and as much again for lists that are being made.
const GROWTH_BYTES_MAX: u64 = 2 * ANSWERS_UNTAKEN_BYTES_MAX as u64;

pub(crate) async fn answers_that_nobody_takes_are_bounded(world: Arc<World>) -> anyhow::Result<()> {
    migrate(&world).await?;
    let ingest = Process::role_with(&world, "ingest", free_port()?, &["http.access=open"]).await?;
    let channel = channel("untaken");
    submit(&world, &ingest, &channel).await?;
    let memory = ingest.memory_peak_bytes()?;
    let mut readers = Vec::new();
    let mut refused_count = 0;
    for _ in 0..READER_COUNT {
        let (status, reader) = ask(&ingest, &channel).await?;
        match status {
            200 => readers.push(reader),
            429 => refused_count += 1,
            other => anyhow::bail!("{other} for a list"),
        }
    }
    let share = ANSWERS_UNTAKEN_BYTES_MAX / 2 / (TASK_COUNT * PAYLOAD_BYTES);
    ensure!(
        (1..=share).contains(&readers.len()),
        "{} were answered",
        readers.len()
    );
    ensure!(refused_count == READER_COUNT - readers.len());
    assert_serves(&world, &ingest, None).await?;
    let growth = ingest.memory_peak_bytes()?.saturating_sub(memory);
    ensure!(growth < GROWTH_BYTES_MAX, "grew by {growth} bytes");

    drop(readers);
    eventually("lists are served again", async || {
        let (status, _) = ask(&ingest, &channel).await?;
        ensure!(status == 200, "{status} for a list");
        Ok(())
    })
    .await?;
    ingest.stop().await
}

/// Stores what makes a list large, for a time at which nobody runs it any more.
async fn submit(world: &World, ingest: &Process, channel: &str) -> anyhow::Result<()> {
    let task = json!({
        "type": "echo", "channel": channel, "delay_s": 86_400, "payload": "x".repeat(PAYLOAD_BYTES),
    });
    let request = world
        .http
        .post(format!("{}/v1/tasks/batch", ingest.url))
        .json(&json!({ "tasks": vec![task; TASK_COUNT] }));
    let answer = request.send().await?;
    ensure!(answer.status().is_success(), "{}", answer.text().await?);
    Ok(())
}

/// Asks for the list and reads nothing but the status.
async fn ask(ingest: &Process, channel: &str) -> anyhow::Result<(u16, TcpStream)> {
    let mut reader = TcpStream::connect(ingest.address()).await?;
    let request = format!("GET /v1/tasks?limit=500&channel={channel} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    reader.write_all(request.as_bytes()).await?;
    let mut line = [0; 12];
    reader.read_exact(&mut line).await?;
    let status = std::str::from_utf8(&line)?.rsplit(' ').next();
    Ok((status.context("no status")?.parse()?, reader))
}
