//! The connector on a real Postgres and Kafka, which all tests of this binary share.

#![expect(clippy::unwrap_used, reason = "a helper of a test may panic as the test may")]

mod avro;
mod common;
mod crash;
mod history;
mod kill;
mod lost;
mod outage;
mod pause;
mod positions;
mod publishing;
mod refused;
mod routes;
mod slot;
mod standby;
mod takeover;

use std::sync::LazyLock;

use posthaste_stack::{Part, Stack};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().unwrap());
static STACK: OnceCell<Stack> = OnceCell::const_new();

/// Runs a test on the shared runtime, so that the stack outlives each test.
fn with_stack<F: Future<Output = ()>>(test: impl FnOnce(&'static Stack) -> F) {
    RUNTIME.block_on(async {
        let stack = STACK.get_or_init(stack).await;
        test(stack).await;
    });
}

/// A stack with a slot for each test, and one more while it is made.
async fn stack() -> Stack {
    let stack = posthaste_stack::temporary().await.unwrap();
    let client = common::connect(stack.database_url()).await;
    for setting in ["max_replication_slots", "max_wal_senders"] {
        client
            .batch_execute(&format!("alter system set {setting} = 100"))
            .await
            .unwrap();
    }
    stack.kill(Part::Postgres).await.unwrap();
    common::restart(&stack, Part::Postgres).await;
    stack
}
