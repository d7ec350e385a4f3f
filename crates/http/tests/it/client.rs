//! A server of the crate under test, and a client so plain that it can misbehave.

use std::net::SocketAddr;

use posthaste_http::{Front, Routes, bind, finish};
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
    let listener = bind(([127, 0, 0, 1], 0).into()).unwrap();
    let (address, stopper) = (listener.local_addr(), Stopper::new());
    let serving = tokio::spawn(listener.serve(finish(routes), Front::open(), stopper.clone()));
    Server {
        address,
        stopper,
        serving,
    }
}

pub(crate) struct Connection(TcpStream);

impl Connection {
    pub(crate) async fn open(server: &Server) -> Self {
        Self(TcpStream::connect(server.address).await.unwrap())
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Everything until the server closes.
    pub(crate) async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes).await.unwrap();
        String::from_utf8(bytes).unwrap()
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

pub(crate) fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_else(|| panic!("no answer: {answer:?}"))
}
