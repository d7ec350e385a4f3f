//! A part that runs with a configuration of its own, ready or not, and what it says in its log.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, bail, ensure};
use tokio::process::{Child, Command};

use super::protected::{Protected, Wires};
use crate::process::{free_port, terminate};
use crate::world::{PATIENCE, World, eventually};

/// Killed when dropped.
pub(crate) struct Running {
    child: Child,
    name: String,
    log: PathBuf,
    /// Base of its HTTP interface, without a final slash.
    pub(crate) url: String,
}

impl Running {
    /// Starts a part; `name` is its own among those that run.
    pub(crate) fn start(
        world: &World,
        protected: &Protected,
        name: &str,
        wires: &Wires,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let log = protected.directory.path().join(name).with_extension("log");
        let file = File::create(&log)?;
        let child = Command::new(&world.executable)
            .arg(wires.part)
            .arg("--config")
            .arg(protected.configure(name, wires)?)
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .context("the executable starts")?;
        Ok(Self {
            child,
            name: name.to_owned(),
            log,
            url: format!("http://127.0.0.1:{port}"),
        })
    }

    pub(crate) fn log(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(&self.log)?)
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&mut self) -> anyhow::Result<()> {
        let (url, what) = (format!("{}/readyz", self.url), format!("{} is ready", self.name));
        let ready = eventually(&what, async || {
            self.runs()?;
            let answer = reqwest::get(&url).await?;
            ensure!(answer.status().is_success(), "{}", answer.text().await?);
            Ok(())
        });
        let ready = ready.await;
        ready.with_context(|| self.log().unwrap_or_default())
    }

    /// Waits until its log holds a text; it still runs then, and is not ready.
    pub(crate) async fn says(&mut self, text: &str) -> anyhow::Result<()> {
        let what = format!("{} says `{text}`", self.name);
        let said = eventually(&what, async || {
            self.runs()?;
            ensure!(self.log()?.contains(text), "not yet");
            Ok(())
        });
        let said = said.await;
        said.with_context(|| self.log().unwrap_or_default())
    }

    /// Whether it says at `/readyz` that it is not ready.
    pub(crate) async fn is_waiting(&self) -> anyhow::Result<bool> {
        Ok(reqwest::get(format!("{}/readyz", self.url)).await?.status() == 503)
    }

    fn runs(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended with {status}", self.name),
            None => Ok(()),
        }
    }

    /// SIGTERM, and expects an orderly end.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        let status = terminate(&mut self.child).await?;
        ensure!(
            status.success(),
            "{} ended with {status}\n{}",
            self.name,
            self.log()?
        );
        Ok(())
    }
}

/// Runs a command of the owner's to its end and gives its standard output.
pub(crate) async fn as_owner(
    world: &World,
    protected: &Protected,
    arguments: &[&str],
) -> anyhow::Result<String> {
    let output = Command::new(&world.executable)
        .args(arguments)
        .arg("--config")
        .arg(protected.configure("owner", &Wires::right("owner"))?)
        .stdin(Stdio::null())
        .output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .context("it ends")??;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{arguments:?}: {errors}");
    Ok(String::from_utf8(output.stdout)?)
}
