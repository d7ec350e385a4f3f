//! The reader of events: one stream on a channel of its own, cut into lines and no further.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use memchr::{memchr_iter, memmem};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::http::{Target, parse_head};
use crate::ledger::{Ledger, Received};
use crate::scan;
use crate::send::Gate;

/// One read; an event larger than it makes the buffer grow up to [`LINE_BYTES_MAX`].
const READ_BYTES: usize = 256 * 1024;
const LINE_BYTES_MAX: usize = 8 * 1024 * 1024;
const RECONNECT_WAIT: Duration = Duration::from_millis(100);

/// An open stream.
pub(crate) struct Stream {
    target: Target,
    channel: Rc<str>,
    socket: TcpStream,
    buffer: Vec<u8>,
    last_id: String,
    /// Connections after the first.
    pub(crate) reconnects: u64,
}

impl Stream {
    /// Opens the stream; what happens later on the channel is not missed.
    pub(crate) async fn open(target: &Target, channel: &Rc<str>) -> anyhow::Result<Self> {
        let (socket, buffer) = connect(target, channel, "").await?;
        Ok(Self {
            target: target.clone(),
            channel: Rc::clone(channel),
            socket,
            buffer,
            last_id: String::new(),
            reconnects: 0,
        })
    }

    /// Books every final event for ever; drop the future to stop. Reconnects after the last event it has seen.
    pub(crate) async fn follow(&mut self, ledger: &RefCell<Ledger>, gate: &Gate) -> anyhow::Result<()> {
        loop {
            self.take_lines(ledger, gate);
            ensure!(
                self.buffer.len() < LINE_BYTES_MAX,
                "an event of more than {LINE_BYTES_MAX} bytes"
            );
            self.buffer.reserve(READ_BYTES);
            match self.socket.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => self.reconnect().await,
                Ok(_) => {}
            }
        }
    }

    async fn reconnect(&mut self) {
        loop {
            tokio::time::sleep(RECONNECT_WAIT).await;
            if let Ok((socket, buffer)) = connect(&self.target, &self.channel, &self.last_id).await {
                (self.socket, self.buffer) = (socket, buffer);
                self.reconnects += 1;
                return;
            }
        }
    }

    /// Books the complete lines and keeps the rest.
    fn take_lines(&mut self, ledger: &RefCell<Ledger>, gate: &Gate) {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let received = Received {
            at: Instant::now(),
            wall_us: i64::try_from(wall.as_micros()).unwrap_or(i64::MAX),
        };
        let mut ledger = ledger.borrow_mut();
        let (mut start, mut complete) = (0, 0);
        let mut last_id = None;
        for end in memchr_iter(b'\n', &self.buffer) {
            let line = &self.buffer[start..end];
            start = end + 1;
            if let Some(id) = line.strip_prefix(b"id:") {
                last_id = Some(id);
            } else if line.starts_with(b"data:")
                && let Some(event) = scan::final_event(line)
            {
                complete += usize::from(ledger.event(event, received));
            }
        }
        if let Some(id) = last_id {
            self.last_id = String::from_utf8_lossy(id.trim_ascii()).into_owned();
        }
        self.buffer.drain(..start);
        gate.give_back(complete);
    }
}

/// Sends the request and reads the answer's head; what came after it is the beginning of the stream.
///
/// As HTTP/1.0, so that the server sends the stream as it is and not in chunks.
async fn connect(target: &Target, channel: &str, last_id: &str) -> anyhow::Result<(TcpStream, Vec<u8>)> {
    let authority = &target.authority;
    let mut socket = target
        .connect()
        .await
        .with_context(|| format!("cannot connect to {authority}"))?;
    let resume = if last_id.is_empty() {
        String::new()
    } else {
        format!("last-event-id: {last_id}\r\n")
    };
    let request = format!(
        "GET /v1/events?channel={channel} HTTP/1.0\r\nhost: {authority}\r\naccept: text/event-stream\r\n{resume}\r\n"
    );
    socket.write_all(request.as_bytes()).await?;
    let mut buffer = Vec::with_capacity(READ_BYTES);
    loop {
        if let Some(end) = memmem::find(&buffer, b"\r\n\r\n") {
            let (status, _) = parse_head(&buffer[..end + 4])?;
            ensure!(status == 200, "the event stream was answered with {status}");
            buffer.drain(..end + 4);
            return Ok((socket, buffer));
        }
        if socket.read_buf(&mut buffer).await? == 0 {
            bail!("the server closed the event stream at once");
        }
    }
}
