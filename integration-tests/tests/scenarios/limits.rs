//! A tenant's limits change while processes run, and what passes them is told when to come again.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use serde_json::json;

use crate::keys::{Answer, Caller, create_key, set_limits};
use crate::load::channel;
use crate::process::{Process, free_port, migrate};
use crate::world::{World, eventually};

/// More than the burst that the scenario allows.
const REQUEST_COUNT: usize = 20;
const OPEN_TASK_COUNT_MAX: usize = 30;

struct Limited {
    caller: Caller,
    neighbour: Caller,
    channel: String,
}

pub(crate) async fn limits_change_while_processes_run(world: Arc<World>) -> anyhow::Result<()> {
    migrate(&world).await?;
    let ingest = Process::role_with(&world, "ingest", free_port()?, &["http.access=keys"]).await?;
    let limited = Limited {
        caller: Caller::new(
            &world,
            &ingest.url,
            &create_key(&world, "limited", "admin").await?,
        ),
        neighbour: Caller::new(
            &world,
            &ingest.url,
            &create_key(&world, "neighbour", "admin").await?,
        ),
        channel: channel("limits"),
    };
    limited.caller.let_in().await?;
    limited.neighbour.let_in().await?;
    limited.takes_all("before any limit").await?;

    let rate = ["--tasks-per-s", "0.1", "--task-burst", "5"];
    set_limits(&world, "limited", &rate).await?;
    limited.is_told_to_wait().await?;
    limited.cannot_pass_by_a_batch().await?;
    set_limits(&world, "limited", &["--no-tasks-per-s", "--no-task-burst"]).await?;
    limited.takes_all("after the limit was taken away").await?;

    let requests = ["--requests-per-s", "0.5", "--request-burst", "5"];
    set_limits(&world, "limited", &requests).await?;
    limited.is_told_to_wait().await?;
    set_limits(&world, "limited", &["--no-requests-per-s", "--no-request-burst"]).await?;
    limited.takes_all("without a rate of requests").await?;

    let open = OPEN_TASK_COUNT_MAX.to_string();
    limited.cancel_all().await?;
    set_limits(&world, "limited", &["--open-tasks", &open]).await?;
    limited.reaches_its_open_tasks().await?;
    limited.cancel_all().await?;
    limited.takes_all("after what was open was cancelled").await?;
    ingest.stop().await
}

impl Limited {
    async fn submit(&self) -> anyhow::Result<Answer> {
        let body = json!({"type": "echo", "channel": self.channel});
        let answer = self.caller.ask("POST", "/v1/tasks", Some(&body)).await?;
        ensure!(
            [202, 429].contains(&answer.status),
            "{} {}",
            answer.status,
            answer.text
        );
        Ok(answer)
    }

    /// Submits until one is refused; none when all are taken.
    async fn refusal(&self) -> anyhow::Result<Option<Answer>> {
        for _ in 0..REQUEST_COUNT {
            let answer = self.submit().await?;
            if answer.status == 429 {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    async fn takes_all(&self, when: &str) -> anyhow::Result<()> {
        eventually(&format!("all is taken {when}"), async || {
            let refusal = self.refusal().await?;
            ensure!(refusal.is_none(), "{refusal:?}");
            Ok(())
        })
        .await
    }

    /// 429 with the headers that tell how much and when, and no word of it to the neighbour.
    async fn is_told_to_wait(&self) -> anyhow::Result<()> {
        eventually("the limit is in force", async || {
            self.refusal().await?.context("a 429")?;
            Ok(())
        })
        .await?;
        let refused = self.refusal().await?.context("a 429")?;
        let wait_s: u64 = refused.header("retry-after").context("Retry-After")?.parse()?;
        ensure!((1..=60).contains(&wait_s), "Retry-After: {wait_s}");
        for name in ["ratelimit", "ratelimit-policy"] {
            ensure!(refused.header(name).is_some(), "{name} of {refused:?}");
        }
        ensure!(refused.json()?["code"] == "too_many_requests", "{}", refused.text);
        self.neighbour.submit(&self.channel).await?;
        Ok(())
    }

    async fn cannot_pass_by_a_batch(&self) -> anyhow::Result<()> {
        let tasks = vec![json!({"type": "echo"}); REQUEST_COUNT];
        let batch = json!({"tasks": tasks});
        let answer = self.caller.ask("POST", "/v1/tasks/batch", Some(&batch)).await?;
        ensure!(
            [422, 429].contains(&answer.status),
            "{} {}",
            answer.status,
            answer.text
        );
        Ok(())
    }

    /// The bound is looked at about once a second, so it is passed by a little at most.
    async fn reaches_its_open_tasks(&self) -> anyhow::Result<()> {
        eventually("the bound of open tasks refuses", async || {
            let refused = self.refusal().await?.context("a 429")?;
            ensure!(refused.header("retry-after").is_some(), "{refused:?}");
            Ok(())
        })
        .await
    }

    async fn cancel_all(&self) -> anyhow::Result<()> {
        loop {
            let path = format!("/v1/tasks?state=INIT&limit=500&channel={}", self.channel);
            let page = self.caller.expect(200, "GET", &path, None).await?;
            let tasks = page["tasks"].as_array().context("tasks")?;
            if tasks.is_empty() {
                return Ok(());
            }
            for task in tasks {
                let path = format!("/v1/tasks/{}/cancel", task["id"].as_str().context("an id")?);
                self.caller.expect(202, "POST", &path, None).await?;
            }
        }
    }
}
