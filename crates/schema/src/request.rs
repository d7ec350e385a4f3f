//! `TaskRequested`: a task that is ready to run, on its way to a worker.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use posthaste_types::{RetryPolicy, Task, TaskId};

use crate::datum::{Body, map_bytes, put_double, put_int, put_long, put_map, put_option, put_str, put_time};
use crate::writers::Kind;
use crate::{DecodeError, SchemaId, WriterSchemas, frame};

/// The value of a record on `tasks.<queue>`; the fields are those of [`Task`].
#[derive(Debug, Clone, PartialEq)]
#[expect(
    missing_docs,
    reason = "each field is described in schemas/TaskRequested.avsc and at `Task`"
)]
pub struct TaskRequested {
    pub task_id: TaskId,
    pub tenant: String,
    pub task_type: String,
    pub queue: String,
    pub key: Option<String>,
    pub channel: Option<String>,
    pub payload: String,
    pub priority: i16,
    pub run: i32,
    pub not_before: Option<DateTime<Utc>>,
    pub deadline: Option<DateTime<Utc>>,
    pub timeout_ms: Option<i64>,
    pub retry: Option<RetryPolicy>,
    pub tags: BTreeMap<String, String>,
    pub traceparent: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// What the fields of fixed size take at most, with the lengths of the others.
const FIXED_BYTES: usize = 160;

/// Encodes a [`Task`] or a [`TaskRequested`], whose fields have the same names but for the id's.
macro_rules! encode {
    ($source:expr, $task_id:expr, $schema_id:expr) => {{
        let source = $source;
        let options = [&source.key, &source.channel, &source.traceparent];
        let option_bytes: usize = options.into_iter().flatten().map(String::len).sum();
        let name_bytes = source.tenant.len() + source.task_type.len() + source.queue.len();
        let body_bytes =
            FIXED_BYTES + name_bytes + option_bytes + source.payload.len() + map_bytes(&source.tags);
        let mut out = frame::begin($schema_id, body_bytes);
        put_str(&mut out, &$task_id.to_string());
        put_str(&mut out, &source.tenant);
        put_str(&mut out, &source.task_type);
        put_str(&mut out, &source.queue);
        put_option(&mut out, source.key.as_deref(), put_str);
        put_option(&mut out, source.channel.as_deref(), put_str);
        put_str(&mut out, &source.payload);
        put_int(&mut out, source.priority.into());
        put_int(&mut out, source.run);
        put_option(&mut out, source.not_before, put_time);
        put_option(&mut out, source.deadline, put_time);
        put_option(&mut out, source.timeout_ms, put_long);
        put_option(&mut out, source.retry, put_retry);
        put_map(&mut out, &source.tags);
        put_option(&mut out, source.traceparent.as_deref(), put_str);
        put_time(&mut out, source.created_at);
        out
    }};
}

impl TaskRequested {
    /// The record that publishes `task`.
    pub fn of(task: &Task) -> Self {
        Self {
            task_id: task.id,
            tenant: task.tenant.clone(),
            task_type: task.task_type.clone(),
            queue: task.queue.clone(),
            key: task.key.clone(),
            channel: task.channel.clone(),
            payload: task.payload.clone(),
            priority: task.priority,
            run: task.run,
            not_before: task.not_before,
            deadline: task.deadline,
            timeout_ms: task.timeout_ms,
            retry: task.retry,
            tags: task.tags.clone(),
            traceparent: task.traceparent.clone(),
            created_at: task.created_at,
        }
    }

    /// The same as `TaskRequested::of(task).encode(schema_id)`, without copying the task first.
    pub fn encode_task(task: &Task, schema_id: SchemaId) -> Vec<u8> {
        encode!(task, task.id, schema_id)
    }

    /// The value: frame and body.
    pub fn encode(&self, schema_id: SchemaId) -> Vec<u8> {
        encode!(self, self.task_id, schema_id)
    }

    /// Reads a value.
    ///
    /// # Errors
    /// [`DecodeError`]; of these [`DecodeError::UnknownSchema`] asks for the schema's text.
    pub fn decode(frame: &[u8], writers: &WriterSchemas) -> Result<Self, DecodeError> {
        let bytes = writers.body(frame, Kind::Requested)?;
        let mut body = Body::new(&bytes);
        let request = Self::read(&mut body)?;
        body.end()?;
        Ok(request)
    }

    /// Fields evaluate in the order they are written in, which is the schema's.
    fn read(body: &mut Body<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            task_id: body
                .str()?
                .parse()
                .map_err(|_| DecodeError::Malformed("task_id is not an id"))?,
            tenant: body.string()?,
            task_type: body.string()?,
            queue: body.string()?,
            key: body.option(Body::string)?,
            channel: body.option(Body::string)?,
            payload: body.string()?,
            priority: body.priority()?,
            run: body.int()?,
            not_before: body.option(Body::time)?,
            deadline: body.option(Body::time)?,
            timeout_ms: body.option(Body::long)?,
            retry: body.option(read_retry)?,
            tags: body.map()?,
            traceparent: body.option(Body::string)?,
            created_at: body.time()?,
        })
    }
}

fn put_retry(out: &mut Vec<u8>, retry: RetryPolicy) {
    put_long(out, retry.max_attempts.into());
    put_double(out, retry.base_s);
    put_double(out, retry.factor);
    put_double(out, retry.max_s);
}

fn read_retry(body: &mut Body<'_>) -> Result<RetryPolicy, DecodeError> {
    Ok(RetryPolicy {
        max_attempts: u32::try_from(body.int()?)
            .map_err(|_| DecodeError::Malformed("max_attempts is negative"))?,
        base_s: body.double()?,
        factor: body.double()?,
        max_s: body.double()?,
    })
}
