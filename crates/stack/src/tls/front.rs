//! HTTPS with basic authentication in front of a part that speaks plain HTTP: one request a connection.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::Issued;

const HEAD_BYTES_MAX: usize = 16 * 1024;
const EXCHANGE_WAIT_MAX: Duration = Duration::from_secs(30);
const REFUSAL: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"registry\"\r\n\
    Content-Type: application/json\r\nContent-Length: 47\r\nConnection: close\r\n\r\n\
    {\"error_code\":40101,\"message\":\"no such login.\"}";

/// Serves until it is dropped.
#[derive(Debug)]
pub struct TlsFront {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for TlsFront {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TlsFront {
    /// Listens on a free port of 127.0.0.1, shows the certificate, and passes requests with this login on to `upstream`.
    ///
    /// # Errors
    /// When the certificate cannot be used, or no port is free.
    pub async fn start(
        issued: &Issued,
        user: &str,
        password: &str,
        upstream: SocketAddr,
    ) -> io::Result<Self> {
        let acceptor = acceptor(issued)?;
        let credentials = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let expected: Arc<str> = format!("authorization: basic {credentials}").into();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let exchange = serve(acceptor.clone(), stream, Arc::clone(&expected), upstream);
                // A caller that does not trust the certificate ends it early, which is no concern here.
                tokio::spawn(tokio::time::timeout(EXCHANGE_WAIT_MAX, exchange));
            }
        });
        Ok(Self { address, task })
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

fn acceptor(issued: &Issued) -> io::Result<TlsAcceptor> {
    let certificates = CertificateDer::pem_slice_iter(issued.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(io::Error::other)?;
    Ok(Arc::new(config).into())
}

async fn serve(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    expected: Arc<str>,
    upstream: SocketAddr,
) -> io::Result<()> {
    let mut near = acceptor.accept(stream).await?;
    let mut head = Vec::new();
    let end = loop {
        if let Some(at) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        if head.len() > HEAD_BYTES_MAX || near.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    };
    let text = String::from_utf8_lossy(&head[..end]);
    // Of the credentials too the case is passed over: good enough here, where no two logins differ in it alone.
    if !text.lines().any(|line| line.eq_ignore_ascii_case(&expected)) {
        near.write_all(REFUSAL).await?;
        return near.shutdown().await;
    }
    let mut far = TcpStream::connect(upstream).await?;
    let line = head
        .windows(2)
        .position(|window| window == b"\r\n")
        .unwrap_or(end);
    // So that the answer's end is the connection's, and no request comes behind this one unseen.
    far.write_all(&head[..line]).await?;
    far.write_all(b"\r\nConnection: close").await?;
    far.write_all(&head[line..]).await?;
    tokio::io::copy_bidirectional(&mut near, &mut far).await?;
    Ok(())
}
