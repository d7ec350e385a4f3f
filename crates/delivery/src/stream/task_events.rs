//! `GET /v1/tasks/{id}/events`: a task's present state, then its changes, to the end.
//!
//! Its ids are the task's versions, so a reconnect needs the record alone and never old events.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::stream::unfold;
use metrics::Counter;
use posthaste_api::{Problem, TaskView};
use posthaste_http::{Caller, HttpResponse, StreamGrant, empty};
use posthaste_runtime::{Backoff, chain, metric};
use posthaste_types::limits::HEARTBEAT_S;
use posthaste_types::{ErrorCode, EventId, Task, TaskId};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use warp::http::StatusCode;

use crate::stream::chunk::Chunk;
use crate::stream::context::{Context, Opened};
use crate::stream::filter::Filter;
use crate::stream::frame::{self, push_event, push_id};
use crate::stream::hub::{Delivery, Subscription};
use crate::stream::response::event_stream;

/// Begins an id, so that none of `/v1/events` is taken for one of these.
const ID_PREFIX: &str = "v";

/// One open stream.
struct TaskEvents {
    context: Arc<Context>,
    filter: Arc<Filter>,
    task: TaskId,
    subscription: Subscription,
    /// The task's version that was sent last.
    version: i32,
    chunk: Chunk,
    is_ended: bool,
    heartbeat_at: Instant,
    events_sent: Counter,
    opened: Opened,
}

/// Answers with the stream, or with 204 when a client that has seen the end comes back.
///
/// # Errors
/// 404 for an unknown task, 400 for an id that is not of this stream, 403 when a stream token is for another task, 429
/// when the tenant has as many streams open as it may, 503 when no stream can be opened now.
pub(crate) async fn open(
    context: Arc<Context>,
    caller: Caller,
    id: String,
    last_event_id: Option<String>,
) -> Result<HttpResponse, Problem> {
    let not_found = || Problem::new(ErrorCode::NotFound, "there is no such task");
    let task: TaskId = id.parse().map_err(|_| not_found())?;
    let seen = last_event_id
        .filter(|id| !id.is_empty())
        .map(|id| parse_version(&id))
        .transpose()?;
    if let Some(StreamGrant::Task(own)) = caller.grant()
        && *own != task
    {
        let detail = format!("this stream token is for `/v1/tasks/{own}/events` alone");
        return Err(Problem::new(ErrorCode::Forbidden, detail));
    }
    let opened = context.open(&caller)?;
    let filter = Arc::new(Filter {
        task: Some(task),
        ..Filter::of_tenant(caller.tenant())
    });
    // Before the record is read, so that no change falls between the two.
    let subscription = context.hub.subscribe_from_window(Arc::clone(&filter));
    let state = context
        .store
        .task(caller.tenant(), task)
        .await
        .map_err(unavailable)?
        .filter(|task| is_granted(&caller, task))
        .ok_or_else(not_found)?;
    // A version that is still to come was not given by a stream of this task.
    let seen = seen.filter(|version| *version <= state.version);
    if state.state.is_final() && seen == Some(state.version) {
        return Ok(empty(StatusCode::NO_CONTENT));
    }
    let mut events = TaskEvents {
        context,
        filter,
        task,
        subscription,
        version: seen.unwrap_or(0),
        chunk: Chunk::default(),
        is_ended: false,
        heartbeat_at: Instant::now(),
        events_sent: metrics::counter!(metric::EVENTS_SENT),
        opened,
    };
    events.chunk.push_part(frame::opening(None));
    events.push_state(state);
    Ok(event_stream(unfold(events, async |mut events| {
        events.next_chunk().await.map(|chunk| (chunk, events))
    })))
}

/// Whether the caller may see a task of its tenant: one in another channel than a stream token's is as good as none.
fn is_granted(caller: &Caller, task: &Task) -> bool {
    match caller.grant() {
        Some(StreamGrant::Channels(own)) => {
            task.channel.as_ref().is_some_and(|channel| own.contains(channel))
        }
        Some(StreamGrant::Task(_)) | None => true,
    }
}

fn unavailable(error: posthaste_store::Error) -> Problem {
    // A database that is away is complained of elsewhere; a line for each request would drown that.
    tracing::debug!(error = %chain(&error), "a task cannot be read for its stream");
    Problem::new(
        ErrorCode::Unavailable,
        "the task cannot be read now; try again in a moment",
    )
}

fn parse_version(id: &str) -> Result<i32, Problem> {
    let version = id.strip_prefix(ID_PREFIX).and_then(|digits| digits.parse().ok());
    version.ok_or_else(|| {
        Problem::new(
            ErrorCode::InvalidParameter,
            "`Last-Event-ID` is not an id that a task's stream has given",
        )
    })
}

impl TaskEvents {
    /// What to send next; none when the task has ended, the process is stopping, or the caller's key is dead.
    async fn next_chunk(&mut self) -> Option<Bytes> {
        if self.chunk.is_empty() {
            if self.is_ended {
                return None;
            }
            let heartbeat_at = self.heartbeat_at;
            let ended = self.opened.ended();
            tokio::select! {
                biased;
                () = ended => return None,
                () = self.fill() => {}
                () = tokio::time::sleep_until(heartbeat_at) => {}
            }
        }
        self.heartbeat_at = Instant::now() + Duration::from_secs(HEARTBEAT_S);
        if self.chunk.is_empty() {
            return Some(frame::heartbeat(None));
        }
        let (chunk, event_count) = self.chunk.take();
        self.events_sent.increment(event_count);
        Some(chunk)
    }

    /// Completes when there is something to send; safe to give up and call again.
    async fn fill(&mut self) {
        while self.chunk.is_empty() {
            self.subscription.woken().await;
            match self.subscription.read() {
                Ok(deliveries) => deliveries.iter().for_each(|delivery| self.push_change(delivery)),
                // Too slow for the window: the record knows what became of the task.
                Err(_) => self.look_again().await,
            }
        }
    }

    async fn look_again(&mut self) {
        let mut backoff = Backoff::dependency();
        loop {
            self.subscription = self.context.hub.subscribe_from_window(Arc::clone(&self.filter));
            match self.context.store.task(&self.filter.tenant, self.task).await {
                Ok(Some(state)) => return self.push_state(state),
                // Retention has taken it.
                Ok(None) => {
                    self.is_ended = true;
                    return self
                        .chunk
                        .push_part(Bytes::from_static(frame::HEARTBEAT.as_bytes()));
                }
                Err(error) => tracing::debug!(%error, "a task's stream waits for the database"),
            }
            tokio::time::sleep(backoff.next_wait()).await;
        }
    }

    fn push_state(&mut self, task: Task) {
        self.is_ended = task.state.is_final();
        if task.version <= self.version {
            return;
        }
        self.version = task.version;
        let state = State::of(task);
        let mut text = id_line(self.version);
        push_event(&mut text, state.kind, &state);
        self.chunk.push(Bytes::from(text));
    }

    fn push_change(&mut self, delivery: &Delivery) {
        let entry = &delivery.entry;
        if entry.version <= self.version || self.is_ended {
            return;
        }
        self.version = entry.version;
        self.is_ended = entry.kind.is_final();
        self.chunk.push_part(Bytes::from(id_line(self.version)));
        self.chunk.push(entry.frame.after_id());
    }
}

fn id_line(version: i32) -> String {
    let mut text = String::new();
    push_id(&mut text, &format!("{ID_PREFIX}{version}"));
    text
}

/// A task's present state in an event's shape.
#[derive(Serialize)]
struct State {
    id: EventId,
    #[serde(rename = "type")]
    kind: &'static str,
    timestamp: DateTime<Utc>,
    data: TaskView,
}

impl State {
    fn of(task: Task) -> Self {
        let id = state_id(task.id, task.version);
        // The states that only the record shows publish no event, hence have no name in its vocabulary.
        let kind = task
            .state
            .entry_event()
            .map_or("task.state", |kind| kind.as_str());
        let timestamp = task.finished_at.or(task.started_at).unwrap_or(task.created_at);
        Self {
            id,
            kind,
            timestamp,
            data: TaskView {
                payload: None,
                ..TaskView::from(task)
            },
        }
    }
}

/// The same id whenever the same version of a task is told, so that duplicates can be discarded. It is not the id of the
/// event that the change published, which the record does not keep.
fn state_id(task: TaskId, version: i32) -> EventId {
    let digest = Sha256::new()
        .chain_update(task.uuid().as_bytes())
        .chain_update(version.to_be_bytes())
        .finalize();
    let half = <[u8; 16]>::try_from(&digest[..16]).expect("a SHA-256 has 32 bytes");
    EventId::from_uuid(uuid::Builder::from_custom_bytes(half).into_uuid())
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn only_ids_of_a_tasks_stream_are_taken() {
        assert_eq!(parse_version("v12").unwrap(), 12);
        for id in ["12", "v", "vv1", "AQGAAA"] {
            assert_eq!(parse_version(id).unwrap_err().code, "invalid_parameter");
        }
    }

    #[test]
    fn a_states_id_depends_on_task_and_version_alone() {
        let task = |number| TaskId::from_uuid(Uuid::from_u128(number));
        assert_eq!(state_id(task(1), 2), state_id(task(1), 2));
        assert_ne!(state_id(task(1), 2), state_id(task(1), 3));
        assert_ne!(state_id(task(1), 2), state_id(task(2), 2));
    }
}
