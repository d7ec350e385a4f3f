//! Follows a stream of events over any number of connections.

use std::collections::VecDeque;
use std::time::Duration;

use posthaste_api::EventEnvelope;
use posthaste_types::{EventKind, TaskId};
use reqwest::{Response, StatusCode};

use crate::answer::success;
use crate::retry::{RETRY_AFTER_MAX, Waits, retry_after};
use crate::sse::{Frame, Parser};
use crate::{Client, Error};

/// Wait before a reconnect when the server does not say.
const RECONNECT_WAIT: Duration = Duration::from_millis(250);

/// Which events a stream carries; what is absent does not narrow it.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Whom results are for.
    pub channel: Option<String>,
    /// Task type.
    pub task_type: Option<String>,
    /// Kinds of event; empty means all.
    pub kinds: Vec<EventKind>,
    /// Where to begin: `earliest`, `latest` or an event's cursor; absent means `latest`.
    pub cursor: Option<String>,
}

/// One event with its place on the stream.
#[derive(Debug, Clone)]
pub struct Event {
    /// Resumes after this event.
    pub cursor: String,
    /// What happened.
    pub envelope: EventEnvelope,
    /// The envelope as it came.
    pub text: String,
}

/// What comes next on a stream.
#[derive(Debug, Clone)]
pub enum Next {
    /// An event.
    Event(Box<Event>),
    /// Events older than this cursor are no longer kept: some may have been missed.
    Reset {
        /// The oldest cursor that is kept.
        cursor: String,
    },
    /// A state that is no event, such as `INIT` at the beginning of a task's stream: the frame's name and data.
    Other(String, String),
}

/// A stream that reconnects by itself.
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    path: String,
    query: Vec<(&'static str, String)>,
    answer: Option<Response>,
    parser: Parser,
    ready: VecDeque<Frame>,
}

impl Client {
    /// Opens a stream of events; it is open when this returns, so nothing that happens later is missed.
    ///
    /// # Errors
    /// [`Error`], also when the server cannot be reached.
    pub async fn events(&self, filter: &EventFilter) -> Result<EventStream, Error> {
        let kinds = filter
            .kinds
            .iter()
            .map(|kind| kind.as_str())
            .collect::<Vec<_>>()
            .join(",");
        let query = [
            ("channel", filter.channel.clone()),
            ("type", filter.task_type.clone()),
            ("event", Some(kinds).filter(|kinds| !kinds.is_empty())),
            ("cursor", filter.cursor.clone()),
        ];
        let query = query
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        EventStream::open(self, "v1/events".to_owned(), query).await
    }

    /// Opens the stream of one task: its present state first, then its changes; it ends after the final one.
    ///
    /// # Errors
    /// [`Error`], also when the server cannot be reached.
    pub async fn task_events(&self, id: TaskId) -> Result<EventStream, Error> {
        EventStream::open(self, format!("v1/tasks/{id}/events"), Vec::new()).await
    }
}

impl EventStream {
    async fn open(client: &Client, path: String, query: Vec<(&'static str, String)>) -> Result<Self, Error> {
        let mut stream = Self {
            client: client.clone(),
            path,
            query,
            answer: None,
            parser: Parser::default(),
            ready: VecDeque::new(),
        };
        stream.answer = stream.connect().await.map_err(|(error, _)| error)?;
        Ok(stream)
    }

    /// The next event; `None` when the server says that no more will come (204). Reconnects where the connection is
    /// lost.
    ///
    /// # Errors
    /// [`Error`] that a reconnect does not help.
    pub async fn next(&mut self) -> Result<Option<Next>, Error> {
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return understand(frame).map(Some);
            }
            let Some(answer) = &mut self.answer else {
                return Ok(None);
            };
            match answer.chunk().await {
                Ok(Some(piece)) => {
                    let ready = &mut self.ready;
                    self.parser.push(&piece, |frame| ready.push_back(frame))?;
                }
                Ok(None) | Err(_) => self.reconnect().await?,
            }
        }
    }

    async fn reconnect(&mut self) -> Result<(), Error> {
        self.parser.reconnect();
        let wait = self
            .parser
            .retry_ms()
            .map_or(RECONNECT_WAIT, Duration::from_millis);
        // Before the first try too: a server that ends every stream at once is not to be hurried.
        tokio::time::sleep(wait).await;
        let mut waits = Waits::default();
        loop {
            match self.connect().await {
                Ok(answer) => {
                    self.answer = answer;
                    return Ok(());
                }
                Err((error, _)) if !error.is_transient() => return Err(error),
                Err((_, asked)) => {
                    let asked = asked.map_or(wait, |asked| asked.min(RETRY_AFTER_MAX).max(wait));
                    tokio::time::sleep(waits.next(Some(asked))).await;
                }
            }
        }
    }

    /// Opens the stream where it was; without an answer when no more will come. An error comes with how long the server
    /// asks to be left alone.
    async fn connect(&self) -> Result<Option<Response>, (Error, Option<Duration>)> {
        let mut request = self.client.stream(&self.path).query(&self.query);
        if !self.parser.last_id().is_empty() {
            request = request.header("last-event-id", self.parser.last_id());
        }
        let sent = request.header("accept", "text/event-stream").send();
        let answer = sent.await.map_err(|error| (Error::unsent(error), None))?;
        let asked = retry_after(&answer);
        let answer = success(answer).await.map_err(|error| (error, asked))?;
        Ok(Some(answer).filter(|answer| answer.status() != StatusCode::NO_CONTENT))
    }
}

fn understand(frame: Frame) -> Result<Next, Error> {
    #[derive(serde::Deserialize)]
    struct Reset {
        oldest: String,
    }
    let wrong =
        |error: serde_json::Error| Error::Unexpected(format!("an event that is not understood: {error}"));
    if frame.event == "reset" {
        let reset: Reset = serde_json::from_str(&frame.data).map_err(wrong)?;
        return Ok(Next::Reset { cursor: reset.oldest });
    }
    if frame.event.parse::<EventKind>().is_err() {
        return Ok(Next::Other(frame.event, frame.data));
    }
    let envelope = serde_json::from_str(&frame.data).map_err(wrong)?;
    Ok(Next::Event(Box::new(Event {
        cursor: frame.id,
        envelope,
        text: frame.data,
    })))
}
