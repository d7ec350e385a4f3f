//! A server of the crate under test, and a client so plain that it can misbehave.

use std::net::SocketAddr;

use posthaste_http::{Front, Routes, ServeOptions, bind, finish};
use posthaste_runtime::Stopper;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) stopper: Stopper,
    pub(crate) serving: JoinHandle<std::io::Result<()>>,
}

pub(crate) fn serve(routes: Routes) -> Server {
    serve_with(routes, Front::open(), ServeOptions::default())
}

pub(crate) fn serve_with(routes: Routes, front: Front, options: ServeOptions) -> Server {
    let listener = bind(([127, 0, 0, 1], 0).into()).unwrap().with_options(options);
    let (address, stopper) = (listener.local_addr(), Stopper::new());
    let serving = tokio::spawn(listener.serve(finish(routes), front, stopper.clone()));
    Server {
        address,
        stopper,
        serving,
    }
}

pub(crate) struct Connection(TcpStream);

impl Connection {
    pub(crate) async fn open(server: &Server) -> Self {
        let socket = TcpStream::connect(server.address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        Self(socket)
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends what the server takes before it closes.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        self.0.write_all(bytes.as_ref()).await
    }

    /// Everything until the server closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// How many bytes come until the server closes or resets.
    pub(crate) async fn count_rest(&mut self) -> usize {
        let (mut bytes, mut sum) = (vec![0; 64 * 1024], 0);
        while let Ok(count @ 1..) = self.0.read(&mut bytes).await {
            sum += count;
        }
        sum
    }

    /// The next bytes of exactly this count, or none when the server closes or resets before.
    pub(crate) async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).await.ok()?;
        Some(bytes)
    }

    /// What has come once `end` has come.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.contains(end) {
            let mut bytes = [0; 4096];
            let count = self.0.read(&mut bytes).await.unwrap();
            assert!(count > 0, "closed after {text:?}");
            text.push_str(std::str::from_utf8(&bytes[..count]).unwrap());
        }
        text
    }
}

/// One request on a connection of its own; the answer, head and body.
pub(crate) async fn exchange(server: &Server, request: impl AsRef<[u8]>) -> String {
    let mut connection = Connection::open(server).await;
    connection.send(request).await;
    connection.rest().await
}

/// A request without a body that asks for the connection's end; `headers` are lines with their ends.
pub(crate) async fn ask(server: &Server, method: &str, path: &str, headers: &str) -> String {
    let request = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n");
    exchange(server, request).await
}

pub(crate) fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {answer:?}"))
}

/// The value of an answer's header.
pub(crate) fn header<'answer>(answer: &'answer str, name: &str) -> Option<&'answer str> {
    let (head, _) = answer.split_once("\r\n\r\n")?;
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(other, value)| (other == name).then_some(value))
}

/// Keeps the clock from moving by itself, which it would do while bytes are under way between two sockets.
pub(crate) struct Held(#[expect(dead_code, reason = "dropped to let go")] std::sync::mpsc::Sender<()>);

pub(crate) fn hold_clock() -> Held {
    let (held, release) = std::sync::mpsc::channel::<()>();
    // The clock stands while a blocking task runs.
    tokio::task::spawn_blocking(move || release.recv());
    Held(held)
}
