//! TLS: a certificate chain and its key from PEM files, and their replacement while connections are served.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use posthaste_runtime::{Stopper, chain};
use posthaste_types::limits::{TLS_FILE_BYTES_MAX, TLS_HANDSHAKE_S_MAX, TLS_POLL_S};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use tokio_rustls::server::TlsStream;

/// Why TLS cannot be spoken with what the files hold.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read `{}`; it must be there and readable by this process", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A file is larger than any certificate chain.
    #[error("`{}` has more than {TLS_FILE_BYTES_MAX} bytes; it is no PEM file of a certificate or key", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The certificate's file holds no certificate.
    #[error("`{}` holds no certificate; it must hold the chain as PEM (`BEGIN CERTIFICATE`), the server's own first", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The key's file holds no usable key.
    #[error(
        "`{}` holds no private key; it must hold one as PEM (`BEGIN PRIVATE KEY`), not encrypted: `openssl pkey` decrypts it",
        path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// The two do not go together, or are of a kind that is not supported.
    #[error("the key in `{}` cannot be used with the certificate in `{}`", key.display(), certificate.display())]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What the TLS library says.
        source: rustls::Error,
    },
}

/// TLS for a listener. Cheap to clone; clones share the certificate.
#[derive(Clone)]
pub struct Tls(Arc<Inner>);

struct Inner {
    certificate: PathBuf,
    key: PathBuf,
    config: ArcSwap<ServerConfig>,
    /// What the files held when they were last looked at, good or not.
    seen: Mutex<Pair>,
}

#[derive(PartialEq, Eq)]
struct Pair {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificate", &self.0.certificate)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the chain and the key, both PEM.
    ///
    /// # Errors
    /// [`TlsError`] names the file and what it must hold.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let pair = Pair::read(certificate, key)?;
        let config = pair.config(certificate, key)?;
        Ok(Self(Arc::new(Inner {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            config: ArcSwap::from_pointee(config),
            seen: Mutex::new(pair),
        })))
    }

    /// Reads the files again. Whether there is a new certificate, which connections from now on get. A pair that was
    /// refused once is not tried again until it changes.
    ///
    /// # Errors
    /// [`TlsError`]; the old certificate goes on.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let Inner {
            certificate,
            key,
            config,
            seen,
        } = &*self.0;
        let pair = Pair::read(certificate, key)?;
        let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == pair {
            return Ok(false);
        }
        let new = pair.config(certificate, key);
        *seen = pair;
        config.store(Arc::new(new?));
        Ok(true)
    }

    /// Reads the files every [`TLS_POLL_S`] until the stop. Their content is compared and not their times: it is small,
    /// and orchestrators swap links.
    pub(crate) async fn follow(self, stopper: Stopper) {
        let mut told = None;
        loop {
            let pause = tokio::time::sleep(Duration::from_secs(TLS_POLL_S));
            if stopper.unless_stopped(pause).await.is_none() {
                return;
            }
            let tls = self.clone();
            let outcome = tokio::task::spawn_blocking(move || tls.reload()).await;
            match outcome.expect("reading files does not panic") {
                Ok(false) => {}
                Ok(true) => {
                    told = None;
                    tracing::info!("a new TLS certificate is in use");
                }
                Err(error) => {
                    let error = chain(&error).to_string();
                    if told.as_ref() != Some(&error) {
                        tracing::error!(
                            error,
                            "the changed TLS files cannot be used; the old certificate goes on"
                        );
                        told = Some(error);
                    }
                }
            }
        }
    }

    /// The handshake, within [`TLS_HANDSHAKE_S_MAX`].
    pub(crate) async fn accept(&self, stream: TcpStream) -> std::io::Result<TlsStream<TcpStream>> {
        let accepting = TlsAcceptor::from(self.0.config.load_full()).accept(stream);
        tokio::time::timeout(Duration::from_secs(TLS_HANDSHAKE_S_MAX), accepting).await?
    }
}

impl Pair {
    fn read(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: read(certificate)?,
            key: read(key)?,
        })
    }

    fn config(&self, certificate: &Path, key: &Path) -> Result<ServerConfig, TlsError> {
        let certificates = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .ok()
            .filter(|certificates| !certificates.is_empty())
            .ok_or_else(|| TlsError::NoCertificate {
                path: certificate.to_owned(),
            })?;
        let private_key =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::NoKey { path: key.to_owned() })?;
        // Named, so that it does not matter which provider another library makes the process's default.
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                builder
                    .with_no_client_auth()
                    .with_single_cert(certificates, private_key)
            })
            .map_err(|source| TlsError::Unusable {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
                source,
            })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let error = |source| TlsError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(TLS_FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(error)?;
    if bytes.len() as u64 > TLS_FILE_BYTES_MAX {
        return Err(TlsError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}
