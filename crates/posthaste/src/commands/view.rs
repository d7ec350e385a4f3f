//! How tasks and events look to a person.

use chrono::{DateTime, SecondsFormat, Utc};
use posthaste_client::TaskView;
use posthaste_types::TaskError;

/// A time to the millisecond.
pub(super) fn time(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A number of bytes to three digits or so.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    let mut size = count as f64 / 1024.0;
    let mut units = UNITS.into_iter();
    let mut unit = units.next().unwrap_or_default();
    while size >= 1024.0
        && let Some(larger) = units.next()
    {
        size /= 1024.0;
        unit = larger;
    }
    format!("{size:.1} {unit}")
}

pub(super) fn error(error: &TaskError) -> String {
    format!("{}: {}", error.code, error.message)
}

/// What came of a task, in a few words: its result or its error.
pub(super) fn outcome(task: &TaskView) -> String {
    const CHARACTERS_MAX: usize = 120;
    let text = match (&task.result, &task.error) {
        (Some(result), _) => result.get().to_owned(),
        (None, Some(failure)) => error(failure),
        (None, None) => task
            .progress
            .as_ref()
            .map(|progress| progress.get().to_owned())
            .unwrap_or_default(),
    };
    match text.char_indices().nth(CHARACTERS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Everything of a task, a line each.
pub(super) fn whole(task: &TaskView) -> String {
    let optional = |value: &Option<String>| value.clone().unwrap_or_default();
    let at = |value: Option<DateTime<Utc>>| value.map(time).unwrap_or_default();
    let raw = |value: &Option<Box<serde_json::value::RawValue>>| {
        value
            .as_ref()
            .map(|value| value.get().to_owned())
            .unwrap_or_default()
    };
    let tags = task
        .tags
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join(" ");
    let rows = [
        ("id", task.id.to_string()),
        ("type", task.task_type.clone()),
        ("state", task.state.to_string()),
        ("queue", task.queue.clone()),
        ("key", optional(&task.key)),
        ("channel", optional(&task.channel)),
        ("priority", task.priority.to_string()),
        ("run", task.run.to_string()),
        ("attempt", task.attempt.to_string()),
        ("tags", tags),
        ("created", time(task.created_at)),
        ("not before", at(task.not_before)),
        ("started", at(task.started_at)),
        ("finished", at(task.finished_at)),
        ("payload", raw(&task.payload)),
        ("progress", raw(&task.progress)),
        ("result", raw(&task.result)),
        ("error", task.error.as_ref().map(error).unwrap_or_default()),
    ];
    let lines = rows
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name:10}  {value}"));
    lines.collect::<Vec<_>>().join("\n")
}
