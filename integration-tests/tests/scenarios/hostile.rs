//! Whatever is sent, each request gets its documented answer, and the process goes on with bounded memory, without having
//! logged any secret that it was sent.
//!
//! The tables are text, one request a line: `STATUS CODE | METHOD PATH | header: value | … | >body`.
//!
//! - `-` for the code: the answer is no problem document. Of several statuses, separated by commas, one must come;
//!   `closed` is a connection that ends without an answer.
//! - A field that begins with `=` is the whole request, as it goes over the wire, to the end of the line.
//! - `¬` is CR LF; `«…»` stands for bytes: an even number of hexadecimal digits, or else text; `*N` repeats them.
//! - `$name$` is a secret of the run. What is not given of a head is made up: host, content type, length.

mod readers;
mod secrets;
mod table;
mod wire;

use std::sync::Arc;

use anyhow::ensure;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use posthaste_types::limits::BODIES_HELD_BYTES_MAX;

pub(crate) use readers::answers_that_nobody_takes_are_bounded;

use crate::process::Process;
use crate::world::World;

use table::Case;
use wire::Answer;

/// Requests under way at once.
const WIDTH: usize = 8;
/// What a process may grow by while it is sent all of this, bytes: the bodies that it may hold, and as much again for what
/// is made of them and what an allocator keeps.
const GROWTH_BYTES_MAX: u64 = 2 * BODIES_HELD_BYTES_MAX as u64;

const TABLES: [(&str, &str); 5] = [
    ("bodies", include_str!("hostile/bodies.txt")),
    ("headers", include_str!("hostile/headers.txt")),
    ("paths", include_str!("hostile/paths.txt")),
    ("streams", include_str!("hostile/streams.txt")),
    ("endpoints", include_str!("hostile/endpoints.txt")),
];

pub(crate) async fn hostile_requests_get_their_documented_answers(world: Arc<World>) -> anyhow::Result<()> {
    let process = Process::whole_with(
        &world,
        &[
            "log.level=debug",
            "delivery.allow_private_addresses=false",
            "delivery.allow_http=false",
        ],
    )
    .await?;
    let memory = process.memory_peak_bytes()?;
    let mut wrong = Vec::new();
    for (name, text) in TABLES {
        let cases = table::read(name, text, &[])?;
        abandon_all(&process, &cases).await;
        wrong.extend(ask_all(&process, cases).await);
        assert_serves(&world, &process, None).await?;
    }
    assert_none(&wrong)?;
    let growth = process.memory_peak_bytes()?.saturating_sub(memory);
    ensure!(growth < GROWTH_BYTES_MAX, "grew by {growth} bytes");
    process.stop().await
}

pub(crate) async fn hostile_callers_get_their_documented_answers(world: Arc<World>) -> anyhow::Result<()> {
    let process = Process::whole_with(&world, &["http.access=keys", "log.level=debug"]).await?;
    let secrets = secrets::of_all_kinds(&world, &process).await?;
    let cases = table::read("keys", include_str!("hostile/keys.txt"), &secrets.by_name)?;
    abandon_all(&process, &cases).await;
    assert_none(&ask_all(&process, cases).await)?;
    assert_serves(&world, &process, Some(&secrets.submit)).await?;
    process.stop().await
}

/// Sends every case; gives those that were answered otherwise than the table says.
async fn ask_all(process: &Process, cases: Vec<Case>) -> Vec<String> {
    let address = process.address();
    futures_util::stream::iter(cases)
        .map(async |case| {
            let answer = wire::exchange(&address, &case.request).await;
            let error = match answer {
                Ok(answer) => judge(&case, &answer).err()?,
                Err(error) => error,
            };
            Some(format!("{}: {error}", case.line))
        })
        .buffer_unordered(WIDTH)
        .filter_map(std::future::ready)
        .collect()
        .await
}

fn assert_none(wrong: &[String]) -> anyhow::Result<()> {
    let (count, lines) = (wrong.len(), wrong.join("\n"));
    ensure!(wrong.is_empty(), "{count} answers are wrong:\n{lines}");
    Ok(())
}

/// Sends the first half of every case and goes away.
async fn abandon_all(process: &Process, cases: &[Case]) {
    let address = process.address();
    futures_util::stream::iter(cases)
        .for_each_concurrent(WIDTH, async |case| {
            wire::abandon(&address, &case.request[..case.request.len() / 2]).await;
        })
        .await;
}

fn judge(case: &Case, answer: &Answer) -> anyhow::Result<()> {
    let expected = &case.expected;
    ensure!(
        expected.statuses.contains(&answer.status),
        "{:?} {}",
        answer.status,
        String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)])
    );
    let Some(status) = answer.status else {
        return Ok(());
    };
    let is_problem = answer.content_type.as_deref() == Some("application/problem+json");
    let Some(code) = expected.code else {
        ensure!(!is_problem, "a problem where none is documented");
        return Ok(());
    };
    ensure!(is_problem, "{:?} is no problem", answer.content_type);
    let problem: Value = serde_json::from_slice(&answer.body)?;
    ensure!(
        problem["code"] == code && problem["status"] == status,
        "{problem}"
    );
    ensure!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| !detail.is_empty()),
        "{problem}"
    );
    // What was sent is not sent back at length.
    ensure!(answer.body.len() < 16 * 1024, "{} bytes", answer.body.len());
    Ok(())
}

/// It is alive, and takes what is good.
async fn assert_serves(world: &World, process: &Process, key: Option<&str>) -> anyhow::Result<()> {
    let health = world.http.get(format!("{}/healthz", process.url)).send().await?;
    ensure!(health.status() == 200, "/healthz answers {}", health.status());
    let mut request = world
        .http
        .post(format!("{}/v1/tasks", process.url))
        .json(&json!({"type": "echo", "channel": "hostile"}));
    if let Some(key) = key {
        request = request.bearer_auth(key);
    }
    let answer = request.send().await?;
    ensure!(answer.status() == 202, "{}", answer.text().await?);
    Ok(())
}
