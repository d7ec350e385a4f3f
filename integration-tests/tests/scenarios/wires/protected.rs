//! A stack that lets nobody in without TLS, a login and a right, and each part's configuration for it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use posthaste_broker::KafkaOptions;
use posthaste_stack::{Authority, Secure, Stack, StackOptions, TlsFront, temporary_with};
use tempfile::TempDir;
use tokio_postgres::{Client, NoTls};

use super::acls;

/// In every password, so that one look at a log tells whether any was shown.
pub(crate) const SECRET: &str = "CorrectHorse";
const DATABASE: &str = "posthaste_wires";
/// With Kafka's users; the registry has one login, `posthaste`.
const KAFKA_PARTS: [&str; 4] = ["owner", "connector", "worker", "delivery"];
const SQL_PARTS: [&str; 5] = ["ingest", "connector", "worker", "delivery", "scheduler"];

pub(crate) struct Protected {
    pub(crate) stack: Stack,
    registry: TlsFront,
    /// Certificates, configurations, logs.
    pub(crate) directory: TempDir,
}

/// How a part connects; the names of certificates are those of files.
#[derive(Clone)]
pub(crate) struct Wires {
    pub(crate) part: &'static str,
    pub(crate) database_host: &'static str,
    pub(crate) database_ca: &'static str,
    pub(crate) database_password: String,
    pub(crate) kafka_host: &'static str,
    pub(crate) kafka_ca: &'static str,
    pub(crate) kafka_password: String,
    /// Sections of the configuration that others do not have.
    pub(crate) more: &'static str,
}

impl Wires {
    /// As it should be.
    pub(crate) fn right(part: &'static str) -> Self {
        Self {
            part,
            database_host: "localhost",
            database_ca: "ours.pem",
            database_password: password("sql", part),
            kafka_host: "localhost",
            kafka_ca: "ours.pem",
            kafka_password: password("kafka", part),
            more: "",
        }
    }
}

fn password(system: &str, part: &str) -> String {
    format!("{SECRET}-{system}-{part}")
}

impl Protected {
    /// Starts everything, makes the roles and Kafka's rules. Nothing is migrated.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let (ours, another) = (Authority::new("ours")?, Authority::new("another")?);
        std::fs::write(directory.path().join("ours.pem"), ours.pem())?;
        std::fs::write(directory.path().join("another.pem"), another.pem())?;
        let issued = ours.issue("localhost")?;
        let users = KAFKA_PARTS.map(|part| (format!("posthaste-{part}"), password("kafka", part)));
        let secure = Secure {
            certificate: issued.certificate.clone(),
            key: issued.key.clone(),
            kafka_users: users.into(),
        };
        let stack = temporary_with(|options| StackOptions {
            secure: Some(secure),
            ..options
        })
        .await?;
        let upstream = stack.registry_url().strip_prefix("http://").context("http")?;
        let upstream: SocketAddr = upstream.split('/').next().context("an address")?.parse()?;
        let registry = TlsFront::start(&issued, "posthaste", &password("registry", "any"), upstream).await?;
        let protected = Self {
            stack,
            registry,
            directory,
        };
        protected.make_roles().await?;
        acls::create(&protected.kafka_set_up()?.bootstrap, &acls::documented()?).await?;
        Ok(protected)
    }

    async fn make_roles(&self) -> anyhow::Result<()> {
        let superuser = self.session("posthaste").await?;
        let mut sql = format!(
            "create role posthaste_owner login replication password '{}';",
            password("sql", "owner")
        );
        for part in SQL_PARTS {
            let replication = if part == "connector" { "replication" } else { "" };
            let password = password("sql", part);
            write!(
                sql,
                "create role posthaste_{part} login {replication} password '{password}';"
            )?;
        }
        superuser.batch_execute(&sql).await?;
        let create = format!("create database {DATABASE} owner posthaste_owner");
        Ok(superuser.batch_execute(&create).await?)
    }

    /// A session of the superuser's in the database of the parts.
    pub(crate) async fn superuser(&self) -> anyhow::Result<Client> {
        self.session(DATABASE).await
    }

    /// Over the socket, which the parts do not use.
    async fn session(&self, database: &str) -> anyhow::Result<Client> {
        let mut config: tokio_postgres::Config = self.stack.database_url().parse()?;
        let (client, connection) = config.dbname(database).connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A session of the owner's in the database of the parts.
    pub(crate) async fn owner(&self) -> anyhow::Result<Client> {
        let client = self.superuser().await?;
        client.batch_execute("set role posthaste_owner").await?;
        Ok(client)
    }

    /// Kafka for whom everything is allowed.
    pub(crate) fn kafka_set_up(&self) -> anyhow::Result<KafkaOptions> {
        Ok(KafkaOptions {
            bootstrap: self.stack.kafka_set_up().context("a protected Kafka")?,
            ..KafkaOptions::default()
        })
    }

    /// Writes a part's configuration and gives its path.
    pub(crate) fn configure(&self, name: &str, wires: &Wires) -> anyhow::Result<PathBuf> {
        let certificate = |name: &str| self.directory.path().join(name).display().to_string();
        let config: tokio_postgres::Config = self.stack.database_url().parse()?;
        let database_port = config.get_ports().first().context("a port")?;
        let (_, kafka_port) = self.stack.kafka_bootstrap().split_once(':').context("a port")?;
        let part = wires.part;
        let text = format!(
            r#"
[database]
url = "postgresql://posthaste_{part}:{}@{}:{database_port}/{DATABASE}?sslmode=verify-full"
ca = "{}"
[kafka]
bootstrap = "{}:{kafka_port}"
[kafka.properties]
"security.protocol" = "SASL_SSL"
"ssl.ca.location" = "{}"
"sasl.mechanism" = "SCRAM-SHA-512"
"sasl.username" = "posthaste-{part}"
"sasl.password" = "{}"
[registry]
url = "https://posthaste:{}@localhost:{}/apis/ccompat/v7"
ca = "{}"
[worker]
builtins = true
[delivery]
allow_private_addresses = true
allow_http = true
{}
"#,
            wires.database_password,
            wires.database_host,
            certificate(wires.database_ca),
            wires.kafka_host,
            certificate(wires.kafka_ca),
            wires.kafka_password,
            password("registry", "any"),
            self.registry.port(),
            certificate("ours.pem"),
            wires.more,
        );
        let path = self.directory.path().join(name).with_extension("toml");
        std::fs::write(&path, text)?;
        Ok(path)
    }
}
