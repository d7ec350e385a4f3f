//! A server that does what it is told, one answer a connection, and remembers what it was asked.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What it does with one request.
pub(crate) enum Turn {
    /// Reads it and closes without an answer.
    Cut,
    /// Answers with a status, further header lines and a body.
    Answer(u16, &'static str, String),
    /// Sends a piece of an event stream and closes.
    Stream(&'static str),
}

pub(crate) struct Scripted {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Scripted {
    /// Listens; answers as `turns` say, in order.
    pub(crate) async fn serve(turns: Vec<Turn>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            for turn in turns {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = read(&mut stream).await;
                seen.lock().unwrap().push(request);
                answer(&mut stream, turn).await;
            }
        });
        Self { url, requests }
    }

    /// The requests so far, heads in lower case and bodies.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The values of a header, one for each request; empty where it is absent.
    pub(crate) fn header(&self, name: &str) -> Vec<String> {
        let start = format!("{name}: ");
        let of = |request: &String| {
            let line = request.lines().find_map(|line| line.strip_prefix(&start));
            line.unwrap_or_default().to_owned()
        };
        self.requests().iter().map(of).collect()
    }
}

/// One request with its body, by its content-length.
async fn read(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    loop {
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                return text;
            }
        }
        let mut piece = [0; 4096];
        let count = stream.read(&mut piece).await.unwrap();
        assert!(count > 0, "the client closed after {text:?}");
        text.push_str(std::str::from_utf8(&piece[..count]).unwrap());
    }
}

async fn answer(stream: &mut TcpStream, turn: Turn) {
    let text = match turn {
        Turn::Cut => return,
        Turn::Answer(status, headers, body) => {
            let length = body.len();
            format!(
                "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}"
            )
        }
        Turn::Stream(frames) => {
            format!("HTTP/1.1 200 X\r\nconnection: close\r\ncontent-type: text/event-stream\r\n\r\n{frames}")
        }
    };
    stream.write_all(text.as_bytes()).await.unwrap();
}
