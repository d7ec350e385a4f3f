//! How a connection to the database is opened: by the pool, by lanes, by whoever needs one of their own.

use std::path::Path;

use tokio_postgres::config::ChannelBinding;
use tokio_postgres::{Client, Config, Connection, Socket};

use crate::Error;
use crate::conninfo::Conninfo;
use crate::tls::{Tls, TlsStream};
use crate::tls_settings::TlsSettings;

/// The database as something to connect to.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) tls: Tls,
    pub(crate) tls_settings: TlsSettings,
}

impl Server {
    /// Understands a libpq connection string and reads the authority's certificate; connects to nothing.
    pub(crate) fn new(url: &str, ca: Option<&Path>) -> Result<Self, Error> {
        let given = Conninfo::split(url)?;
        let mut config: Config = given
            .rest
            .parse()
            .map_err(|_| Error::Setup("the database URL is not a libpq connection string".to_owned()))?;
        let tls_settings = TlsSettings::choose(&given, config.get_hosts(), ca)?;
        config.ssl_mode(tls_settings.driver_mode());
        let tls = Tls::new(&tls_settings)?;
        Ok(Self {
            config,
            tls,
            tls_settings,
        })
    }

    /// Opens a connection; the second half is to be driven by the caller.
    pub(crate) async fn connect(&self) -> Result<(Client, Connection<Socket, TlsStream>), Error> {
        self.config
            .connect(self.tls.clone())
            .await
            .map_err(Error::database("connect"))
    }

    /// Whether the connection string insists on channel binding.
    pub(crate) fn must_bind_channel(&self) -> bool {
        self.config.get_channel_binding() == ChannelBinding::Require
    }
}
