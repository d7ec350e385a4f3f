//! What a caller chooses about a stack. Holds values only.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::progress::{Progress, Silent};
use crate::secure::Secure;

/// How a stack is to be started.
#[derive(Clone)]
pub struct StackOptions {
    /// Where the data lives; made when it is missing, and kept over restarts.
    pub data_dir: PathBuf,
    /// Wipe what an earlier stack left in `data_dir` first.
    pub fresh: bool,
    /// Where the parts listen, always on 127.0.0.1.
    pub ports: Ports,
    /// A Postgres that runs elsewhere (`postgresql://…`). A local one is then started only where the local
    /// registry needs one to keep its schemas in.
    pub database_url: Option<String>,
    /// Bootstrap servers of a Kafka that runs elsewhere; none is then started.
    pub kafka: Option<String>,
    /// Base address of a registry that runs elsewhere; none is then started.
    pub registry_url: Option<String>,
    /// The major version of the local Postgres, for a cluster that is made: one that is installed, else one that is
    /// published. `None`: the newest installed.
    pub postgres_major: Option<u32>,
    /// TLS, logins and rights in Postgres and Kafka; `None`: plain and open to everybody on this machine.
    pub secure: Option<Secure>,
    /// Receives what happens.
    pub progress: Arc<dyn Progress>,
}

impl StackOptions {
    /// Everything local, on free ports, keeping what is in `data_dir`, silently.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            fresh: false,
            ports: Ports::Free,
            database_url: None,
            kafka: None,
            registry_url: None,
            postgres_major: None,
            secure: None,
            progress: Arc::new(Silent),
        }
    }

    /// Only Postgres is started: the others count as running at an address that nobody is to ask.
    #[must_use]
    pub fn postgres_alone(self) -> Self {
        let nowhere = Some("127.0.0.1:9".to_owned());
        Self {
            kafka: nowhere.clone(),
            registry_url: nowhere,
            ..self
        }
    }
}

impl fmt::Debug for StackOptions {
    /// Leaves out the addresses: they may carry passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackOptions")
            .field("data_dir", &self.data_dir)
            .field("fresh", &self.fresh)
            .field("ports", &self.ports)
            .finish_non_exhaustive()
    }
}

/// How the parts' ports are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Any free ports.
    Free,
    /// These where they are free, any free port otherwise.
    Preferred(PortSet),
    /// These, or an error that names the one that is taken.
    Fixed(PortSet),
}

/// One port for each part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortSet {
    /// Postgres.
    pub postgres: u16,
    /// Kafka's clients' listener; its controller always takes a free port.
    pub kafka: u16,
    /// The schema registry.
    pub registry: u16,
}

/// A part of the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// The database.
    Postgres,
    /// The broker.
    Kafka,
    /// The schema registry.
    Registry,
    /// Kafka Connect, which runs beside a stack and not as one of its own parts.
    Connect,
}

impl Part {
    /// The name that a reader knows.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "Postgres",
            Self::Kafka => "Kafka",
            Self::Registry => "registry",
            Self::Connect => "Kafka Connect",
        }
    }

    /// The name in file names.
    pub(crate) fn slug(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Kafka => "kafka",
            Self::Registry => "registry",
            Self::Connect => "connect",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl PortSet {
    pub(crate) fn of(self, part: Part) -> u16 {
        match part {
            Part::Postgres => self.postgres,
            Part::Kafka => self.kafka,
            Part::Registry => self.registry,
            Part::Connect => unreachable!("it always takes a free port"),
        }
    }
}
