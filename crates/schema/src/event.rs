//! `TaskEvent`: something that happened to a task, on its way to whoever waits for it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use posthaste_types::{EventId, EventKind, Task, TaskError, TaskId, TaskState};

use crate::datum::{Body, map_bytes, put_bool, put_int, put_map, put_option, put_str, put_time};
use crate::writers::Kind;
use crate::{DecodeError, SchemaId, WriterSchemas, frame};

/// The value of a record on `results`: the task as it stood after the event, without its payload. The fields beyond
/// the event's own three are those of [`Task`].
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "each field is described in schemas/TaskEvent.avsc and at `Task`"
)]
pub struct TaskEvent {
    pub event_id: EventId,
    pub kind: EventKind,
    pub timestamp: DateTime<Utc>,
    pub task_id: TaskId,
    pub tenant: String,
    pub task_type: String,
    pub queue: String,
    pub key: Option<String>,
    pub channel: Option<String>,
    pub state: TaskState,
    pub run: i32,
    pub attempt: i32,
    pub version: i32,
    pub priority: i16,
    pub tags: BTreeMap<String, String>,
    pub progress: Option<String>,
    pub result: Option<String>,
    pub error: Option<TaskError>,
    pub created_at: DateTime<Utc>,
    pub not_before: Option<DateTime<Utc>>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub traceparent: Option<String>,
}

/// What the fields of fixed size take at most, with the lengths of the others.
const FIXED_BYTES: usize = 192;

impl TaskEvent {
    /// The event that tells of `task` as it stands now.
    pub fn of(task: &Task, event_id: EventId, kind: EventKind, timestamp: DateTime<Utc>) -> Self {
        Self {
            event_id,
            kind,
            timestamp,
            task_id: task.id,
            tenant: task.tenant.clone(),
            task_type: task.task_type.clone(),
            queue: task.queue.clone(),
            key: task.key.clone(),
            channel: task.channel.clone(),
            state: task.state,
            run: task.run,
            attempt: task.attempt,
            version: task.version,
            priority: task.priority,
            tags: task.tags.clone(),
            progress: task.progress.clone(),
            result: task.result.clone(),
            error: task.error.clone(),
            created_at: task.created_at,
            not_before: task.not_before,
            started_at: task.started_at,
            finished_at: task.finished_at,
            traceparent: task.traceparent.clone(),
        }
    }

    /// The value: frame and body.
    pub fn encode(&self, schema_id: SchemaId) -> Vec<u8> {
        let mut out = frame::begin(schema_id, self.body_bytes());
        put_str(&mut out, &self.event_id.to_string());
        put_int(&mut out, kind_index(self.kind));
        put_time(&mut out, self.timestamp);
        put_str(&mut out, &self.task_id.to_string());
        put_str(&mut out, &self.tenant);
        put_str(&mut out, &self.task_type);
        put_str(&mut out, &self.queue);
        put_option(&mut out, self.key.as_deref(), put_str);
        put_option(&mut out, self.channel.as_deref(), put_str);
        put_int(&mut out, state_index(self.state));
        put_int(&mut out, self.run);
        put_int(&mut out, self.attempt);
        put_int(&mut out, self.version);
        put_int(&mut out, self.priority.into());
        put_map(&mut out, &self.tags);
        put_option(&mut out, self.progress.as_deref(), put_str);
        put_option(&mut out, self.result.as_deref(), put_str);
        put_option(&mut out, self.error.as_ref(), put_error);
        put_time(&mut out, self.created_at);
        put_option(&mut out, self.not_before, put_time);
        put_option(&mut out, self.started_at, put_time);
        put_option(&mut out, self.finished_at, put_time);
        put_option(&mut out, self.traceparent.as_deref(), put_str);
        out
    }

    fn body_bytes(&self) -> usize {
        let options = [
            &self.key,
            &self.channel,
            &self.progress,
            &self.result,
            &self.traceparent,
        ];
        let option_bytes: usize = options.into_iter().flatten().map(String::len).sum();
        let error_bytes = self
            .error
            .as_ref()
            .map_or(0, |error| error.code.len() + error.message.len());
        let name_bytes = self.tenant.len() + self.task_type.len() + self.queue.len();
        FIXED_BYTES + name_bytes + option_bytes + error_bytes + map_bytes(&self.tags)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`DecodeError`]; of these [`DecodeError::UnknownSchema`] asks for the schema's text.
    pub fn decode(frame: &[u8], writers: &WriterSchemas) -> Result<Self, DecodeError> {
        let bytes = writers.body(frame, Kind::Event)?;
        let mut body = Body::new(&bytes);
        let event = Self::read(&mut body)?;
        body.end()?;
        Ok(event)
    }

    /// Fields evaluate in the order they are written in, which is the schema's.
    fn read(body: &mut Body<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            event_id: body
                .str()?
                .parse()
                .map_err(|_| DecodeError::Malformed("event_id is not an id"))?,
            kind: symbol(body, &EventKind::ALL, "kind")?,
            timestamp: body.time()?,
            task_id: body
                .str()?
                .parse()
                .map_err(|_| DecodeError::Malformed("task_id is not an id"))?,
            tenant: body.string()?,
            task_type: body.string()?,
            queue: body.string()?,
            key: body.option(Body::string)?,
            channel: body.option(Body::string)?,
            state: symbol(body, &TaskState::ALL, "state")?,
            run: body.int()?,
            attempt: body.int()?,
            version: body.int()?,
            priority: body.priority()?,
            tags: body.map()?,
            progress: body.option(Body::string)?,
            result: body.option(Body::string)?,
            error: body.option(read_error)?,
            created_at: body.time()?,
            not_before: body.option(Body::time)?,
            started_at: body.option(Body::time)?,
            finished_at: body.option(Body::time)?,
            traceparent: body.option(Body::string)?,
        })
    }
}

/// Both enums begin with UNKNOWN; ours follow in the order of their declaration.
const fn kind_index(kind: EventKind) -> i32 {
    kind as i32 + 1
}

const fn state_index(state: TaskState) -> i32 {
    state as i32 + 1
}

/// The enum's symbol; UNKNOWN is what resolution makes of a symbol that this version lacks.
fn symbol<T: Copy>(body: &mut Body<'_>, all: &[T], name: &'static str) -> Result<T, DecodeError> {
    match usize::try_from(body.int()?) {
        Ok(0) => Err(DecodeError::Newer(name)),
        Ok(index) if index <= all.len() => Ok(all[index - 1]),
        _ => Err(DecodeError::Malformed("an enum has no such symbol")),
    }
}

fn put_error(out: &mut Vec<u8>, error: &TaskError) {
    put_str(out, &error.code);
    put_str(out, &error.message);
    put_bool(out, error.retryable);
    put_option(
        out,
        error
            .details
            .as_ref()
            .map(serde_json::Value::to_string)
            .as_deref(),
        put_str,
    );
}

fn read_error(body: &mut Body<'_>) -> Result<TaskError, DecodeError> {
    Ok(TaskError {
        code: body.string()?,
        message: body.string()?,
        retryable: body.bool()?,
        details: body
            .option(Body::str)?
            .map(serde_json::from_str)
            .transpose()
            .map_err(|_| DecodeError::Malformed("an error's details are not JSON"))?,
    })
}
