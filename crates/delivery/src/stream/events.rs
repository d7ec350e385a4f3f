//! `GET /v1/events`: everything that a filter wants, from a cursor on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::unfold;
use metrics::Counter;
use posthaste_api::Problem;
use posthaste_http::{Caller, HttpResponse, Query};
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
    context: Arc<Context>,
    feed: Feed,
    is_open: bool,
    heartbeat_at: Instant,
    events_sent: Counter,
    _opened: Opened,
}

/// Answers with the stream.
///
/// # Errors
/// 400 for a parameter that is not understood, 503 when no stream can be opened now.
pub(crate) fn open(
    context: Arc<Context>,
    caller: &Caller,
    query: Query,
    last_event_id: Option<String>,
) -> Result<HttpResponse, Problem> {
    let (filter, start) = parse(caller, query, last_event_id)?;
    let opened = context.open()?;
    let events = Events {
        feed: Feed::new(Arc::clone(&context), filter, start),
        context,
        is_open: false,
        heartbeat_at: Instant::now(),
        events_sent: metrics::counter!(metric::EVENTS_SENT),
        _opened: opened,
    };
    Ok(event_stream(unfold(events, async |mut events| {
        events.next_chunk().await.map(|chunk| (chunk, events))
    })))
}

impl Events {
    /// What to send next; none when the process is stopping.
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
            () = self.context.stopper.stopped() => return None,
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
    let mut channels = query.list("channel");
    channels.sort_unstable();
    channels.dedup();
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
