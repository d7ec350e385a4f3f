//! Why a TLS handshake with the database failed, and what to do about it.

use std::io;

use rustls::CertificateError;

/// Why a TLS handshake with the database failed, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The chain ends at nobody whom we trust.
    #[error(
        "the database's certificate is signed by nobody who is trusted: give the PEM file of its authority as \
         `[database] ca` or as `sslrootcert` in the database URL"
    )]
    UnknownAuthority,
    /// It is somebody else's certificate.
    #[error(
        "the database's certificate is not for `{0}`: connect by a name that is in the certificate, or issue one with \
         this name in its subjectAltName"
    )]
    WrongName(String),
    /// Its time is over, or has not come.
    #[error("the database's certificate is not valid now: renew it, or set this machine's clock right")]
    NotNow,
    /// A self-signed certificate that is made for signing others.
    #[error(
        "the database shows an authority's certificate as its own: issue a server certificate (CA:FALSE) signed by that \
         authority"
    )]
    Authority,
    /// Anything else, as the library tells it.
    #[error("{0}")]
    Other(io::Error),
}

impl HandshakeError {
    pub(crate) fn of(error: io::Error, host: &str) -> Self {
        let cause = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        let Some(rustls::Error::InvalidCertificate(verdict)) = cause else {
            return Self::Other(error);
        };
        match verdict {
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName(host.to_owned())
            }
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Self::NotNow,
            CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                Self::Authority
            }
            _ => Self::Other(error),
        }
    }
}
