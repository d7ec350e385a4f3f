//! The connector on a real Postgres and Kafka, which all tests of this binary share.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic as the test may")]

mod common;
mod crash;
mod history;
mod outage;
mod positions;
mod publishing;
mod refused;
mod slot;

use std::sync::LazyLock;

use posthaste_stack::Stack;
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static STACK: OnceCell<Stack> = OnceCell::const_new();

/// Runs a test on the shared runtime, so that the stack outlives each test.
fn with_stack<F: Future<Output = ()>>(test: impl FnOnce(&'static Stack) -> F) {
    RUNTIME.block_on(async {
        let stack = STACK
            .get_or_init(|| async { posthaste_stack::temporary().await.unwrap() })
            .await;
        test(stack).await;
    });
}
