//! A reader of Server-Sent Events by the letter of the standard (HTML, section 9.2), for the scenarios alone.

use anyhow::{Context as _, ensure};
use futures_util::StreamExt as _;
use serde_json::Value;

use crate::world::PATIENCE;

/// One event as it came.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) data: Value,
}

/// An open stream.
pub(crate) struct Stream {
    body: futures_util::stream::BoxStream<'static, reqwest::Result<Vec<u8>>>,
    buffer: Vec<u8>,
}

impl Stream {
    /// Opens a stream, after the event of `last_id` where one is given.
    pub(crate) async fn open(url: &str, last_id: Option<&str>) -> anyhow::Result<Self> {
        Self::open_as(url, last_id, None).await
    }

    /// The same with an API key.
    pub(crate) async fn open_as(url: &str, last_id: Option<&str>, key: Option<&str>) -> anyhow::Result<Self> {
        let client = reqwest::Client::new();
        let mut request = client.get(url).header("accept", "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        let answer = request.send().await?;
        ensure!(answer.status() == 200, "{url} answered {}", answer.status());
        let kind = answer
            .headers()
            .get("content-type")
            .context("a content type")?
            .to_str()?;
        ensure!(kind.starts_with("text/event-stream"), "{kind}");
        ensure!(
            answer
                .headers()
                .get("cache-control")
                .is_some_and(|value| value == "no-store"),
            "cache-control"
        );
        let body = answer
            .bytes_stream()
            .map(|chunk| chunk.map(|bytes| bytes.to_vec()))
            .boxed();
        Ok(Self {
            body,
            buffer: Vec::new(),
        })
    }

    /// The next event; `None` when the server ended the stream or the connection broke.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Option<Event>> {
        tokio::time::timeout(PATIENCE, async {
            loop {
                while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                    let frame: Vec<u8> = self.buffer.drain(..end + 2).collect();
                    if let Some(event) = parse(std::str::from_utf8(&frame)?)? {
                        return Ok(Some(event));
                    }
                }
                match self.body.next().await {
                    Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                    Some(Err(_)) | None => return Ok(None),
                }
            }
        })
        .await
        .context("an event comes")?
    }
}

/// A frame without data (a heartbeat, `retry:`) is no event.
fn parse(frame: &str) -> anyhow::Result<Option<Event>> {
    let (mut name, mut id, mut data) = ("message".to_owned(), None, String::new());
    for line in frame.lines() {
        match line
            .split_once(':')
            .map(|(field, value)| (field, value.strip_prefix(' ').unwrap_or(value)))
        {
            Some(("event", value)) => name = value.to_owned(),
            Some(("id", value)) => id = Some(value.to_owned()),
            Some(("data", value)) => data.push_str(value),
            _ => {}
        }
    }
    if data.is_empty() {
        return Ok(None);
    }
    Ok(Some(Event {
        name,
        id,
        data: serde_json::from_str(&data)?,
    }))
}
