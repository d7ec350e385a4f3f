//! Where the server listens, for who speaks another protocol with it than SQL.

use tokio_postgres::config::Host;

use crate::tls_settings::TlsSettings;
use crate::{Error, Store};

/// Where the server listens, for a client that speaks the replication protocol.
#[derive(Clone)]
pub struct ServerAddress {
    /// A host name, an IP address, or the directory of a unix socket.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The role.
    pub user: String,
    /// Its password, empty when there is none.
    pub password: String,
    /// The database.
    pub database: String,
    /// How the connection is protected.
    pub tls: TlsSettings,
    /// Whether the URL insists on channel binding.
    pub must_bind_channel: bool,
}

impl Store {
    /// Where the server listens, the first of them where the URL names several.
    ///
    /// # Errors
    /// [`Error::Setup`]: the URL names no host or no role.
    pub fn server_address(&self) -> Result<ServerAddress, Error> {
        self.address(0)
    }

    /// Where the first of the URL's servers listens that can be reached and is what `target_session_attrs` asks for, as all
    /// other connections choose theirs: after a promotion that is another one.
    ///
    /// # Errors
    /// [`Error::Setup`]: the URL names no host or no role. None of several servers is there.
    pub async fn serving_address(&self) -> Result<ServerAddress, Error> {
        let server = self.server();
        let count = server.config.get_hosts().len();
        let mut last = None;
        for index in 0..if count > 1 { count } else { 0 } {
            match server.only(index).connect().await {
                Ok((client, connection)) => {
                    // It says farewell once nobody holds the client.
                    tokio::spawn(connection);
                    drop(client);
                    return self.address(index);
                }
                Err(error) => last = Some(error),
            }
        }
        last.map_or_else(|| self.address(0), Err)
    }

    fn address(&self, index: usize) -> Result<ServerAddress, Error> {
        let server = self.server();
        let config = &server.config;
        let host = match config.get_hosts().get(index) {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(directory)) => directory.to_string_lossy().into_owned(),
            None => return Err(Error::Setup("the database URL names no host".to_owned())),
        };
        let user = config
            .get_user()
            .ok_or_else(|| Error::Setup("the database URL names no role".to_owned()))?;
        Ok(ServerAddress {
            host,
            port: server.port(index),
            user: user.to_owned(),
            password: config
                .get_password()
                .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
                .unwrap_or_default(),
            database: config.get_dbname().unwrap_or(user).to_owned(),
            tls: server.tls_settings.clone(),
            must_bind_channel: server.must_bind_channel(),
        })
    }
}
