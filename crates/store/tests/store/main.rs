//! What the store promises, on a real Postgres.
#![expect(
    clippy::unwrap_used,
    reason = "a test may end at the first error, in its helpers too"
)]

mod attempts;
mod connectors;
mod given_up;
mod grants;
mod idempotency;
mod mirror;
mod open_tasks;
mod outage;
mod plans;
mod setup;
mod sql_keys;
mod sql_submit;
mod sql_submitters;
mod submissions;
mod tls;
mod world;
