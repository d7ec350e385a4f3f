//! What the schema crate promises, on the real Avro library and on kept bytes.

mod agreement;
mod evolution;
mod golden;
mod hostile;
mod support;
