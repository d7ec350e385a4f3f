//! `posthaste dev` as a stranger meets it: it brings everything up, shows a result, and leaves nothing behind.

use std::process::Stdio;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::process::free_port;
use crate::world::{PATIENCE, World, eventually};

fn dev(world: &World, data: &std::path::Path) -> anyhow::Result<Command> {
    let mut command = Command::new(&world.executable);
    command
        .arg("dev")
        .arg("--data-dir")
        .arg(data)
        .args(["--port", &free_port()?.to_string(), "--demo"]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    Ok(command)
}

/// Processes whose command line or environment names the folder.
async fn processes_of(data: &std::path::Path) -> anyhow::Result<Vec<String>> {
    let output = Command::new("ps").args(["-eo", "pid,args"]).output().await?;
    let text = String::from_utf8(output.stdout)?;
    let folder = data.to_str().context("a plain path")?;
    Ok(text
        .lines()
        .filter(|line| line.contains(folder) && !line.contains(" ps "))
        .map(str::to_owned)
        .collect())
}

async fn nothing_runs(data: &std::path::Path) -> anyhow::Result<()> {
    eventually("no process of the folder is left", async || {
        let left = processes_of(data).await?;
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
}

pub(crate) async fn dev_shows_a_result_and_leaves_nothing_behind(world: Arc<World>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let output = dev(&world, &data)?.arg("--once").output();
    let output = tokio::time::timeout(PATIENCE, output)
        .await
        .context("it ends")??;
    let text = String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{text}");
    ensure!(text.contains("DONE") && text.contains("words"), "{text}");
    nothing_runs(&data).await
}

/// Reads on until the demo's result, the last line that it writes: nobody reads the pipe after this.
async fn shows_a_result(child: &mut Child) -> anyhow::Result<()> {
    let mut lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
    tokio::time::timeout(PATIENCE, async {
        while let Some(line) = lines.next_line().await? {
            if line.contains("\"words\"") {
                return anyhow::Ok(());
            }
        }
        anyhow::bail!("it ended without a result")
    })
    .await
    .context("a result is shown")?
}

pub(crate) async fn dev_stops_and_says_why_when_a_part_dies(world: Arc<World>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let mut child = dev(&world, &data)?
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    shows_a_result(&mut child).await?;
    let pid_file = std::fs::read_to_string(data.join("stack/postgres/postmaster.pid"))?;
    let pid = pid_file.lines().next().context("its first line is the process")?;
    ensure!(Command::new("kill").args(["-9", pid]).status().await?.success());
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .context("it ends")??;
    let text = String::from_utf8(output.stderr)?;
    ensure!(output.status.code() == Some(1), "{:?}: {text}", output.status);
    ensure!(text.contains("error: Postgres ended by itself"), "{text}");
    nothing_runs(&data).await
}

pub(crate) async fn dev_killed_hard_starts_again_on_its_data(world: Arc<World>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let mut child = dev(&world, &data)?
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    shows_a_result(&mut child).await?;
    child.kill().await?;
    nothing_runs(&data).await?;
    let output = tokio::time::timeout(PATIENCE, dev(&world, &data)?.arg("--once").output()).await??;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    nothing_runs(&data).await
}
