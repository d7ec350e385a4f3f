//! One running part: its process, and the watcher that ends it with us. Must not know what the part is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::sync::{oneshot, watch};
use tokio::time::{sleep, timeout};

use crate::error::Error;
use crate::launch::Launch;
use crate::options::Part;
use crate::process_table::{identity, signal, signal_family};

const WATCHER: &str = include_str!("watcher.sh");
/// Past this a log is set aside when its part starts, so that each part keeps at most two of them.
const LOG_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// How long what an earlier stack left behind may take to end before it is killed.
const LEFTOVER_WAIT_MAX: Duration = Duration::from_secs(10);
/// How long the system may take to remove a killed process.
const KILL_WAIT_MAX: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

/// A signal that asks a program to end.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StopSignal {
    /// What Java programs, and most others, end in order on.
    Term,
    /// Postgres' fast shutdown; its SIGTERM waits for every client to leave.
    Int,
}

impl StopSignal {
    pub(crate) fn of(part: Part) -> Self {
        if part == Part::Postgres {
            Self::Int
        } else {
            Self::Term
        }
    }

    fn signal(self) -> Signal {
        match self {
            Self::Term => Signal::TERM,
            Self::Int => Signal::INT,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Int => "INT",
        }
    }
}

/// A running part. When the value goes away, the watcher ends the process soon after.
#[derive(Debug)]
pub(crate) struct Process {
    pid: i32,
    identity: Option<String>,
    stop_signal: StopSignal,
    stop_wait_max: Duration,
    pid_file: PathBuf,
    ended: watch::Receiver<bool>,
    /// The watcher reads the other end and takes its closing for our end.
    _lifeline: ChildStdin,
}

impl Process {
    /// Starts the program under a watcher. That it runs says nothing yet about whether it serves.
    pub(crate) async fn spawn(launch: &Launch) -> Result<Self, Error> {
        let failed = || Error::io("cannot start", &launch.program);
        let mut watcher = start_watcher(launch).map_err(failed())?;
        let lifeline = watcher.stdin.take().expect("standard input is a pipe");
        let (pid_sender, pid) = oneshot::channel();
        let (ended_sender, ended) = watch::channel(false);
        thread::Builder::new()
            .name(format!("stack-{}", launch.part.slug()))
            .spawn(move || follow(watcher, pid_sender, &ended_sender))
            .map_err(failed())?;
        let pid = pid.await.unwrap_or_default().trim().parse();
        let pid = pid.map_err(|_| launch.ended())?;
        let identity = identity(pid);
        if let Some(identity) = &identity {
            fs::write(&launch.pid_file, format!("{pid} {identity}\n"))
                .map_err(Error::io("cannot write", &launch.pid_file))?;
        }
        Ok(Self {
            pid,
            identity,
            stop_signal: StopSignal::of(launch.part),
            stop_wait_max: launch.stop_wait_max,
            pid_file: launch.pid_file.clone(),
            ended,
            _lifeline: lifeline,
        })
    }

    /// Whether the program has ended.
    pub(crate) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    pub(crate) fn id(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// Completes when the program has ended.
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let mut ended = self.ended.clone();
        async move {
            let waited = ended.wait_for(|ended| *ended).await;
            waited.expect("the thread that follows a part tells of its end");
        }
    }

    /// Stops it from running, as a stalled disk or a frozen machine would, until [`Process::resume`].
    pub(crate) fn pause(&self) {
        self.signal_family(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal_family(Signal::CONT);
    }

    /// Asks it to end, and kills it when that takes too long.
    pub(crate) async fn stop(self) {
        self.resume();
        if self.is_alive() {
            signal(self.pid, self.stop_signal.signal());
        }
        if timeout(self.stop_wait_max, self.ended()).await.is_err() {
            tracing::warn!(process.id = self.pid, "killing a part that did not stop");
            self.kill().await;
        } else {
            let _gone_already = fs::remove_file(&self.pid_file);
        }
    }

    /// Kills it and its children, as a power cut would.
    pub(crate) async fn kill(self) {
        self.signal_family(Signal::KILL);
        self.ended().await;
        let _gone_already = fs::remove_file(&self.pid_file);
    }

    /// Kills it and waits, blocking, until it is gone: for a destructor.
    pub(crate) fn kill_blocking(&self) {
        self.signal_family(Signal::KILL);
        let begun = Instant::now();
        while self.is_alive() && begun.elapsed() < KILL_WAIT_MAX {
            thread::sleep(POLL);
        }
        let _gone_already = fs::remove_file(&self.pid_file);
    }

    fn is_alive(&self) -> bool {
        self.identity.is_some() && identity(self.pid) == self.identity
    }

    fn signal_family(&self, what: Signal) {
        if self.is_alive() {
            signal_family(self.pid, what);
        }
    }
}

/// Tells the pid that the watcher prints, and when the part has ended. It has a thread of its own, so that a part may
/// outlive the runtime on which it was started.
fn follow(mut watcher: Child, pid: oneshot::Sender<String>, ended: &watch::Sender<bool>) {
    let stdout = watcher.stdout.take().expect("standard output is a pipe");
    let mut line = String::new();
    // Where there is nothing to read there is no pid, which the receiver reports.
    let _unread = BufReader::new(stdout).read_line(&mut line);
    let _cancelled = pid.send(line);
    let _status = watcher.wait();
    ended.send_replace(true);
}

fn start_watcher(launch: &Launch) -> io::Result<Child> {
    let log = open_log(&launch.log)?;
    let mut command = Command::new("sh");
    command.args([
        "-c",
        WATCHER,
        "posthaste-watcher",
        StopSignal::of(launch.part).name(),
    ]);
    command.arg(&launch.program).args(&launch.arguments);
    command.current_dir(&launch.directory);
    // PG*, JAVA_* and QUARKUS_* would all reach into what is configured here.
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", &launch.directory).env("LC_ALL", "C");
    command.envs(launch.environment.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
    // A terminal's Ctrl-C must reach us alone: the parts are then stopped in their order.
    command.process_group(0);
    if let Some(user) = launch.user {
        command.uid(user.uid).gid(user.gid);
    }
    command.spawn()
}

fn open_log(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|metadata| metadata.len() > LOG_BYTES_MAX) {
        fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

/// Ends the process that `pid_file` names, if it is still the same one.
pub(crate) async fn end_leftover(pid_file: &Path, part: Part) {
    let Ok(text) = fs::read_to_string(pid_file) else {
        return;
    };
    let Some((pid, expected)) = text.trim().split_once(' ') else {
        return;
    };
    let Ok(pid) = pid.parse() else { return };
    let lives = || identity(pid).as_deref() == Some(expected);
    if lives() {
        tracing::info!(
            process.id = pid,
            part = part.slug(),
            "ending what an earlier stack left running"
        );
        signal_family(pid, Signal::CONT);
        signal(pid, StopSignal::of(part).signal());
        wait_while(&lives, LEFTOVER_WAIT_MAX).await;
    }
    if lives() {
        signal_family(pid, Signal::KILL);
        wait_while(&lives, KILL_WAIT_MAX).await;
    }
    let _gone_already = fs::remove_file(pid_file);
}

async fn wait_while(condition: &impl Fn() -> bool, wait_max: Duration) {
    let begun = Instant::now();
    while condition() && begun.elapsed() < wait_max {
        sleep(POLL).await;
    }
}
