//! The worker's configuration, section `[worker]`, and its check. The docs of the fields are its reference.

use std::collections::BTreeMap;

use posthaste_runtime::Secret;
use posthaste_types::RetryPolicy;
use posthaste_types::limits::{HANDLER_COUNT_DEFAULT, TIMEOUT_S_DEFAULT, TIMEOUT_S_MAX};
use posthaste_types::topics::DEFAULT_QUEUE;
use serde::{Deserialize, Serialize, Serializer};

use crate::handlers::ServedTypes;
use crate::{Error, Handlers, handlers};

/// How a worker process works.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The queues to serve; each is the topic `tasks.<queue>`.
    pub queues: Vec<String>,
    /// Consumer group. Workers of one group share the tasks of their queues.
    pub group: String,
    /// Name of this process in a task's history. Default: `worker-` and a random suffix.
    pub name: Option<String>,
    /// Static membership (`group.instance.id`): a worker that restarts within the session timeout keeps its
    /// partitions. Must differ between the processes of a group.
    pub instance_id: Option<String>,
    /// How long a worker may be silent before its partitions go to others, milliseconds.
    pub session_timeout_ms: u32,
    /// Handlers that run at once in this process.
    pub handlers: usize,
    /// Connections for claims and as many for completions; each carries one grouped commit at a time.
    pub lanes: usize,
    /// Serve the built-in types `echo`, `sleep`, `fail` and `text.stats`, each under its own name.
    pub builtins: bool,
    /// Retry policy of tasks that bring none and whose type has none.
    pub retry: RetryPolicy,
    /// One attempt's time when neither the task nor its type says, seconds.
    pub timeout_s: f64,
    /// What is particular to a task type, by its name.
    pub types: BTreeMap<String, TypeOptions>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            queues: vec![DEFAULT_QUEUE.to_owned()],
            group: "posthaste-worker".to_owned(),
            name: None,
            instance_id: None,
            session_timeout_ms: 10_000,
            handlers: HANDLER_COUNT_DEFAULT,
            lanes: 1,
            builtins: false,
            retry: RetryPolicy::default(),
            timeout_s: TIMEOUT_S_DEFAULT,
            types: BTreeMap::new(),
        }
    }
}

/// What is particular to one task type: `[worker.types."invoice.render"]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TypeOptions {
    /// Who serves it. None: a handler that the program was linked with, or a built-in of that name.
    pub handler: Option<HandlerKind>,
    /// For `http`: where the task is posted to, `http` or `https`. Credentials go in `headers`.
    #[serde(serialize_with = "without_userinfo")]
    pub url: Option<String>,
    /// For `http`: headers sent with each request, such as `authorization`.
    pub headers: BTreeMap<String, Secret>,
    /// For `exec`: the program. It gets `PATH`, `HOME`, `LANG`, `TZ` and `TMPDIR` of the worker and nothing more.
    pub program: Option<String>,
    /// For `exec`: its arguments.
    pub args: Vec<String>,
    /// For `exec`: variables set for it.
    pub env: BTreeMap<String, Secret>,
    /// One attempt's time when the task does not say, seconds.
    pub timeout_s: Option<f64>,
    /// Retry policy of tasks that bring none.
    pub retry: Option<RetryPolicy>,
    /// When `task.running` is published.
    pub running_event: RunningEvent,
}

/// The handlers that configuration can choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum HandlerKind {
    /// Posts the task to a URL; the answer is the result.
    #[serde(rename = "http")]
    Http,
    /// Runs a program: the task on its input, the result on its output.
    #[serde(rename = "exec")]
    Exec,
    /// Answers with the payload.
    #[serde(rename = "echo")]
    Echo,
    /// Sleeps for `{"ms": n}`.
    #[serde(rename = "sleep")]
    Sleep,
    /// Fails as `{"code", "message", "retryable", "times"}` says.
    #[serde(rename = "fail")]
    Fail,
    /// Counts the words of `{"text": …}`.
    #[serde(rename = "text.stats")]
    TextStats,
}

/// When `task.running` is published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunningEvent {
    /// Once a handler has run for half a second, so that short tasks cost one event.
    #[default]
    Auto,
    /// At each attempt's start.
    Always,
    /// Not at all.
    Never,
}

impl Options {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`Error::Setup`], naming the key and what it must be.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |key: &str, must: &str| Err(Error::Setup(format!("worker.{key} {must}")));
        if self.queues.is_empty() {
            return wrong("queues", "must name a queue");
        }
        if self.handlers == 0 || self.lanes == 0 {
            return wrong("handlers and worker.lanes", "must be 1 or more");
        }
        check_timeout("timeout_s", self.timeout_s)?;
        check_retry("retry", &self.retry)?;
        for (name, options) in &self.types {
            let key = |field: &str| format!("types.\"{name}\".{field}");
            if let Some(timeout_s) = options.timeout_s {
                check_timeout(&key("timeout_s"), timeout_s)?;
            }
            if let Some(retry) = &options.retry {
                check_retry(&key("retry"), retry)?;
            }
            if (options.handler == Some(HandlerKind::Http)) != options.url.is_some() {
                return wrong(&key("url"), "must be set for the handler `http` and for no other");
            }
            if options.handler == Some(HandlerKind::Http) {
                handlers::http::checked(name, options)?;
            }
            if (options.handler == Some(HandlerKind::Exec)) != options.program.is_some() {
                return wrong(
                    &key("program"),
                    "must be set for the handler `exec` and for no other",
                );
            }
        }
        Ok(())
    }

    /// As [`Self::check`], and that every type has a handler: these of the program, or a built-in.
    ///
    /// # Errors
    /// [`Error::Setup`], naming the key and what it must be.
    pub fn check_with(&self, handlers: Handlers) -> Result<(), Error> {
        self.check()?;
        ServedTypes::new(self, handlers).map(drop)
    }
}

/// A password before the host is refused, and not shown before it is.
fn without_userinfo<S: Serializer>(url: &Option<String>, serializer: S) -> Result<S::Ok, S::Error> {
    let shown = url.as_ref().map(|url| match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => {
            format!("{}://{}{}", &url[..scheme], Secret::HIDDEN, &url[at..])
        }
        (None, Some(at)) => format!("{}{}", Secret::HIDDEN, &url[at..]),
        _ => url.clone(),
    });
    shown.serialize(serializer)
}

fn check_timeout(key: &str, timeout_s: f64) -> Result<(), Error> {
    if timeout_s > 0.0 && timeout_s <= TIMEOUT_S_MAX {
        return Ok(());
    }
    Err(Error::Setup(format!(
        "worker.{key} must be above 0 and at most {TIMEOUT_S_MAX}"
    )))
}

fn check_retry(key: &str, retry: &RetryPolicy) -> Result<(), Error> {
    retry
        .check()
        .map_err(|(field, must)| Error::Setup(format!("worker.{key}.{field} {must}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        Options::default().check().unwrap();
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut options = Options::default();
        let http = TypeOptions {
            handler: Some(HandlerKind::Http),
            ..TypeOptions::default()
        };
        options.types.insert("invoice.render".to_owned(), http);
        let error = options.check().unwrap_err().to_string();
        assert!(
            error.starts_with("worker.types.\"invoice.render\".url must"),
            "{error}"
        );
        let mut options = Options {
            timeout_s: f64::NAN,
            ..Options::default()
        };
        assert!(options.check().is_err());
        options.timeout_s = 1.0;
        options.retry.max_attempts = 0;
        let error = options.check().unwrap_err().to_string();
        assert!(error.starts_with("worker.retry.max_attempts"), "{error}");
    }
}
