//! How a connection to the database is opened: by the pool, by lanes, by whoever needs one of their own.

use std::path::Path;

use tokio_postgres::config::{ChannelBinding, Host};
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

    /// The port of the server at `index` among those that the connection string names.
    pub(crate) fn port(&self, index: usize) -> u16 {
        let ports = self.config.get_ports();
        // One port is that of all.
        ports.get(index).or(ports.first()).copied().unwrap_or(5432)
    }

    /// The same with one alone of the servers that the connection string names.
    pub(crate) fn only(&self, index: usize) -> Self {
        let given = &self.config;
        let mut config = Config::new();
        match given.get_hosts().get(index) {
            Some(Host::Tcp(name)) => config.host(name),
            Some(Host::Unix(directory)) => config.host_path(directory),
            None => &mut config,
        };
        if let Some(address) = given.get_hostaddrs().get(index) {
            config.hostaddr(*address);
        }
        config.port(self.port(index));
        if let Some(user) = given.get_user() {
            config.user(user);
        }
        if let Some(password) = given.get_password() {
            config.password(password);
        }
        if let Some(database) = given.get_dbname() {
            config.dbname(database);
        }
        if let Some(name) = given.get_application_name() {
            config.application_name(name);
        }
        if let Some(wait) = given.get_connect_timeout() {
            config.connect_timeout(*wait);
        }
        config.ssl_mode(given.get_ssl_mode());
        config.channel_binding(given.get_channel_binding());
        config.target_session_attrs(given.get_target_session_attrs());
        Self {
            config,
            ..self.clone()
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_servers_is_reached_as_all_of_them_are() {
        let url = "postgresql://a:b@one:1,two:2,three:3/d?target_session_attrs=read-write&connect_timeout=3&sslmode=disable";
        let server = Server::new(url, None).unwrap();
        for (index, name) in ["one", "two", "three"].into_iter().enumerate() {
            let port = server.port(index);
            let alone = format!(
                "postgresql://a:b@{name}:{port}/d?target_session_attrs=read-write&connect_timeout=3&sslmode=disable"
            );
            assert_eq!(
                server.only(index).config,
                Server::new(&alone, None).unwrap().config
            );
        }
        let one_port = Server::new("host=one,two port=7 user=a", None).unwrap();
        assert_eq!((one_port.port(0), one_port.port(1)), (7, 7));
    }
}
