//! Writes the OpenAPI document: `cargo run -p posthaste-api --example openapi > docs/openapi.json`.

use std::io::Write as _;

fn main() -> std::io::Result<()> {
    std::io::stdout().write_all(posthaste_api::openapi_json().as_bytes())
}
