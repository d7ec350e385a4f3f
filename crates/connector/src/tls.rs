//! The store's TLS settings in the words of the replication client, which makes its own connection.

use pgwire_replication::{SslMode, TlsConfig};
use posthaste_store::{ServerAddress, TlsMode};

use crate::Error;

/// What the replication connection asks of the server: the same as every other connection.
pub(crate) fn tls_config(address: &ServerAddress) -> Result<TlsConfig, Error> {
    if address.must_bind_channel {
        return Err(Error::Setup(
            "the replication connection cannot bind its channel: leave `channel_binding=require` out of the connector's \
             database URL; `sslmode=verify-full` proves the server as well"
                .to_owned(),
        ));
    }
    let mode = match address.tls.mode {
        TlsMode::Disable => SslMode::Disable,
        TlsMode::Prefer => SslMode::Prefer,
        TlsMode::Require => SslMode::Require,
        TlsMode::VerifyCa => SslMode::VerifyCa,
        TlsMode::VerifyFull => SslMode::VerifyFull,
    };
    Ok(TlsConfig {
        mode,
        ca_pem_path: address.tls.ca.clone(),
        // The client takes an IP address for a mistake unless it is named here; a certificate can be for one.
        sni_hostname: Some(address.host.clone()),
        ..TlsConfig::default()
    })
}
