//! A dependency goes away under load and comes back: nothing is lost, and everything goes on by itself.

use std::sync::Arc;
use std::time::Duration;

use posthaste_stack::Part;

use crate::load::{Load, assert_each_has_one_result, channel};
use crate::process::Process;
use crate::world::World;

const PAUSE: Duration = Duration::from_millis(2);
const ACCEPTED_BETWEEN: usize = 300;

async fn restart_under_load(world: &World, part: Part, name: &str) -> anyhow::Result<()> {
    let whole = Process::whole(world).await?;
    let channel = channel(name);
    let load = Load::start(world, &whole.url, &channel, PAUSE);
    load.accepts(ACCEPTED_BETWEEN).await?;
    // In order, then as a power cut would.
    world.stack.restart(part).await?;
    load.accepts(ACCEPTED_BETWEEN).await?;
    world.stack.kill(part).await?;
    world.stack.restart(part).await?;
    load.accepts(ACCEPTED_BETWEEN).await?;
    let accepted = load.finish().await?;
    assert_each_has_one_result(world, &channel, &accepted).await?;
    whole.stop().await
}

pub(crate) async fn kafka_restart_under_load_loses_nothing(world: Arc<World>) -> anyhow::Result<()> {
    restart_under_load(&world, Part::Kafka, "kafka").await
}

pub(crate) async fn postgres_restart_under_load_loses_nothing(world: Arc<World>) -> anyhow::Result<()> {
    restart_under_load(&world, Part::Postgres, "postgres").await
}
