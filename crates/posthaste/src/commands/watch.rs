//! `posthaste watch`.

use clap::Args;
use posthaste_client::{Event, EventFilter, EventStream, Next};
use posthaste_types::{EventKind, TaskId};

use super::view;
use crate::cli::Target;
use crate::exit::Outcome;
use crate::output;

pub(crate) const EXAMPLES: &str = "\
Examples:
  posthaste watch                                everything from now on
  posthaste watch --channel orders --event task.done,task.failed
  posthaste watch --cursor earliest --json       everything that is kept, one event a line
  posthaste watch --json --cursor CURSOR         goes on after the event that had this `cursor`
  posthaste watch task_01h2e8kqvbfwea724h75qc655w";

/// What to follow.
#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// One task, to its end; the exit code tells how it ended
    #[arg(value_name = "TASK", conflicts_with_all = ["channel", "task_type", "events", "cursor"])]
    task: Option<TaskId>,

    /// Only results for that channel
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,

    /// Only tasks of that type
    #[arg(long = "type", value_name = "TYPE")]
    task_type: Option<String>,

    /// Only that kind of event; may be repeated
    #[arg(long = "event", value_name = "KIND", value_delimiter = ',')]
    events: Vec<EventKind>,

    /// Where to begin: `earliest`, `latest`, or after an event: what `--json` printed as its `cursor`, the `id` of
    /// its frame on the stream
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl Watch {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Outcome> {
        let client = target.client()?;
        let stream = match self.task {
            Some(task) => client.task_events(task).await?,
            None => {
                let filter = EventFilter {
                    channel: self.channel,
                    task_type: self.task_type,
                    kinds: self.events,
                    cursor: self.cursor,
                };
                client.events(&filter).await?
            }
        };
        follow(stream, target, self.task.is_some()).await
    }
}

/// Shows events until the stream ends, or until the one task's final event.
async fn follow(mut stream: EventStream, target: &Target, one_task: bool) -> anyhow::Result<Outcome> {
    while let Some(next) = stream.next().await? {
        match next {
            Next::Event(event) => {
                show(&event, target, one_task)?;
                if one_task && event.envelope.kind.is_final() {
                    return Ok(Outcome::of(event.envelope.data.state));
                }
            }
            Next::Reset { cursor } => output::note(format_args!(
                "events before this were no longer kept and may have been missed; going on from cursor {cursor}"
            )),
            Next::Lost => output::note("the server is away; the stream goes on when it is back"),
            Next::Back => output::note("the server is back"),
            Next::Other(_, data) if target.json => output::json_text(&data)?,
            Next::Other(name, _) => output::line(name)?,
        }
    }
    Ok(Outcome::Done)
}

/// In JSON with the cursor that goes on after it; a task's stream has none, as it begins with the present state.
fn show(event: &Event, target: &Target, one_task: bool) -> std::io::Result<()> {
    if target.json {
        let cursor = Some(&event.cursor).filter(|cursor| !one_task && !cursor.is_empty());
        return match cursor {
            Some(cursor) => output::json_text(&with_cursor(cursor, &event.text)),
            None => output::json_text(&event.text),
        };
    }
    let (envelope, task) = (&event.envelope, &event.envelope.data);
    output::line(format_args!(
        "{}  {:14}  {}  {}  {}",
        view::time(envelope.timestamp),
        envelope.kind,
        task.id,
        task.task_type,
        view::outcome(task)
    ))
}

/// The event with a member before those that it has. Its own text stays: parsed and written anew, numbers would change.
fn with_cursor(cursor: &str, event: &str) -> String {
    match event.trim_start().strip_prefix('{') {
        Some(members) => format!("{{\"cursor\":{},{members}", serde_json::Value::from(cursor)),
        None => event.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_tells_where_to_go_on_and_keeps_its_text() {
        let text = with_cursor("v1:\"7", r#"{"id":"evt","data":{"n":1.000000000000000000001}}"#);
        assert_eq!(
            text,
            r#"{"cursor":"v1:\"7","id":"evt","data":{"n":1.000000000000000000001}}"#
        );
    }
}
