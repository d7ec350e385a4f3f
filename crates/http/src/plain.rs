//! Tells a client that speaks HTTP to a TLS port so, in the language that it speaks.

use posthaste_api::Problem;
use posthaste_types::ErrorCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Whether the peer's first byte begins an HTTP request. A TLS handshake begins with 22.
pub(crate) async fn speaks_plainly(stream: &TcpStream) -> std::io::Result<bool> {
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic())
}

/// Answers with a problem and closes.
pub(crate) async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    // A socket closed with unread bytes is reset, and the answer with it.
    let mut head = [0; 4096];
    let _count = stream.read(&mut head).await?;
    let refused = Problem::new(ErrorCode::InvalidRequest, "this port speaks TLS: use https://");
    let body = serde_json::to_string(&refused).expect("texts and a number are always JSON");
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
