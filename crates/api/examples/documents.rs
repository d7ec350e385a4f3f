//! Writes what is made from the code into `docs/`: `cargo run -p posthaste-api --example documents`.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    fs::create_dir_all(&docs)?;
    fs::write(docs.join("openapi.json"), posthaste_api::openapi_json())?;
    fs::write(docs.join("errors.md"), posthaste_api::errors_markdown())
}
