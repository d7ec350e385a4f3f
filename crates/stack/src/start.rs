//! Makes each part ready and starts it, again with another free port where somebody else was quicker.

use std::pin::pin;

use tokio::sync::{Mutex, Notify};

use crate::data_dir::DataDir;
use crate::error::Error;
use crate::launch::Launch;
use crate::options::{Part, Ports};
use crate::port::HeldPort;
use crate::process::Process;
use crate::progress::Progress;
use crate::secure::Secure;
use crate::tools::Tools;
use crate::{kafka, port, postgres, registry};

/// A part that ends at once is tried this often: its port may have been taken, or what a crash left may still be going.
const ATTEMPT_COUNT_MAX: u32 = 3;

/// A part that this stack runs.
#[derive(Debug)]
pub(crate) struct Managed {
    pub(crate) launch: Launch,
    /// `None` after a kill.
    pub(crate) process: Mutex<Option<Process>>,
    /// Told of every restart.
    restarted: Notify,
}

impl Managed {
    pub(crate) fn new(launch: Launch, process: Process) -> Self {
        Self {
            launch,
            process: Mutex::new(Some(process)),
            restarted: Notify::new(),
        }
    }

    /// Starts it again, stopping it in order first if it runs.
    pub(crate) async fn restart(&self, progress: &dyn Progress) -> Result<(), Error> {
        let mut process = self.process.lock().await;
        if let Some(running) = process.take() {
            running.stop().await;
        }
        *process = Some(Box::pin(self.launch.start(progress)).await?);
        self.restarted.notify_waiters();
        Ok(())
    }

    /// Its process, unless it was killed.
    pub(crate) async fn process_id(&self) -> Option<u32> {
        self.process.lock().await.as_ref().map(Process::id)
    }

    /// The last lines of its log, and where the rest is.
    pub(crate) fn log_end(&self) -> String {
        let (tail, log) = (self.launch.log_tail(), self.launch.log.display());
        format!("{tail} (whole log: {log})")
    }

    /// Completes when it has ended and nobody here had a hand in it: who kills or restarts it takes the process out of
    /// its place before ending it.
    pub(crate) async fn died(&self) {
        loop {
            // Made before looking, so that no restart is missed.
            let restarted = pin!(self.restarted.notified());
            let ended = self.process.lock().await.as_ref().map(Process::ended);
            match ended {
                Some(ended) => ended.await,
                None => restarted.await,
            }
            if self.process.lock().await.as_ref().is_some_and(Process::has_ended) {
                return;
            }
        }
    }
}

pub(crate) struct Starter<'a> {
    pub(crate) directory: &'a DataDir,
    pub(crate) tools: &'a Tools,
    pub(crate) ports: Ports,
    pub(crate) postgres_major: Option<u32>,
    pub(crate) secure: Option<&'a Secure>,
}

impl Starter<'_> {
    pub(crate) async fn postgres(&self) -> Result<Managed, Error> {
        let programs = postgres::programs(self.directory, self.tools, self.postgres_major).await?;
        postgres::create(self.directory, &programs, self.secure).await?;
        self.serve(Part::Postgres, |port| {
            Ok(postgres::launch(self.directory, &programs, port))
        })
        .await
    }

    pub(crate) async fn kafka(&self) -> Result<Managed, Error> {
        kafka::check_path(self.directory)?;
        let java = self.tools.java()?;
        let jars = kafka::jars(self.tools).await?;
        kafka::create(self.directory, java, &jars, self.secure).await?;
        let inner_count = if self.secure.is_some() { 2 } else { 1 };
        let plan = |port| {
            let inner = std::iter::repeat_with(port::free).take(inner_count);
            kafka::launch(
                self.directory,
                java,
                &jars,
                port,
                inner.collect::<Result<_, _>>()?,
            )
        };
        self.serve(Part::Kafka, plan).await
    }

    pub(crate) async fn registry(&self, postgres_port: u16) -> Result<Managed, Error> {
        let java = self.tools.java()?;
        let application = registry::application(self.tools).await?;
        let plan = |port| registry::launch(self.directory, java, &application, port, postgres_port);
        self.serve(Part::Registry, plan).await
    }

    async fn serve(
        &self,
        part: Part,
        plan: impl Fn(HeldPort) -> Result<Launch, Error>,
    ) -> Result<Managed, Error> {
        let mut attempt = 1;
        loop {
            let launch = plan(port::choose(self.ports, part)?)?;
            match launch.start(self.tools.progress()).await {
                Ok(process) => return Ok(Managed::new(launch, process)),
                Err(Error::Ended { tail, .. }) if attempt < ATTEMPT_COUNT_MAX => {
                    tracing::warn!(
                        part = part.slug(),
                        attempt,
                        tail,
                        "trying again to start a part that ended"
                    );
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }
}
