//! Which handler serves which type, resolved once at start from the program's handlers and the configuration.

mod builtin;
mod document;
mod exec;
pub(crate) mod http;
mod text_stats;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use metrics::Histogram;
use posthaste_runtime::metric;
use posthaste_types::RetryPolicy;

use crate::options::{HandlerKind, Options, RunningEvent, TypeOptions};
use crate::{Error, Handler};

/// The built-ins that `Options::builtins` serves, by type.
const BUILTINS: [(&str, HandlerKind); 4] = [
    ("echo", HandlerKind::Echo),
    ("sleep", HandlerKind::Sleep),
    ("fail", HandlerKind::Fail),
    ("text.stats", HandlerKind::TextStats),
];

/// Whether `Options::builtins` serves the type.
pub(crate) fn is_builtin(task_type: &str) -> bool {
    BUILTINS.iter().any(|(name, _)| *name == task_type)
}

/// The handlers that a program was linked with, by task type.
#[derive(Clone, Default)]
pub struct Handlers(HashMap<String, Arc<dyn Handler>>);

impl Handlers {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the handler of a type, in place of an earlier one.
    #[must_use]
    pub fn with(mut self, task_type: &str, handler: impl Handler) -> Self {
        self.0.insert(task_type.to_owned(), Arc::new(handler));
        self
    }
}

/// All that a worker knows of one type.
pub(crate) struct ServedType {
    /// None: nobody here serves it; another worker of the group may.
    pub(crate) handler: Option<Arc<dyn Handler>>,
    pub(crate) timeout: Duration,
    pub(crate) retry: RetryPolicy,
    pub(crate) running_event: RunningEvent,
    pub(crate) handler_seconds: Histogram,
}

/// The types that this process serves.
pub(crate) struct ServedTypes {
    types: HashMap<String, ServedType>,
    unknown: ServedType,
}

impl ServedTypes {
    /// Configuration wins over linked handlers, those over built-ins.
    pub(crate) fn new(options: &Options, linked: Handlers) -> Result<Self, Error> {
        let mut handlers = linked.0;
        if options.builtins {
            for (name, kind) in BUILTINS {
                if !handlers.contains_key(name) {
                    let handler = configured(kind, (name, &TypeOptions::default()), None)?;
                    handlers.insert(name.to_owned(), handler);
                }
            }
        }
        let any_http = options
            .types
            .values()
            .any(|of_type| of_type.handler == Some(HandlerKind::Http));
        let client = any_http.then(http::client).transpose()?;
        for (name, of_type) in &options.types {
            if let Some(kind) = of_type.handler {
                handlers.insert(name.clone(), configured(kind, (name, of_type), client.as_ref())?);
            } else if !handlers.contains_key(name) {
                let text = format!("worker.types.\"{name}\".handler must be set: no built-in has this name");
                return Err(Error::Setup(text));
            }
        }
        let default = TypeOptions::default();
        let serve = |(name, handler): (String, Arc<dyn Handler>)| {
            let of_type = options.types.get(&name).unwrap_or(&default);
            let served = ServedType::new(options, of_type, Some(handler), &name);
            (name, served)
        };
        Ok(Self {
            types: handlers.into_iter().map(serve).collect(),
            unknown: ServedType::new(options, &default, None, "unknown"),
        })
    }

    /// What is known of a type.
    pub(crate) fn get(&self, task_type: &str) -> &ServedType {
        self.types.get(task_type).unwrap_or(&self.unknown)
    }
}

impl ServedType {
    fn new(options: &Options, of_type: &TypeOptions, handler: Option<Arc<dyn Handler>>, label: &str) -> Self {
        Self {
            handler,
            timeout: Duration::from_secs_f64(of_type.timeout_s.unwrap_or(options.timeout_s)),
            retry: of_type.retry.unwrap_or(options.retry),
            running_event: of_type.running_event,
            handler_seconds: metrics::histogram!(metric::HANDLER_SECONDS, "type" => label.to_owned()),
        }
    }
}

fn configured(
    kind: HandlerKind,
    (name, of_type): (&str, &TypeOptions),
    client: Option<&reqwest::Client>,
) -> Result<Arc<dyn Handler>, Error> {
    Ok(match kind {
        HandlerKind::Echo => Arc::new(builtin::Echo),
        HandlerKind::Sleep => Arc::new(builtin::Sleep),
        HandlerKind::Fail => Arc::new(builtin::Fail),
        HandlerKind::TextStats => Arc::new(text_stats::TextStats),
        HandlerKind::Exec => Arc::new(exec::Exec {
            program: of_type.program.clone().unwrap_or_default(),
            args: of_type.args.clone(),
            env: of_type.env.clone(),
        }),
        HandlerKind::Http => {
            let client = client.expect("made before, as this type needs it").clone();
            Arc::new(http::Http::new(client, http::checked(name, of_type)?))
        }
    })
}

#[cfg(test)]
pub(crate) mod testing {
    //! An attempt as the tests of handlers need it.

    use std::collections::BTreeMap;

    use posthaste_runtime::{Clock as _, Stopper, SystemClock};
    use posthaste_schema::TaskRequested;

    use crate::Attempt;

    pub(crate) fn attempt(task_type: &str, payload: &str) -> Attempt {
        let task = TaskRequested {
            task_id: posthaste_runtime::ids::task_id(),
            tenant: "default".to_owned(),
            task_type: task_type.to_owned(),
            queue: "default".to_owned(),
            key: None,
            channel: None,
            payload: payload.to_owned(),
            priority: 5,
            run: 1,
            not_before: None,
            deadline: None,
            timeout_ms: None,
            retry: None,
            tags: BTreeMap::new(),
            traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
            created_at: SystemClock.now(),
        };
        Attempt::new(task, 1, Stopper::new())
    }
}

#[cfg(test)]
mod tests {
    use super::testing::attempt;
    use super::*;

    #[tokio::test]
    async fn configuration_gives_a_type_a_handler_its_timeout_and_its_policy() {
        let mut options = Options::default();
        let echo = TypeOptions {
            handler: Some(HandlerKind::Echo),
            timeout_s: Some(2.5),
            retry: Some(RetryPolicy {
                max_attempts: 1,
                ..RetryPolicy::default()
            }),
            ..TypeOptions::default()
        };
        options.types.insert("copy".to_owned(), echo);
        let types = ServedTypes::new(&options, Handlers::new()).unwrap();
        let served = types.get("copy");
        assert_eq!(
            (served.timeout, served.retry.max_attempts),
            (Duration::from_millis(2500), 1)
        );
        let result = served
            .handler
            .as_ref()
            .unwrap()
            .handle(&attempt("copy", "[1]"))
            .await
            .unwrap();
        assert_eq!(result.as_str(), "[1]");
    }

    #[test]
    fn built_ins_are_served_only_when_asked_for() {
        let serves = |builtins| {
            let options = Options {
                builtins,
                ..Options::default()
            };
            ServedTypes::new(&options, Handlers::new())
                .unwrap()
                .get("text.stats")
                .handler
                .is_some()
        };
        assert!(serves(true));
        assert!(!serves(false));
    }

    #[test]
    fn a_configured_type_that_nobody_serves_is_refused() {
        let mut options = Options::default();
        options.types.insert("lost".to_owned(), TypeOptions::default());
        let error = ServedTypes::new(&options, Handlers::new())
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("worker.types.\"lost\".handler"), "{error}");
    }
}
