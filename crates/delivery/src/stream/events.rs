//! `GET /v1/events`: everything that a filter wants, from a cursor on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use metrics::Counter;
use posthaste_api::Problem;
use posthaste_http::{Caller, HttpResponse, Query, StreamGrant};
use posthaste_runtime::metric;
use posthaste_types::limits::{CHANNEL_BYTES_MAX, HEARTBEAT_S, STREAM_FILTER_LEN_MAX};
use posthaste_types::{ErrorCode, EventKind};
use tokio::time::Instant;

use crate::cursor::Cursor;
use crate::stream::context::{Context, Opened};
use crate::stream::feed::{Feed, Start};
use crate::stream::filter::{Filter, KindSet};
use crate::stream::frame;
use crate::stream::response::event_stream;

/// One open stream.
struct Events {
    feed: Feed,
    is_open: bool,
    heartbeat_at: Instant,
    events_sent: Counter,
    opened: Opened,
}

/// Answers with the stream.
///
/// # Errors
/// 400 for a parameter that is not understood, 403 for a channel that a stream token is not for, 429 when the tenant has
/// as many streams open as it may, 503 when no stream can be opened now.
pub(crate) fn open(
    context: Arc<Context>,
    caller: &Caller,
    query: Query,
    last_event_id: Option<String>,
) -> Result<HttpResponse, Problem> {
    let (filter, start) = parse(caller, query, last_event_id)?;
    let opened = context.open(caller)?;
    let events = Events {
        feed: Feed::new(context, filter, start),
        is_open: false,
        heartbeat_at: Instant::now(),
        events_sent: metrics::counter!(metric::EVENTS_SENT),
        opened,
    };
    Ok(event_stream(unfold(events, async |mut events| {
        events.next_chunk().await.map(|chunk| (chunk, events))
    })))
}

impl Events {
    /// What to send next; none when the process is stopping, or the caller's key is dead.
    async fn next_chunk(&mut self) -> Option<Bytes> {
        self.feed.set_client_turn(false);
        let chunk = if std::mem::replace(&mut self.is_open, true) {
            self.wait().await?
        } else {
            self.opening()
        };
        self.heartbeat_at = Instant::now() + Duration::from_secs(HEARTBEAT_S);
        self.feed.set_client_turn(true);
        Some(chunk)
    }

    async fn wait(&mut self) -> Option<Bytes> {
        tokio::select! {
            biased;
            () = self.opened.ended() => return None,
            () = self.feed.fill() => {}
            () = tokio::time::sleep_until(self.heartbeat_at) => {}
        }
        let Some((chunk, event_count)) = self.feed.take() else {
            return Some(frame::heartbeat(self.id().as_deref()));
        };
        self.events_sent.increment(event_count);
        Some(chunk)
    }

    fn opening(&self) -> Bytes {
        frame::opening(self.id().as_deref())
    }

    fn id(&self) -> Option<String> {
        self.feed.position().map(Cursor::to_string)
    }
}

fn invalid(detail: impl Into<String>) -> Problem {
    Problem::new(ErrorCode::InvalidParameter, detail)
}

fn parse(
    caller: &Caller,
    mut query: Query,
    last_event_id: Option<String>,
) -> Result<(Filter, Start), Problem> {
    let kinds: Vec<EventKind> = query.parsed_list("event")?;
    let channels = query.list("channel");
    let types = query.list("type");
    for (name, values) in [("channel", &channels), ("type", &types)] {
        if values.len() > STREAM_FILTER_LEN_MAX || values.iter().any(|value| value.len() > CHANNEL_BYTES_MAX)
        {
            let detail =
                format!("`{name}` takes {STREAM_FILTER_LEN_MAX} values of {CHANNEL_BYTES_MAX} bytes");
            return Err(invalid(detail));
        }
    }
    let cursor = query.one("cursor")?;
    query.end()?;
    let mut channels = granted(caller, channels)?;
    channels.sort_unstable();
    channels.dedup();
    let filter = Filter {
        kinds: if kinds.is_empty() {
            KindSet::ALL
        } else {
            kinds.into_iter().collect()
        },
        channels: channels.into_iter().map(Arc::from).collect(),
        types,
        ..Filter::of_tenant(caller.tenant())
    };
    Ok((filter, start(last_event_id, cursor)?))
}

/// The channels that a caller gets who asks for these; for a stream token, asking for none means all of its own.
fn granted(caller: &Caller, asked: Vec<String>) -> Result<Vec<String>, Problem> {
    let forbidden = |detail: String| Problem::new(ErrorCode::Forbidden, detail);
    let own = match caller.grant() {
        None => return Ok(asked),
        Some(StreamGrant::Task(task)) => {
            return Err(forbidden(format!(
                "this stream token is for `/v1/tasks/{task}/events` alone"
            )));
        }
        Some(StreamGrant::Channels(own)) => own,
    };
    if asked.is_empty() {
        return Ok(own.clone());
    }
    match asked.iter().find(|channel| !own.contains(channel)) {
        None => Ok(asked),
        Some(other) => Err(forbidden(format!(
            "this stream token is not for channel `{other}`"
        ))),
    }
}

/// A reconnecting EventSource repeats the URL it was given, so its header, which is newer, wins.
fn start(last_event_id: Option<String>, cursor: Option<String>) -> Result<Start, Problem> {
    let (name, text) = match (last_event_id.filter(|id| !id.is_empty()), cursor) {
        (Some(id), _) => ("Last-Event-ID", id),
        (None, Some(cursor)) => ("cursor", cursor),
        (None, None) => return Ok(Start::Latest),
    };
    match text.as_str() {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        text => text.parse().map(Start::After).map_err(|error| {
            invalid(format!(
                "`{name}` is {error}; use `earliest`, `latest` or an event's id"
            ))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(query: &str, last_event_id: Option<&str>) -> Result<(Filter, Start), Problem> {
        parse(
            &Caller::open(),
            Query::parse(query),
            last_event_id.map(str::to_owned),
        )
    }

    #[test]
    fn filters_may_be_repeated_or_listed() {
        let (filter, start) =
            parsed("channel=b,a&channel=a&type=x&event=task.done,task.failed", None).unwrap();
        assert_eq!(filter.channels, [Arc::from("a"), Arc::from("b")]);
        assert_eq!(filter.types, ["x"]);
        assert!(filter.kinds.contains(EventKind::Failed) && !filter.kinds.contains(EventKind::Running));
        assert_eq!(start, Start::Latest);
    }

    fn with_token(grant: StreamGrant, query: &str) -> Result<Vec<Arc<str>>, Problem> {
        let open = Caller::open();
        let caller = Caller::with_grant(
            "acme".into(),
            open.actor().clone(),
            grant,
            Arc::clone(open.quota()),
        );
        parse(&caller, Query::parse(query), None).map(|(filter, _)| filter.channels)
    }

    #[test]
    fn a_stream_token_sees_its_own_channels_alone() {
        let own = || StreamGrant::Channels(vec!["b".to_owned(), "a".to_owned()]);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        assert_eq!(
            with_token(own(), "event=task.done").unwrap(),
            [a.clone(), b.clone()]
        );
        assert_eq!(with_token(own(), "channel=b").unwrap(), [b]);
        for query in ["channel=c", "channel=a,c", "channel=A", "channel=a%20"] {
            assert_eq!(with_token(own(), query).unwrap_err().status, 403, "{query}");
        }
        let task = StreamGrant::Task(posthaste_runtime::ids::task_id());
        for query in ["", "channel=a"] {
            assert_eq!(with_token(task.clone(), query).unwrap_err().status, 403);
        }
    }

    #[test]
    fn the_header_wins_over_the_parameter() {
        let cursor = Cursor::new(vec![1, 2]);
        let (_, start) = parsed("cursor=earliest", Some(&cursor.to_string())).unwrap();
        assert_eq!(start, Start::After(cursor));
        assert_eq!(parsed("cursor=earliest", Some("")).unwrap().1, Start::Earliest);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (query, named) in [
            ("cursor=zzz", "`cursor`"),
            ("event=task.gone", "`event`"),
            ("colour=red", "`colour`"),
        ] {
            let problem = parsed(query, None).unwrap_err();
            assert_eq!(problem.status, 400);
            assert!(problem.detail.contains(named), "{}", problem.detail);
        }
        assert!(
            parsed("", Some("zzz"))
                .unwrap_err()
                .detail
                .contains("`Last-Event-ID`")
        );
    }
}
