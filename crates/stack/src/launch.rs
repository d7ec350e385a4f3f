//! How one part is started, on one port: kept, so that it can be started again on the same port and data.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use crate::command;
use crate::error::Error;
use crate::options::Part;
use crate::port::HeldPort;
use crate::probe::Probe;
use crate::process::Process;
use crate::progress::{Progress, Step};
use crate::user::OrdinaryUser;

/// Long enough for a Postgres that replays 2 GB of WAL after a crash.
const READY_WAIT_MAX: Duration = Duration::from_secs(120);
const PROBE_INTERVAL: Duration = Duration::from_millis(20);

/// Everything that starting a part takes. Holds its ports for as long as it may be started.
#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) part: Part,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// Variables beside the few that every part gets.
    pub(crate) environment: Vec<(String, String)>,
    /// Where it runs.
    pub(crate) directory: PathBuf,
    pub(crate) log: PathBuf,
    pub(crate) pid_file: PathBuf,
    pub(crate) user: Option<OrdinaryUser>,
    pub(crate) port: HeldPort,
    /// Further ports: none, or Kafka's controller's and, where it is protected, that of set-up.
    pub(crate) inner_ports: Vec<HeldPort>,
    pub(crate) probe: Probe,
    /// How long an orderly stop may take before the part is killed.
    pub(crate) stop_wait_max: Duration,
}

impl Launch {
    /// Starts the part and waits until it serves.
    pub(crate) async fn start(&self, progress: &dyn Progress) -> Result<Process, Error> {
        progress.step(&Step::Starting {
            what: self.part.name(),
        });
        let begun = Instant::now();
        let process = Process::spawn(self).await?;
        while !self.probe.is_ready().await {
            if process.has_ended() {
                return Err(self.ended());
            }
            if begun.elapsed() > READY_WAIT_MAX {
                return Err(self.not_ready());
            }
            sleep(PROBE_INTERVAL).await;
        }
        // The probe tells it from others that answer on its port, and not that it died since.
        if process.has_ended() {
            return Err(self.ended());
        }
        let took = begun.elapsed();
        progress.step(&Step::Ready {
            what: self.part.name(),
            address: self.address(),
            took,
        });
        Ok(process)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    pub(crate) fn ended(&self) -> Error {
        Error::Ended {
            part: self.part,
            log: self.log.clone(),
            tail: self.log_tail(),
        }
    }

    fn not_ready(&self) -> Error {
        let (log, tail) = (self.log.clone(), self.log_tail());
        Error::NotReady {
            part: self.part,
            waited_s: READY_WAIT_MAX.as_secs(),
            log,
            tail,
        }
    }

    /// The last lines of its log, on one line.
    pub(crate) fn log_tail(&self) -> String {
        command::tail(&String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()))
    }
}
