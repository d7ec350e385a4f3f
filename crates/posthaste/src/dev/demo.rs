//! The first task of a stranger: submitted, waited for and shown.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use posthaste_client::{Client, SubmitRequest};
use serde_json::value::RawValue;

use crate::exit::Outcome;
use crate::output;

const TIMEOUT: Duration = Duration::from_secs(60);

const TEXT: &str = "It is not that we have a short time to live, but that we waste a lot of it. Life is long enough, \
                    and a sufficiently generous amount has been given to us for the highest achievements if it were \
                    all well invested.";

pub(super) async fn run(client: Client, json: bool) -> anyhow::Result<Outcome> {
    let payload = serde_json::json!({ "text": TEXT }).to_string();
    let task = SubmitRequest {
        task_type: "text.stats".to_owned(),
        payload: Some(RawValue::from_string(payload).context("the demo's payload is JSON")?),
        channel: Some("demo".to_owned()),
        ..SubmitRequest::default()
    };
    let start = Instant::now();
    let accepted = client.submit(&task, None).await?;
    let accepted_after = start.elapsed();
    let done = client.wait(accepted.id, TIMEOUT).await?;
    if json {
        output::json(&done)?;
        return Ok(Outcome::of(done.state));
    }
    let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
    output::line(format_args!("demo: POST /v1/tasks, type {}", done.task_type))?;
    output::line(format_args!(
        "demo: 202 after {:.1} ms, {}",
        ms(accepted_after),
        accepted.id
    ))?;
    output::line(format_args!(
        "demo: {} after {:.1} ms",
        done.state,
        ms(start.elapsed())
    ))?;
    let result = done
        .result
        .as_ref()
        .map(|result| serde_json::from_str::<serde_json::Value>(result.get()));
    if let Some(result) = result.transpose().context("the result is not JSON")? {
        output::line(format_args!("demo: {result}"))?;
    }
    if let Some(error) = &done.error {
        output::line(format_args!("{}: {}", error.code, error.message))?;
    }
    Ok(Outcome::of(done.state))
}
