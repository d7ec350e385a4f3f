//! TLS: both protocol versions, and a certificate that changes while connections are served.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use posthaste_http::{Front, Routes, ServeOptions, Tls, get, json};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use warp::Filter;
use warp::http::{Request, StatusCode};

use crate::client::{Connection, Server, ask, header, serve_with, status};

/// A directory with a certificate and its key.
struct Files {
    directory: TempDir,
}

impl Files {
    fn new() -> (Self, CertificateDer<'static>) {
        let files = Self {
            directory: TempDir::new().unwrap(),
        };
        let certificate = files.renew();
        (files, certificate)
    }

    fn certificate(&self) -> PathBuf {
        self.directory.path().join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.directory.path().join("key.pem")
    }

    /// Puts a new pair in place.
    fn renew(&self) -> CertificateDer<'static> {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(self.certificate(), cert.pem()).unwrap();
        fs::write(self.key(), signing_key.serialize_pem()).unwrap();
        cert.der().clone()
    }

    fn load(&self) -> Tls {
        Tls::load(&self.certificate(), &self.key()).unwrap()
    }

    fn refusal(&self) -> String {
        let error = Tls::load(&self.certificate(), &self.key()).unwrap_err();
        posthaste_runtime::chain(&error).to_string()
    }
}

fn serve(tls: Tls) -> Server {
    let routes: Routes = warp::path!("hello")
        .and(get())
        .map(|| json(StatusCode::OK, "hello"))
        .boxed();
    let options = ServeOptions {
        tls: Some(tls),
        ..ServeOptions::default()
    };
    serve_with(routes, Front::open(), options)
}

async fn connect(
    server: &Server,
    trusted: &CertificateDer<'static>,
    protocol: &str,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.into()];
    let stream = TcpStream::connect(server.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];

async fn is_served(server: &Server, trusted: &CertificateDer<'static>) -> bool {
    let Ok(mut stream) = connect(server, trusted, "http/1.1", BOTH).await else {
        return false;
    };
    let request = "GET /hello HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    status(&answer) == 200
}

#[tokio::test]
async fn http_1_is_spoken_over_each_version_of_tls() {
    let (files, certificate) = Files::new();
    let server = serve(files.load());
    for versions in [[&version::TLS12], [&version::TLS13]] {
        let stream = connect(&server, &certificate, "http/1.1", &versions)
            .await
            .unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    }
    assert!(is_served(&server, &certificate).await);
}

#[tokio::test]
async fn http_2_is_agreed_upon_in_the_handshake() {
    let (files, certificate) = Files::new();
    let server = serve(files.load());
    let stream = connect(&server, &certificate, "h2", BOTH).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://localhost/hello")
        .body(Empty::<Bytes>::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "\"hello\""
    );
}

#[tokio::test]
async fn a_changed_certificate_is_used_and_a_broken_one_is_not() {
    let (files, old) = Files::new();
    let tls = files.load();
    let server = serve(tls.clone());
    assert!(!tls.reload().unwrap(), "nothing has changed");
    let new = files.renew();
    assert!(is_served(&server, &old).await && !is_served(&server, &new).await);
    assert!(tls.reload().unwrap());
    assert!(is_served(&server, &new).await && !is_served(&server, &old).await);
    fs::write(files.certificate(), "broken").unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains("certificate.pem"));
    assert!(!tls.reload().unwrap(), "it is told once");
    assert!(is_served(&server, &new).await);
    fs::remove_file(files.key()).unwrap();
    assert!(tls.reload().is_err());
    assert!(is_served(&server, &new).await);
    let newest = files.renew();
    assert!(tls.reload().unwrap());
    assert!(is_served(&server, &newest).await);
}

#[tokio::test(start_paused = true)]
async fn the_files_are_watched_while_connections_are_served() {
    let (files, _) = Files::new();
    let tls = files.load();
    let server = serve(tls.clone());
    let new = files.renew();
    // The clock is virtual: each round lets the watcher look once more.
    while !is_served(&server, &new).await {
        tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_with_what_they_must_hold() {
    let (files, _) = Files::new();
    let key = fs::read(files.key()).unwrap();
    let other = Files::new().0;
    fs::copy(other.key(), files.key()).unwrap();
    let refusal = files.refusal();
    assert!(
        refusal.contains("key.pem") && refusal.contains("certificate.pem"),
        "{refusal}"
    );
    fs::write(
        files.key(),
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
    )
    .unwrap();
    let refusal = files.refusal();
    assert!(
        refusal.contains("key.pem") && refusal.contains("not encrypted"),
        "{refusal}"
    );
    fs::write(files.certificate(), &key).unwrap();
    let refusal = files.refusal();
    assert!(
        refusal.contains("certificate.pem") && refusal.contains("BEGIN CERTIFICATE"),
        "{refusal}"
    );
    fs::remove_file(files.certificate()).unwrap();
    let refusal = files.refusal();
    assert!(
        refusal.contains("cannot read") && refusal.contains("certificate.pem"),
        "{refusal}"
    );
}

#[tokio::test]
async fn plain_http_on_a_tls_port_is_told_so() {
    let (files, certificate) = Files::new();
    let server = serve(files.load());
    let answer = ask(&server, "GET", "/hello", "").await;
    assert_eq!(status(&answer), 400);
    assert_eq!(header(&answer, "content-type"), Some("application/problem+json"));
    assert!(answer.contains("https://"), "{answer}");
    assert!(is_served(&server, &certificate).await);
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_is_given_up_and_holds_up_nobody() {
    let (files, certificate) = Files::new();
    let server = serve(files.load());
    let mut silent = Connection::open(&server).await;
    let mut half = Connection::open(&server).await;
    half.send([22, 3, 1, 2, 0]).await;
    assert!(is_served(&server, &certificate).await);
    assert_eq!(silent.count_rest().await, 0);
    half.count_rest().await;
}
