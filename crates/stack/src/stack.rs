//! A running stack: the order in which its parts start and stop, and what a test may do to them meanwhile.

use std::fmt;
use std::future::pending;
use std::sync::Arc;

use crate::connect::{self, Connect, ConnectOptions};
use crate::data_dir::DataDir;
use crate::error::Error;
use crate::options::{Part, StackOptions};
use crate::postgres;
use crate::progress::{Progress, Step};
use crate::registry;
use crate::secure;
use crate::start::{Managed, Starter};
use crate::tools::Tools;
use crate::user::OrdinaryUser;

/// A local Postgres, Kafka and schema registry, or the addresses of those that run elsewhere.
///
/// Dropping it ends what it runs, without waiting; [`Stack::stop`] does so in order. A killed process's parts are ended
/// by their watchers.
pub struct Stack {
    postgres: Option<Managed>,
    kafka: Option<Managed>,
    registry: Option<Managed>,
    database_url: String,
    database_tcp_url: String,
    kafka_bootstrap: String,
    registry_url: String,
    progress: Arc<dyn Progress>,
    /// Ends with the stack: nothing is kept, so that nothing need be stopped in order.
    is_temporary: bool,
    /// Last, so that the directory is held for as long as anything above is.
    directory: DataDir,
}

impl Stack {
    /// Starts what is not given by address, fetching what is not installed, and waits until all of it serves.
    ///
    /// # Errors
    /// When a program is missing or cannot be fetched, the directory is in use or not ours, a fixed port is taken, or a
    /// part does not come up. What had been started is ended then.
    pub async fn start(options: StackOptions) -> Result<Self, Error> {
        Self::start_with(options, false).await
    }

    pub(crate) async fn start_with(options: StackOptions, is_temporary: bool) -> Result<Self, Error> {
        let user = OrdinaryUser::to_run_as()?;
        let progress = options.progress;
        let directory = DataDir::open(&options.data_dir, options.fresh, user, progress.as_ref()).await?;
        let tools = Tools::find(user, Arc::clone(&progress)).await?;
        let starter = Starter {
            directory: &directory,
            tools: &tools,
            ports: options.ports,
            postgres_major: options.postgres_major,
            secure: options.secure.as_ref(),
        };

        // The registry keeps its schemas in the local Postgres, also where the tasks are in another one.
        let runs_registry = options.registry_url.is_none();
        let runs_postgres = options.database_url.is_none() || runs_registry;
        if runs_postgres && options.database_url.is_some() {
            let text = "the registry keeps its schemas in a local Postgres; give its address to run neither"
                .to_owned();
            progress.step(&Step::Note { text });
        }
        let databases = async {
            let postgres = if runs_postgres {
                Some(starter.postgres().await?)
            } else {
                None
            };
            let registry = match &postgres {
                Some(postgres) if runs_registry => {
                    Some(starter.registry(postgres.launch.port.number()).await?)
                }
                _ => None,
            };
            Ok::<_, Error>((postgres, registry))
        };
        let broker = async {
            if options.kafka.is_none() {
                starter.kafka().await.map(Some)
            } else {
                Ok(None)
            }
        };
        let ((postgres, registry), kafka) = tokio::try_join!(Box::pin(databases), Box::pin(broker))?;

        let kafka_host = options.secure.map_or("127.0.0.1", |_| secure::HOST);
        let port = |part: &Option<Managed>| part.as_ref().map_or(0, |part| part.launch.port.number());
        let (database_url, database_tcp_url) = match options.database_url {
            Some(url) => (url.clone(), url),
            None => (
                postgres::socket_url(directory.socket_directory(), port(&postgres)),
                postgres::tcp_url(port(&postgres)),
            ),
        };
        Ok(Self {
            database_url,
            database_tcp_url,
            kafka_bootstrap: options
                .kafka
                .unwrap_or_else(|| format!("{kafka_host}:{}", port(&kafka))),
            registry_url: options
                .registry_url
                .unwrap_or_else(|| registry::url(port(&registry))),
            postgres,
            kafka,
            registry,
            progress,
            is_temporary,
            directory,
        })
    }

    /// The tasks' database, over its Unix socket where it is local.
    pub fn database_url(&self) -> &str {
        &self.database_url
    }

    /// The tasks' database over TCP.
    pub fn database_tcp_url(&self) -> &str {
        &self.database_tcp_url
    }

    /// Kafka's bootstrap servers.
    pub fn kafka_bootstrap(&self) -> &str {
        &self.kafka_bootstrap
    }

    /// The listener of a protected Kafka that is plain and may do everything; `None` for one that is not protected, or not
    /// run by this stack.
    pub fn kafka_set_up(&self) -> Option<String> {
        let inner = self.kafka.as_ref()?.launch.inner_ports.get(1)?;
        Some(format!("127.0.0.1:{}", inner.number()))
    }

    /// The base address of the registry's Confluent-compatible API.
    pub fn registry_url(&self) -> &str {
        &self.registry_url
    }

    /// Kills a part as a power cut would: `SIGKILL`, to its children too.
    ///
    /// # Errors
    /// When the part is not run by this stack, or not running.
    pub async fn kill(&self, part: Part) -> Result<(), Error> {
        let process = self.managed(part)?.process.lock().await.take();
        process.ok_or(Error::NotRunning(part))?.kill().await;
        Ok(())
    }

    /// Starts a part again, on the same port and data, stopping it in order first if it runs, and waits until it serves.
    ///
    /// # Errors
    /// When the part is not run by this stack, or does not come up.
    pub async fn restart(&self, part: Part) -> Result<(), Error> {
        self.managed(part)?.restart(self.progress.as_ref()).await
    }

    /// Waits until a part ends that nobody killed or restarted here, and returns it with the last lines of its log and
    /// where the whole of it is. Goes on to wait over kills, restarts and pauses. Cancel safe; once a part has died
    /// it completes at once, until that part is restarted.
    pub async fn died(&self) -> (Part, String) {
        // In this order because the registry cannot live without Postgres.
        tokio::select! {
            biased;
            death = self.died_of(Part::Postgres) => death,
            death = self.died_of(Part::Kafka) => death,
            death = self.died_of(Part::Registry) => death,
        }
    }

    async fn died_of(&self, part: Part) -> (Part, String) {
        let Ok(managed) = self.managed(part) else {
            return pending().await;
        };
        managed.died().await;
        (part, managed.log_end())
    }

    /// Starts a Kafka Connect beside the stack, with its files in the stack's directory, fetching it where it is not in
    /// the cache, and waits until its connector runs. It is to be stopped before the stack is.
    ///
    /// # Errors
    /// When a program is missing or cannot be fetched, or it does not come up.
    pub async fn connect(&self, options: &ConnectOptions) -> Result<Connect, Error> {
        Connect::start(&self.directory, options, Arc::clone(&self.progress)).await
    }

    /// Fetches what [`Stack::connect`] would, without starting it.
    ///
    /// # Errors
    /// When a program is missing or it cannot be fetched.
    pub async fn fetch_connect(&self, options: &ConnectOptions) -> Result<(), Error> {
        let tools = Tools::find(self.directory.user, Arc::clone(&self.progress)).await?;
        connect::jars(&tools, options).await.map(drop)
    }

    /// Its process, for who measures it: `None` where the part is not run by this stack or was killed.
    pub async fn process_id(&self, part: Part) -> Option<u32> {
        self.managed(part).ok()?.process_id().await
    }

    /// Freezes a part (`SIGSTOP`, to its children too) until [`Stack::resume`]: its connections stay open and silent.
    ///
    /// # Errors
    /// When the part is not run by this stack, or not running.
    pub async fn pause(&self, part: Part) -> Result<(), Error> {
        let process = self.managed(part)?.process.lock().await;
        process.as_ref().ok_or(Error::NotRunning(part))?.pause();
        Ok(())
    }

    /// Lets a paused part run on.
    ///
    /// # Errors
    /// When the part is not run by this stack, or not running.
    pub async fn resume(&self, part: Part) -> Result<(), Error> {
        let process = self.managed(part)?.process.lock().await;
        process.as_ref().ok_or(Error::NotRunning(part))?.resume();
        Ok(())
    }

    /// Stops everything in order: the registry and Kafka, then Postgres. Kills what does not stop.
    ///
    /// # Errors
    /// None at present; what cannot be stopped is killed.
    pub async fn stop(mut self) -> Result<(), Error> {
        let (postgres, kafka, registry) = (self.postgres.take(), self.kafka.take(), self.registry.take());
        tokio::join!(self.end(kafka), self.end(registry));
        self.end(postgres).await;
        Ok(())
    }

    async fn end(&self, part: Option<Managed>) {
        // The rest of it stays until the end: with it go the ports.
        let Some(managed) = part else { return };
        let Some(process) = managed.process.into_inner() else {
            return;
        };
        if self.is_temporary {
            process.kill().await
        } else {
            process.stop().await
        }
    }

    fn managed(&self, part: Part) -> Result<&Managed, Error> {
        let managed = match part {
            Part::Postgres => &self.postgres,
            Part::Kafka => &self.kafka,
            Part::Registry => &self.registry,
            Part::Connect => return Err(Error::NotManaged(part)),
        };
        managed.as_ref().ok_or(Error::NotManaged(part))
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if !self.is_temporary {
            return;
        }
        for managed in [&mut self.registry, &mut self.kafka, &mut self.postgres]
            .into_iter()
            .flatten()
        {
            if let Some(process) = managed.process.get_mut() {
                process.kill_blocking();
            }
        }
        self.directory.remove();
    }
}

impl fmt::Debug for Stack {
    /// Leaves out the addresses: those of external parts may carry passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("directory", &self.directory)
            .finish_non_exhaustive()
    }
}
