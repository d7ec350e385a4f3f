//! A client of Server-Sent Events that reads what the HTML standard says, and keeps what a test wants to see.

use bytes::Bytes;
use reqwest::Response;
use serde_json::Value;

use crate::world::within;

/// An event that was dispatched.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: Value,
    /// The last event id after it.
    pub(crate) id: String,
}

/// An open stream.
pub(crate) struct Stream {
    response: Response,
    buffer: Vec<u8>,
    /// The id to come back with.
    pub(crate) last_id: String,
    pub(crate) retry_ms: Option<u64>,
}

impl Event {
    /// The number that a test put into the task's result.
    pub(crate) fn number(&self) -> u64 {
        self.data["data"]["result"].as_u64().unwrap()
    }
}

impl Stream {
    /// Opens a stream, with the last id where there is one; a 200 it must be.
    pub(crate) async fn open(url: &str, last_id: Option<&str>) -> Self {
        let mut stream = Self::of(get(url, last_id).await).await;
        if stream.last_id.is_empty() {
            last_id.unwrap_or_default().clone_into(&mut stream.last_id);
        }
        stream
    }

    /// The stream that an answer, a 200, is.
    pub(crate) async fn of(response: Response) -> Self {
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let mut stream = Self {
            response,
            buffer: Vec::new(),
            last_id: String::new(),
            retry_ms: None,
        };
        // What a stream opens with comes at once.
        while stream.retry_ms.is_none() {
            let frame = stream.frame().await.expect("a stream that is open");
            assert_eq!(stream.parse(&frame), None);
        }
        stream
    }

    /// The next event; none when the stream has ended.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        loop {
            let frame = self.frame().await?;
            if let Some(event) = self.parse(&frame) {
                return Some(event);
            }
        }
    }

    /// The next `count` events.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            events.push(self.next().await.expect("the stream to go on"));
        }
        events
    }

    /// The text up to the next empty line.
    async fn frame(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let frame: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Some(String::from_utf8(frame).unwrap());
            }
            let chunk: Option<Bytes> = within("an event", self.response.chunk()).await.unwrap();
            self.buffer.extend_from_slice(&chunk?);
        }
    }

    fn parse(&mut self, frame: &str) -> Option<Event> {
        let (mut name, mut data) = (String::new(), String::new());
        for line in frame
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with(':'))
        {
            let (field, value) = line.split_once(": ").unwrap();
            match field {
                "id" => self.last_id = value.to_owned(),
                "event" => name = value.to_owned(),
                "data" => data.push_str(value),
                "retry" => self.retry_ms = Some(value.parse().unwrap()),
                other => panic!("unknown field `{other}`"),
            }
        }
        if data.is_empty() {
            return None;
        }
        Some(Event {
            name,
            data: serde_json::from_str(&data).unwrap(),
            id: self.last_id.clone(),
        })
    }
}

/// A request for a stream.
pub(crate) async fn get(url: &str, last_id: Option<&str>) -> Response {
    let mut request = reqwest::Client::new().get(url);
    if let Some(id) = last_id {
        request = request.header("last-event-id", id);
    }
    within("an answer", request.send()).await.unwrap()
}
