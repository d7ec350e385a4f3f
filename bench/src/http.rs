//! Just enough HTTP/1.1 over a socket: the load must cost the machine little beside what it measures.

use std::io;

use anyhow::{Context as _, bail, ensure};
use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::Url;

/// An answer's head or body beyond it is an error.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Where to connect, and what to call it in `Host`.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) authority: String,
}

impl Target {
    /// The target of a plain `http` address.
    pub(crate) fn parse(url: &str) -> anyhow::Result<Self> {
        let url = Url::parse(url).with_context(|| format!("`{url}` is not an address"))?;
        ensure!(url.scheme() == "http", "the bench speaks plain http only");
        ensure!(url.path() == "/", "the address must have no path");
        let host = url.host_str().context("the address names no host")?;
        Ok(Self {
            authority: format!("{host}:{}", url.port_or_known_default().unwrap_or(80)),
        })
    }

    pub(crate) async fn connect(&self) -> io::Result<TcpStream> {
        let socket = TcpStream::connect(&self.authority).await?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }
}

/// A connection that carries one exchange after the other.
pub(crate) struct Connection {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// Bytes of the answer before, dropped at the next exchange.
    used: usize,
}

/// One answer; the body borrows the connection.
pub(crate) struct Answer<'a> {
    pub(crate) status: u16,
    pub(crate) body: &'a [u8],
}

impl Connection {
    pub(crate) async fn open(target: &Target) -> io::Result<Self> {
        Ok(Self {
            socket: target.connect().await?,
            buffer: Vec::with_capacity(16 * 1024),
            used: 0,
        })
    }

    /// Sends a finished request and reads its answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer<'_>> {
        self.buffer.drain(..self.used);
        self.used = 0;
        self.socket.write_all(request).await?;
        let head_end = loop {
            if let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.read_more().await?;
        };
        let (status, length) = parse_head(&self.buffer[..head_end])?;
        self.used = head_end + length;
        while self.buffer.len() < self.used {
            self.read_more().await?;
        }
        Ok(Answer {
            status,
            body: &self.buffer[head_end..self.used],
        })
    }

    async fn read_more(&mut self) -> anyhow::Result<()> {
        ensure!(
            self.buffer.len() < ANSWER_BYTES_MAX,
            "an answer of more than {ANSWER_BYTES_MAX} bytes"
        );
        let count = self.socket.read_buf(&mut self.buffer).await?;
        ensure!(count > 0, "the server closed the connection");
        Ok(())
    }
}

/// Status and body length of an answer's head.
pub(crate) fn parse_head(head: &[u8]) -> anyhow::Result<(u16, usize)> {
    let head = std::str::from_utf8(head).context("the answer's head is not text")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1."))
        .and_then(|rest| rest.split(' ').nth(1))
        .and_then(|code| code.parse().ok())
        .context("the answer is not HTTP/1.1")?;
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            return Ok((
                status,
                value
                    .trim()
                    .parse()
                    .context("the answer's length is not a number")?,
            ));
        }
        if name.eq_ignore_ascii_case("transfer-encoding") {
            bail!("the answer is chunked, which this load generator does not read");
        }
    }
    Ok((status, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_length_are_found_whatever_the_case() {
        let head = b"HTTP/1.1 202 Accepted\r\nlocation: /x\r\nContent-Length: 12\r\n\r\n";
        assert_eq!(parse_head(head).unwrap(), (202, 12));
        assert_eq!(parse_head(b"HTTP/1.0 204 No Content\r\n\r\n").unwrap(), (204, 0));
        assert!(parse_head(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").is_err());
        assert!(parse_head(b"220 smtp\r\n\r\n").is_err());
    }

    #[test]
    fn only_plain_addresses_are_targets() {
        assert_eq!(
            Target::parse("http://127.0.0.1:8080").unwrap().authority,
            "127.0.0.1:8080"
        );
        assert_eq!(Target::parse("http://[::1]").unwrap().authority, "[::1]:80");
        assert!(Target::parse("https://127.0.0.1").is_err());
    }
}
