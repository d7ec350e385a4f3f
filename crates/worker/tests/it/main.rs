//! The worker on a real Postgres, Kafka and registry, which all tests of this binary share.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod attempts;
mod handlers;
mod ownership;
mod records;
mod world;

use std::sync::LazyLock;

use posthaste_stack::Stack;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::world::World;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static STACK: OnceCell<Stack> = OnceCell::const_new();

/// Runs a test on the shared runtime with a queue of its own.
fn with_world<F: Future<Output = ()>>(test: impl FnOnce(World) -> F) {
    RUNTIME.block_on(async {
        let stack = STACK
            .get_or_init(|| async { posthaste_stack::temporary().await.unwrap() })
            .await;
        test(World::new(stack).await).await;
    });
}
