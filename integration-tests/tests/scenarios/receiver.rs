//! A webhook receiver: answers with the statuses it is given, then with the last of them, and hands over what came.

use std::collections::HashMap;

use anyhow::Context as _;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::world::PATIENCE;

/// A request that came.
pub(crate) struct Request {
    headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// A listening receiver; its task ends with the test's runtime.
pub(crate) struct Receiver {
    pub(crate) url: String,
    requests: mpsc::Receiver<Request>,
}

impl Receiver {
    pub(crate) async fn start(statuses: &'static [u16]) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/hook", listener.local_addr()?);
        let (sender, requests) = mpsc::channel(1000);
        tokio::spawn(async move {
            let mut count = 0;
            while let Ok((stream, _)) = listener.accept().await {
                let status = statuses[count.min(statuses.len() - 1)];
                count += 1;
                if let Ok(request) = answer(stream, status).await
                    && sender.send(request).await.is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { url, requests })
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Request> {
        tokio::time::timeout(PATIENCE, self.requests.recv())
            .await?
            .context("a request comes")
    }
}

/// Reads one HTTP/1.1 request with a content length and answers it; the connection closes.
async fn answer(stream: TcpStream, status: u16) -> anyhow::Result<Request> {
    let mut stream = BufReader::new(stream);
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let length: usize = headers.get("content-length").context("a length")?.parse()?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let head = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.shutdown().await?;
    Ok(Request { headers, body })
}
