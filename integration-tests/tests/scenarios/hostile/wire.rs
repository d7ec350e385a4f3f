//! Sends bytes as they are, and reads one HTTP/1.1 answer: no HTTP library would send most of this.

use anyhow::Context as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::PATIENCE;

/// An answer as far as it matters here.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    /// `None` when the connection ended without an HTTP/1.1 answer.
    pub(crate) status: Option<u16>,
    pub(crate) content_type: Option<String>,
    /// Empty where no length was told, as for a stream.
    pub(crate) body: Vec<u8>,
}

/// Sends a request on a connection of its own and reads the answer, which may come before all is sent.
pub(crate) async fn exchange(address: &str, request: &[u8]) -> anyhow::Result<Answer> {
    let (mut reader, mut writer) = TcpStream::connect(address).await?.into_split();
    let sending = async {
        // The server may have answered and gone; the answer tells.
        let _refused = writer.write_all(request).await;
        std::future::pending().await
    };
    let receiving = async {
        let mut received = Vec::new();
        loop {
            if let Some(answer) = parse(&received) {
                return answer;
            }
            // A reset after the answer is an end like others.
            if reader.read_buf(&mut received).await.unwrap_or(0) == 0 {
                return Answer::default();
            }
        }
    };
    tokio::time::timeout(PATIENCE, async {
        tokio::select! {
            answer = receiving => answer,
            never = sending => never,
        }
    })
    .await
    .context("an answer or an end comes")
}

/// Sends this and goes away.
pub(crate) async fn abandon(address: &str, request: &[u8]) {
    if let Ok(mut stream) = TcpStream::connect(address).await {
        let _refused = stream.write_all(request).await;
    }
}

/// The answer, once it is all there.
fn parse(received: &[u8]) -> Option<Answer> {
    let end = received.windows(4).position(|bytes| bytes == b"\r\n\r\n")? + 4;
    // A header that is sent back may be no text.
    let head = String::from_utf8_lossy(&received[..end]);
    let status: u16 = head.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    if status < 200 {
        return parse(&received[end..]);
    }
    let header = |wanted: &str| {
        head.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim().to_owned())
    };
    let length: usize = header("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let body = received[end..].get(..length)?.to_vec();
    Some(Answer {
        status: Some(status),
        content_type: header("content-type"),
        body,
    })
}
