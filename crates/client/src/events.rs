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
    /// The connection is lost and the first try to come back failed; it is tried again for as long as this is asked for more.
    Lost,
    /// It is back after [`Next::Lost`], where it was: nothing is missing.
    Back,
}

/// A stream that reconnects by itself.
#[derive(Debug)]
pub struct EventStream {
    client: Client,
    path: String,
    query: Vec<(&'static str, String)>,
    link: Link,
    parser: Parser,
    ready: VecDeque<Frame>,
}

/// The connection under a stream.
#[derive(Debug)]
enum Link {
    Open(Response),
    Lost {
        /// Before the next try.
        pause: Duration,
        waits: Waits,
        /// Whether [`Next::Lost`] was given.
        is_told: bool,
    },
    /// The server said that no more will come.
    Ended,
}

impl Link {
    fn of(answer: Option<Response>) -> Self {
        answer.map_or(Self::Ended, Self::Open)
    }
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
            link: Link::Ended,
            parser: Parser::default(),
            ready: VecDeque::new(),
        };
        stream.link = Link::of(stream.connect().await.map_err(|(error, _)| error)?);
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
            match &mut self.link {
                Link::Ended => return Ok(None),
                Link::Lost { .. } => {
                    if let Some(next) = self.come_back().await? {
                        return Ok(Some(next));
                    }
                }
                Link::Open(answer) => match answer.chunk().await {
                    Ok(Some(piece)) => {
                        let ready = &mut self.ready;
                        self.parser.push(&piece, |frame| ready.push_back(frame))?;
                    }
                    Ok(None) | Err(_) => self.lose(),
                },
            }
        }
    }

    fn lose(&mut self) {
        self.parser.reconnect();
        // Before the first try too: a server that ends every stream at once is not to be hurried.
        self.link = Link::Lost {
            pause: self.reconnect_wait(),
            waits: Waits::default(),
            is_told: false,
        };
    }

    fn reconnect_wait(&self) -> Duration {
        let told_ms = self.parser.retry_ms();
        told_ms.map_or(RECONNECT_WAIT, Duration::from_millis)
    }

    /// One try to come back; gives what there is to tell of it.
    async fn come_back(&mut self) -> Result<Option<Next>, Error> {
        let Link::Lost { pause, .. } = self.link else {
            return Ok(None);
        };
        tokio::time::sleep(pause).await;
        let (connected, least) = (self.connect().await, self.reconnect_wait());
        let Link::Lost {
            pause,
            waits,
            is_told,
        } = &mut self.link
        else {
            return Ok(None);
        };
        let was_told = std::mem::replace(is_told, true);
        match connected {
            Ok(answer) => {
                self.link = Link::of(answer);
                Ok(was_told.then_some(Next::Back))
            }
            Err((error, _)) if !error.is_transient() => Err(error),
            Err((_, asked)) => {
                let asked = asked.map_or(least, |asked| asked.min(RETRY_AFTER_MAX).max(least));
                *pause = waits.next(Some(asked));
                Ok((!was_told).then_some(Next::Lost))
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
