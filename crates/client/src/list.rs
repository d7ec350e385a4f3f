//! What a list of tasks is narrowed to.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use posthaste_types::TaskState;

/// Filters of a list; what is absent does not narrow it.
#[derive(Debug, Clone, Default)]
pub struct ListFilter {
    /// Where the task stands.
    pub state: Option<TaskState>,
    /// Task type.
    pub task_type: Option<String>,
    /// Queue.
    pub queue: Option<String>,
    /// Channel.
    pub channel: Option<String>,
    /// Ordering key.
    pub key: Option<String>,
    /// Tags that the task must have.
    pub tags: BTreeMap<String, String>,
    /// Submitted then or later.
    pub created_after: Option<DateTime<Utc>>,
    /// Submitted before.
    pub created_before: Option<DateTime<Utc>>,
    /// Tasks on the page; absent means the server's choice.
    pub limit: Option<usize>,
    /// `next` of the page before.
    pub cursor: Option<String>,
}

impl ListFilter {
    /// As query parameters.
    pub(crate) fn pairs(&self) -> Vec<(String, String)> {
        let time = |time: &DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Micros, true);
        let plain = [
            ("state", self.state.map(|state| state.to_string())),
            ("type", self.task_type.clone()),
            ("queue", self.queue.clone()),
            ("channel", self.channel.clone()),
            ("key", self.key.clone()),
            ("created_after", self.created_after.as_ref().map(time)),
            ("created_before", self.created_before.as_ref().map(time)),
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("cursor", self.cursor.clone()),
        ];
        let plain = plain
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        plain
            .chain(
                self.tags
                    .iter()
                    .map(|(name, value)| (format!("tag.{name}"), value.clone())),
            )
            .collect()
    }
}
