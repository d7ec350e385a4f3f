//! What the schema crate promises, on the real Avro library and on kept bytes.
#![expect(
    clippy::unwrap_used,
    reason = "a test may end at the first error, in its helpers too"
)]

mod agreement;
mod evolution;
mod golden;
mod hostile;
mod support;
