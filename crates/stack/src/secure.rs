//! TLS, logins and rights for Postgres and Kafka: what is asked for, and the files and settings that it takes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;

use crate::data_dir::DataDir;
use crate::error::Error;
use crate::postgres::{NAME, REGISTRY_DATABASE};

/// The name by which Kafka names itself to its clients, so that they can check its certificate.
pub(crate) const HOST: &str = "localhost";

/// What a stack that is protected shows and whom it lets in. Over TCP, Postgres then takes TLS and SCRAM-SHA-256 alone;
/// the owner comes over the Unix socket as ever. Kafka takes SASL_SSL with SCRAM-SHA-512 and refuses whatever no rule allows;
/// a second listener, plain and for this machine, is for set-up and may do everything. The registry stays plain:
/// `TlsFront` (feature `tls`) protects it.
#[derive(Clone)]
pub struct Secure {
    /// The certificate for `localhost` that both show, PEM.
    pub certificate: String,
    /// Its key, PKCS#8 in PEM.
    pub key: String,
    /// Kafka's users by name and password; they may do nothing until rules are made. Counts when the log is made.
    pub kafka_users: Vec<(String, String)>,
}

/// Postgres' settings beside the usual ones.
pub(crate) const POSTGRES_SETTINGS: &str = "\
ssl = on
ssl_cert_file = 'server.crt'
ssl_key_file = 'server.key'
password_encryption = 'scram-sha-256'
";

impl Secure {
    /// Puts certificate, key and rules of entry into the cluster.
    pub(crate) fn write_postgres(&self, directory: &DataDir, cluster: &Path) -> Result<(), Error> {
        let rules = format!(
            "local all all trust\n\
             host {REGISTRY_DATABASE} {NAME} 127.0.0.1/32 trust\n\
             hostssl all all 127.0.0.1/32 scram-sha-256\n"
        );
        write_private(directory, &cluster.join("server.crt"), &self.certificate)?;
        write_private(directory, &cluster.join("server.key"), &self.key)?;
        write_private(directory, &cluster.join("pg_hba.conf"), &rules)
    }

    /// Puts key and certificate where Kafka reads them.
    pub(crate) fn write_kafka(&self, directory: &DataDir) -> Result<(), Error> {
        let text = format!("{}{}", self.key, self.certificate);
        write_private(directory, &directory.path(KAFKA_STORE), &text)
    }

    /// How Kafka's log is given its users when it is made.
    pub(crate) fn format_arguments(&self) -> impl Iterator<Item = String> {
        self.kafka_users.iter().flat_map(|(name, password)| {
            let user = format!("SCRAM-SHA-512=[name={name},password={password}]");
            ["--add-scram".to_owned(), user]
        })
    }
}

const KAFKA_STORE: &str = "kafka-server.pem";

/// Kafka's listeners, and who may do what on which.
pub(crate) fn kafka_listeners(directory: &DataDir, port: u16, inner: u16, controller: u16) -> String {
    format!(
        "\
listeners=SASL_SSL://127.0.0.1:{port},INNER://127.0.0.1:{inner},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SASL_SSL://{HOST}:{port},INNER://127.0.0.1:{inner}
listener.security.protocol.map=SASL_SSL:SASL_SSL,INNER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=INNER
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={store}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
",
        store = directory.path(KAFKA_STORE).display()
    )
}

/// For the parts' user alone: Postgres does not start with a key that others can read.
fn write_private(directory: &DataDir, path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io("cannot write", path))?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(Error::io("cannot protect", path))?;
    let Some(user) = directory.user else { return Ok(()) };
    chown(path, Some(user.uid), Some(user.gid)).map_err(Error::io("cannot give away", path))
}
