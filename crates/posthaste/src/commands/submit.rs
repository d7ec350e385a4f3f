//! `posthaste submit`.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::time::Duration;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::Args;
use posthaste_client::{Client, Error, SubmitRequest};
use posthaste_types::{RetryPolicy, TaskId};
use serde_json::value::RawValue;

use super::view;
use crate::cli::Target;
use crate::exit::{Outcome, Usage};
use crate::output;
use crate::settings::{key_value, time};

pub(crate) const EXAMPLES: &str = "\
Examples:
  posthaste submit echo --payload '{\"n\":1}'
  posthaste submit text.stats --payload '{\"text\":\"to be or not to be\"}' --wait
  posthaste submit report.build --payload @report.json --key customer-7 --channel reports --delay 60
  jq -c . order.json | posthaste submit order.pack --payload @- --idempotency-key order-4711";

/// How far a task is that was not waited for any longer, and how to go on.
async fn tell_state(client: &Client, id: TaskId, target: &Target) -> anyhow::Result<()> {
    // Who submitted it needs its id above all.
    match client.get(id).await {
        Ok(task) if target.json => output::json(&task)?,
        Ok(task) => output::note(format_args!("{id}  {}  {}", task.state, view::outcome(&task))),
        Err(_) => output::note(id),
    }
    output::note(format_args!(
        "it goes on: `posthaste watch {id}` waits for its end, `posthaste tasks show {id}` shows its history"
    ));
    Ok(())
}

/// What to submit.
#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// Task type
    #[arg(value_name = "TYPE")]
    task_type: String,

    /// Payload, any JSON; `@FILE` reads it from a file, `@-` from standard input
    #[arg(long, value_name = "JSON|@FILE")]
    payload: Option<String>,

    /// Queue
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,

    /// Ordering key: tasks of one key run one after another
    #[arg(long, value_name = "KEY")]
    key: Option<String>,

    /// Whom the result is for
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,

    /// 0 to 9, higher first
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i64>,

    /// Not before that time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time, conflicts_with = "delay")]
    not_before: Option<DateTime<Utc>>,

    /// Not before so many seconds have passed
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    delay: Option<f64>,

    /// Not run after that time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    deadline: Option<DateTime<Utc>>,

    /// One attempt's limit, seconds
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    timeout: Option<f64>,

    /// Attempts in all
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    max_attempts: Option<u32>,

    /// A tag; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = key_value)]
    tags: Vec<(String, String)>,

    /// Makes it safe to submit again: one task for one key
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,

    /// Wait for the end and show the task; at most so many seconds
    #[arg(long, value_name = "S", num_args = 0..=1, require_equals = true, default_missing_value = "300")]
    wait: Option<u64>,
}

impl Submit {
    pub(crate) async fn run(&self, target: &Target) -> anyhow::Result<Outcome> {
        let client = target.client()?;
        let accepted = client
            .submit(&self.request()?, self.idempotency_key.as_deref())
            .await?;
        let Some(wait_s) = self.wait else {
            if target.json {
                output::json(&accepted)?;
            } else {
                output::line(format_args!("{}  {}", accepted.id, accepted.state))?;
            }
            return Ok(Outcome::Done);
        };
        if !target.json {
            output::note(format_args!("{}  waiting", accepted.id));
        }
        let waited = client.wait(accepted.id, Duration::from_secs(wait_s)).await;
        if let Err(Error::TimedOut) = waited {
            tell_state(&client, accepted.id, target).await?;
        }
        let task = waited?;
        if target.json {
            output::json(&task)?;
        } else {
            output::line(view::whole(&task))?;
        }
        Ok(Outcome::of(task.state))
    }

    fn request(&self) -> anyhow::Result<SubmitRequest> {
        let tags: BTreeMap<String, String> = self.tags.iter().cloned().collect();
        let retry = self.max_attempts.map(|max_attempts| RetryPolicy {
            max_attempts,
            ..RetryPolicy::default()
        });
        Ok(SubmitRequest {
            task_type: self.task_type.clone(),
            payload: self.payload()?,
            queue: self.queue.clone(),
            key: self.key.clone(),
            channel: self.channel.clone(),
            priority: self.priority,
            not_before: self.not_before,
            delay_s: self.delay,
            deadline: self.deadline,
            timeout_s: self.timeout,
            retry,
            tags: Some(tags).filter(|tags| !tags.is_empty()),
        })
    }

    fn payload(&self) -> anyhow::Result<Option<Box<RawValue>>> {
        let Some(given) = &self.payload else {
            return Ok(None);
        };
        // No JSON begins with an at sign.
        let text = match given.strip_prefix('@') {
            None => given.clone(),
            Some("-") => {
                let mut text = String::new();
                std::io::stdin()
                    .read_to_string(&mut text)
                    .context("cannot read the payload")?;
                text
            }
            Some(path) => {
                std::fs::read_to_string(path).with_context(|| Usage(format!("cannot read {path}")))?
            }
        };
        serde_json::from_str(text.trim())
            .map(Some)
            .context(Usage("the payload is not JSON".to_owned()))
    }
}
