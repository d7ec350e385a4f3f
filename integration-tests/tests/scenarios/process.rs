//! A running `posthaste`: started as users start it, stopped or killed as machines do. What it logs is kept in the
//! world's folder of logs, which the last scenario reads.

use std::fs::File;
use std::net::TcpListener;
use std::process::{ExitStatus, Stdio};

use anyhow::{Context as _, bail, ensure};
use tokio::process::{Child, Command};

use crate::world::{PATIENCE, World, eventually};

/// One process of the executable; killed when dropped.
pub(crate) struct Process {
    child: Child,
    name: String,
    /// Base of its HTTP interface, without a final slash.
    pub(crate) url: String,
}

/// A port that was free just now.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

impl Process {
    /// All roles in one process, on the world's stack.
    pub(crate) async fn whole(world: &World) -> anyhow::Result<Self> {
        Self::whole_at(world, free_port()?).await
    }

    /// The same at a given port, for one that comes back where it was.
    pub(crate) async fn whole_at(world: &World, port: u16) -> anyhow::Result<Self> {
        Self::dev(world, port, &[]).await
    }

    /// All roles in one process with these keys of the configuration, each as `key=value`.
    pub(crate) async fn whole_with(world: &World, settings: &[&str]) -> anyhow::Result<Self> {
        Self::dev(world, free_port()?, settings).await
    }

    async fn dev(world: &World, port: u16, settings: &[&str]) -> anyhow::Result<Self> {
        let stack = &world.stack;
        let mut command = Command::new(&world.executable);
        command.args(["dev", "--port", &port.to_string()]);
        for setting in settings {
            command.args(["--set", setting]);
        }
        command.args([
            "--database-url",
            stack.database_url(),
            "--kafka",
            stack.kafka_bootstrap(),
        ]);
        command.args(["--registry", stack.registry_url()]);
        command.args(&*world.dev_arguments.lock().expect("no scenario panics with it"));
        Self::spawn(world, "dev", command, port).await
    }

    /// One role alone, on the world's stack. The record must have been migrated.
    pub(crate) async fn role(world: &World, role: &str) -> anyhow::Result<Self> {
        Self::role_at(world, role, free_port()?).await
    }

    /// One role alone at a given port, for one that comes back where it was.
    pub(crate) async fn role_at(world: &World, role: &str, port: u16) -> anyhow::Result<Self> {
        Self::role_with(world, role, port, &[]).await
    }

    /// The same with these keys of the configuration, each as `key=value`.
    pub(crate) async fn role_with(
        world: &World,
        role: &str,
        port: u16,
        settings: &[&str],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(&world.executable);
        command.arg(role);
        configure(&mut command, world);
        command.env("POSTHASTE_HTTP__LISTEN", format!("127.0.0.1:{port}"));
        for setting in settings {
            command.args(["--set", setting]);
        }
        Self::spawn(world, role, command, port).await
    }

    async fn spawn(world: &World, name: &str, mut command: Command, port: u16) -> anyhow::Result<Self> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(world.logs.path().join(format!("{name}-{port}.log")))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        let child = command.spawn().context("the executable starts")?;
        let mut process = Self {
            child,
            name: name.to_owned(),
            url: format!("http://127.0.0.1:{port}"),
        };
        process.ready().await?;
        Ok(process)
    }

    /// Waits until it says that it is ready.
    async fn ready(&mut self) -> anyhow::Result<()> {
        let (url, name) = (format!("{}/readyz", self.url), self.name.clone());
        eventually(&format!("{name} is ready"), async || {
            if let Some(status) = self.child.try_wait()? {
                bail!("{name} ended with {status}; with POSTHASTE_TEST_LOG=1 its log is kept");
            }
            let answer = reqwest::get(&url).await?;
            ensure!(answer.status().is_success(), "{}", answer.text().await?);
            Ok(())
        })
        .await
    }

    /// Where it listens, as `host:port`.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port())
    }

    /// The most memory that it has held, bytes.
    pub(crate) fn memory_peak_bytes(&self) -> anyhow::Result<u64> {
        let pid = self.child.id().context("a process that runs")?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.split_whitespace().next());
        Ok(kib.context("a peak")?.parse::<u64>()? * 1024)
    }

    /// The port it listens on.
    pub(crate) fn port(&self) -> u16 {
        self.url
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("a port that this file put there")
    }

    /// `kill -9`, and waits until it is gone.
    pub(crate) async fn kill(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("a process that runs")
    }

    /// SIGTERM, and expects an orderly end.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let status = terminate(&mut self.child).await?;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(())
    }
}

/// SIGTERM, and waits for the end.
pub(crate) async fn terminate(child: &mut Child) -> anyhow::Result<ExitStatus> {
    let pid = child.id().context("a process that runs")?;
    let sent = Command::new("kill")
        .args(["-TERM", &pid.to_string()])
        .status()
        .await?;
    ensure!(sent.success(), "SIGTERM was not sent");
    tokio::time::timeout(PATIENCE, child.wait())
        .await
        .context("it ends when told")?
        .context("how it ended")
}

/// Points a command at the world's stack.
pub(crate) fn configure(command: &mut Command, world: &World) {
    command.env("POSTHASTE_DATABASE__URL", world.stack.database_url());
    command.env("POSTHASTE_KAFKA__BOOTSTRAP", world.stack.kafka_bootstrap());
    command.env("POSTHASTE_REGISTRY__URL", world.stack.registry_url());
    command.env("POSTHASTE_HTTP__ACCESS", "open");
    command.env("POSTHASTE_WORKER__BUILTINS", "true");
    command.env("POSTHASTE_DELIVERY__ALLOW_PRIVATE_ADDRESSES", "true");
}

/// Runs a short command of the executable to its end.
pub(crate) async fn run(world: &World, arguments: &[&str]) -> anyhow::Result<std::process::Output> {
    let mut command = Command::new(&world.executable);
    command.args(arguments).stdin(Stdio::null());
    configure(&mut command, world);
    Ok(tokio::time::timeout(PATIENCE, command.output())
        .await
        .context("the command ends")??)
}

/// Runs `posthaste migrate`, which every scenario with separate roles needs first.
pub(crate) async fn migrate(world: &World) -> anyhow::Result<()> {
    let output = run(world, &["migrate"]).await?;
    ensure!(
        output.status.success(),
        "migrate failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
