//! TLS towards the database: what libpq's `sslmode` asks for, the handshake over rustls, and channel binding. Knows nothing
//! of pools; the replication client, which has a TLS of its own, is given [`TlsSettings`].

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;

use crate::conninfo::Conninfo;
use crate::end_point::end_point_hash;
use crate::verify::{Checks, Verifier};
use crate::{Error, HandshakeError};

/// libpq's `sslmode`, without `allow`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsMode {
    /// Plain.
    Disable,
    /// TLS where the server offers it, whoever the server is.
    Prefer,
    /// TLS, whoever the server is.
    Require,
    /// TLS to a server whose certificate an authority of ours has signed.
    VerifyCa,
    /// The same, and the certificate is for the host that was asked for.
    VerifyFull,
}

/// How a connection to the database is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// What is asked of the server.
    pub mode: TlsMode,
    /// The authorities' certificates, PEM; `None`: those of the public web.
    pub ca: Option<PathBuf>,
}

impl TlsSettings {
    /// What the connection string and the configured authority ask for together. Without a mode, a named authority is
    /// checked in full, a socket or this machine's own address is plain, and anything else is `prefer`, as with libpq.
    pub(crate) fn choose(given: &Conninfo, hosts: &[Host], ca: Option<&Path>) -> Result<Self, Error> {
        let over_socket = hosts.iter().all(|host| matches!(host, Host::Unix(_)));
        // `system` is libpq's word for the authorities that everybody trusts.
        let in_url = given.sslrootcert.as_deref().filter(|path| *path != "system");
        let wanted = match given.sslmode.as_deref() {
            None if ca.is_some() || given.sslrootcert.is_some() => TlsMode::VerifyFull,
            None if hosts.iter().all(is_local) => TlsMode::Disable,
            None | Some("prefer") => TlsMode::Prefer,
            Some("disable") => TlsMode::Disable,
            // libpq: a root certificate that is there is used.
            Some("require") if ca.is_some() || in_url.is_some() => TlsMode::VerifyCa,
            Some("require") => TlsMode::Require,
            Some("verify-ca") => TlsMode::VerifyCa,
            Some("verify-full") => TlsMode::VerifyFull,
            Some(_) => {
                let known = "disable, prefer, require, verify-ca or verify-full";
                return Err(Error::Setup(format!("`sslmode` in the database URL must be {known}")));
            }
        };
        if ca.is_some() && !over_socket && matches!(wanted, TlsMode::Disable | TlsMode::Prefer) {
            return Err(Error::Setup(
                "`[database] ca` is given and `sslmode` in the database URL keeps it from being checked: use \
                 `sslmode=verify-full`"
                    .to_owned(),
            ));
        }
        Ok(Self {
            // libpq passes sslmode over where there is no network.
            mode: if over_socket { TlsMode::Disable } else { wanted },
            ca: ca.map(Path::to_owned).or(in_url.map(PathBuf::from)),
        })
    }

    /// What the driver decides by itself: whether there is TLS at all.
    pub(crate) const fn driver_mode(&self) -> SslMode {
        match self.mode {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer => SslMode::Prefer,
            TlsMode::Require | TlsMode::VerifyCa | TlsMode::VerifyFull => SslMode::Require,
        }
    }

    const fn checks(&self) -> Checks {
        match self.mode {
            TlsMode::Disable | TlsMode::Prefer | TlsMode::Require => Checks::Nothing,
            TlsMode::VerifyCa => Checks::Authority,
            TlsMode::VerifyFull => Checks::AuthorityAndName,
        }
    }
}

fn is_local(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) if name == "localhost" => true,
        Host::Tcp(name) => name.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback()),
    }
}

/// Makes the TLS of one connection after another.
#[derive(Clone)]
pub(crate) struct Tls(TlsConnector);

impl Tls {
    /// Reads the authorities' certificates; opens no connection.
    pub(crate) fn new(settings: &TlsSettings) -> Result<Self, Error> {
        let checks = settings.checks();
        let provider = provider();
        let roots = match checks {
            Checks::Nothing => RootCertStore::empty(),
            Checks::Authority | Checks::AuthorityAndName => roots(settings.ca.as_deref())?,
        };
        let verifier = Verifier::new(checks, roots, Arc::clone(&provider))
            .map_err(|error| Error::Setup(format!("the database's authority cannot be used: {error}")))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Setup(format!("TLS cannot be set up: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        Ok(Self(Arc::new(config).into()))
    }
}

/// The process's cryptography, chosen here where nobody has: the replication client would else bring its own.
fn provider() -> Arc<CryptoProvider> {
    if CryptoProvider::get_default().is_none() {
        // Whoever was faster chose the same.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    }
    Arc::clone(CryptoProvider::get_default().expect("one was installed above"))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        return Ok(roots);
    };
    let unusable = |why: String| Error::Setup(format!("the database's authority {} {why}", path.display()));
    let certificates = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(format!("cannot be read as PEM: {error}")))?;
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(unusable("holds no certificate: it must be a PEM file with the authority's".to_owned()));
    }
    Ok(roots)
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = TlsStream;
    type TlsConnect = Handshake;
    type Error = HandshakeError;

    /// A host that cannot be in a certificate fails in the handshake only: there may be none.
    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, HandshakeError> {
        Ok(Handshake { connector: self.0.clone(), host: host.to_owned() })
    }
}

/// The TLS of one connection.
pub(crate) struct Handshake {
    connector: TlsConnector,
    host: String,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = TlsStream;
    type Error = HandshakeError;
    type Future = Pin<Box<dyn Future<Output = Result<TlsStream, HandshakeError>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let name = ServerName::try_from(self.host.clone())
                .map_err(|_| HandshakeError::WrongName(self.host.clone()))?;
            let stream = self.connector.connect(name, socket).await;
            stream.map(TlsStream).map_err(|error| HandshakeError::of(error, &self.host))
        })
    }
}

/// An encrypted connection.
pub(crate) struct TlsStream(tokio_rustls::client::TlsStream<Socket>);

impl tokio_postgres::tls::TlsStream for TlsStream {
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates();
        certificates
            .and_then(|certificates| end_point_hash(certificates.first()?))
            .map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(url: &str, ca: Option<&str>) -> Result<(TlsMode, Option<PathBuf>), Error> {
        let given = Conninfo::split(url)?;
        let config: tokio_postgres::Config = given.rest.parse().unwrap();
        let settings = TlsSettings::choose(&given, config.get_hosts(), ca.map(Path::new))?;
        Ok((settings.mode, settings.ca))
    }

    #[test]
    fn modes_mean_what_they_mean_to_libpq() {
        let ca = || Some(PathBuf::from("/ca"));
        for (url, expected) in [
            ("postgresql://db.example/d", (TlsMode::Prefer, None)),
            ("postgresql://127.0.0.1/d", (TlsMode::Disable, None)),
            ("postgresql://localhost/d", (TlsMode::Disable, None)),
            ("postgresql://localhost/d?sslmode=require", (TlsMode::Require, None)),
            ("postgresql://%2Frun/d?sslmode=verify-full", (TlsMode::Disable, None)),
            ("postgresql://h/d?sslmode=disable", (TlsMode::Disable, None)),
            ("postgresql://h/d?sslmode=prefer", (TlsMode::Prefer, None)),
            ("postgresql://h/d?sslmode=require", (TlsMode::Require, None)),
            ("postgresql://h/d?sslmode=require&sslrootcert=/ca", (TlsMode::VerifyCa, ca())),
            ("postgresql://h/d?sslmode=verify-ca&sslrootcert=/ca", (TlsMode::VerifyCa, ca())),
            ("postgresql://h/d?sslmode=verify-full", (TlsMode::VerifyFull, None)),
            ("postgresql://h/d?sslmode=verify-full&sslrootcert=system", (TlsMode::VerifyFull, None)),
            ("postgresql://h/d?sslrootcert=/ca", (TlsMode::VerifyFull, ca())),
            ("host=h sslmode=verify-full sslrootcert=/ca", (TlsMode::VerifyFull, ca())),
        ] {
            assert_eq!(choose(url, None).unwrap(), expected, "{url}");
        }
        assert!(choose("postgresql://h/d?sslmode=allow", None).is_err());
    }

    #[test]
    fn a_configured_authority_is_always_checked() {
        let full = (TlsMode::VerifyFull, Some("/ca".into()));
        assert_eq!(choose("postgresql://127.0.0.1/d", Some("/ca")).unwrap(), full);
        let chosen = choose("postgresql://h/d?sslmode=verify-full&sslrootcert=/other", Some("/ca"));
        assert_eq!(chosen.unwrap(), full);
        assert_eq!(choose("postgresql://h/d?sslmode=require", Some("/ca")).unwrap().0, TlsMode::VerifyCa);
        for mode in ["disable", "prefer"] {
            let refused = choose(&format!("postgresql://h/d?sslmode={mode}"), Some("/ca"));
            assert!(refused.unwrap_err().to_string().contains("verify-full"));
        }
    }
}
