//! What the system counts for a process, and the signals that it gets.

use std::fs;

use anyhow::{Context as _, ensure};

/// Linux counts processor time for users in hundredths of a second, whatever it uses itself.
const TICK_MS: u64 = 10;

/// Processor time used so far, milliseconds.
pub(crate) fn cpu_ms(pid: u32) -> anyhow::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name, in parentheses, may hold anything: fields are counted from behind it.
    let (_, fields) = stat.rsplit_once(')').context("a name in parentheses")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Ok((fields[11].parse::<u64>()? + fields[12].parse::<u64>()?) * TICK_MS)
}

/// The most memory that it has held so far, MB.
pub(crate) fn peak_mb(pid: u32) -> anyhow::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes: f64 = line
        .and_then(|line| line.trim().strip_suffix(" kB"))
        .context("a peak in kB")?
        .trim()
        .parse()?;
    Ok(kibibytes * 1024.0 / 1e6)
}

/// Sends `STOP`, `CONT`, `TERM` or `KILL`.
pub(crate) async fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let sent = tokio::process::Command::new("kill")
        .args(["-s", name, &pid.to_string()])
        .status()
        .await?;
    ensure!(sent.success(), "SIG{name} was not sent");
    Ok(())
}
