//! Clients that are not ours: the folder `interop/` run against the executable. Needs Python with venv, Node and npm, and
//! is ignored where one of them is missing.

use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::{Context as _, ensure};

use crate::process::Process;
use crate::world::World;

/// Whether everything that the clients need is on this machine.
pub(crate) fn is_possible() -> bool {
    let commands: [&[&str]; 3] = [
        &["python3", "-c", "import venv, ensurepip"],
        &[
            "node",
            "-e",
            "process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)",
        ],
        &["npm", "--version"],
    ];
    commands.iter().all(|command| {
        let mut process = Command::new(command[0]);
        process
            .args(&command[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        process.status().is_ok_and(|status| status.success())
    })
}

pub(crate) async fn clients_of_others_are_content(world: Arc<World>) -> anyhow::Result<()> {
    let process = Process::whole(&world).await?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/interop/run");
    let mut command = tokio::process::Command::new(script);
    command.args(["--url", &process.url]);
    command.args(["--kafka", world.stack.kafka_bootstrap()]);
    command.args(["--registry", world.stack.registry_url()]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    // Each client bounds its own time; installing them the first time takes as long as the network does.
    let output = command.output().await.context("the script runs")?;
    ensure!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    process.stop().await
}
