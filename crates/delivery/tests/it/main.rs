//! The role on a real Postgres, Kafka and registry, which all tests of this binary share. Each test has a channel of its
//! own.

#[cfg(test)]
mod access;
#[cfg(test)]
mod door;
#[cfg(test)]
mod receiver;
#[cfg(test)]
mod sse;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod webhooks;
#[cfg(test)]
mod world;

use std::sync::LazyLock;

use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::world::World;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("threads can be started"));
static WORLD: OnceCell<World> = OnceCell::const_new();

/// Runs a test on the shared runtime, so that the stack outlives each test.
fn with_world<F: Future<Output = ()>>(test: impl FnOnce(&'static World) -> F) {
    RUNTIME.block_on(async { test(WORLD.get_or_init(World::new).await).await });
}
