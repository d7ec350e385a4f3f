//! `posthaste tasks`.

use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use posthaste_client::{Client, HistoryPage, ListFilter, TaskView};
use posthaste_types::{TaskId, TaskState};

use super::view;
use crate::cli::Target;
use crate::exit::Outcome;
use crate::output;
use crate::settings::{key_value, time};

/// What to do with tasks.
#[derive(Debug, Subcommand)]
pub(crate) enum Tasks {
    /// List tasks, newest first
    #[command(
        after_help = "Examples:\n  posthaste tasks list --state FAILED --type report.build\n  posthaste tasks list --tag customer=7 --limit 500 --json"
    )]
    List(Box<List>),
    /// Show a task with its history
    #[command(after_help = "Example:\n  posthaste tasks show task_01h2e8kqvbfwea724h75qc655w")]
    Show {
        /// The task's id
        id: TaskId,
    },
    /// Cancel a task that has not ended
    #[command(after_help = "Example:\n  posthaste tasks cancel task_01h2e8kqvbfwea724h75qc655w")]
    Cancel {
        /// The task's id
        id: TaskId,
    },
    /// Run a task that has ended once more
    #[command(after_help = "Example:\n  posthaste tasks retry task_01h2e8kqvbfwea724h75qc655w")]
    Retry {
        /// The task's id
        id: TaskId,
    },
}

/// Which tasks to list.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// SCHEDULED, INIT, RUNNING, RETRYING, DONE, FAILED, CANCELLED or EXPIRED
    #[arg(long)]
    state: Option<TaskState>,
    /// Task type
    #[arg(long = "type", value_name = "TYPE")]
    task_type: Option<String>,
    /// Queue
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,
    /// Channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    /// Ordering key
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// A tag that the task must have; may be repeated
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = key_value)]
    tags: Vec<(String, String)>,
    /// Submitted then or later (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    created_after: Option<DateTime<Utc>>,
    /// Submitted before (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = time)]
    created_before: Option<DateTime<Utc>>,
    /// Tasks on the page
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    limit: Option<usize>,
    /// Where the page before ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl Tasks {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Outcome> {
        let client = target.client()?;
        match self {
            Self::List(list) => list.run(&client, target).await?,
            Self::Show { id } => {
                let task = client.get(id).await?;
                let history = client.history(id).await?;
                show(&task, &history, target)?;
            }
            Self::Cancel { id } => changed(&client.cancel(id).await?, target)?,
            Self::Retry { id } => changed(&client.rerun(id).await?, target)?,
        }
        Ok(Outcome::Done)
    }
}

impl List {
    async fn run(self, client: &Client, target: &Target) -> anyhow::Result<()> {
        let filter = ListFilter {
            state: self.state,
            task_type: self.task_type,
            queue: self.queue,
            channel: self.channel,
            key: self.key,
            tags: self.tags.into_iter().collect(),
            created_after: self.created_after,
            created_before: self.created_before,
            limit: self.limit,
            cursor: self.cursor,
        };
        let page = client.list(&filter).await?;
        if target.json {
            return output::json(&page);
        }
        let rows: Vec<_> = page.tasks.iter().map(row).collect();
        output::table(["ID", "STATE", "TYPE", "QUEUE", "CREATED", "OUTCOME"], &rows)?;
        if let Some(next) = page.next {
            output::note(format_args!("more with --cursor {next}"));
        }
        Ok(())
    }
}

fn row(task: &TaskView) -> [String; 6] {
    [
        task.id.to_string(),
        task.state.to_string(),
        task.task_type.clone(),
        task.queue.clone(),
        view::time(task.created_at),
        view::outcome(task),
    ]
}

fn changed(task: &TaskView, target: &Target) -> anyhow::Result<()> {
    if target.json {
        return output::json(task);
    }
    Ok(output::line(format_args!("{}  {}", task.id, task.state))?)
}

fn show(task: &TaskView, history: &HistoryPage, target: &Target) -> anyhow::Result<()> {
    if target.json {
        return output::json(
            &serde_json::json!({ "task": task, "history": history.history, "webhooks": history.webhooks }),
        );
    }
    output::line(view::whole(task))?;
    output::line("")?;
    let rows: Vec<_> = history
        .history
        .iter()
        .map(|entry| {
            let note = entry
                .error
                .as_ref()
                .map(view::error)
                .or_else(|| entry.note.clone())
                .unwrap_or_default();
            let worker = entry.worker.clone().unwrap_or_default();
            [
                view::time(entry.at),
                entry.state.to_string(),
                entry.run.to_string(),
                entry.attempt.to_string(),
                worker,
                note,
            ]
        })
        .collect();
    output::table(["AT", "STATE", "RUN", "ATTEMPT", "WORKER", "NOTE"], &rows)?;
    if !history.webhooks.is_empty() {
        output::line("")?;
        let rows: Vec<_> = history
            .webhooks
            .iter()
            .map(|attempt| {
                let status = attempt
                    .http_status
                    .map(|status| status.to_string())
                    .unwrap_or_default();
                [
                    view::time(attempt.at),
                    attempt.status.clone(),
                    status,
                    attempt.endpoint.clone(),
                    attempt.event.clone(),
                ]
            })
            .collect();
        output::table(["AT", "WEBHOOK", "HTTP", "ENDPOINT", "EVENT"], &rows)?;
    }
    Ok(())
}
