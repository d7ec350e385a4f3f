//! Runs a stack until Ctrl-C or a part's death: `cargo run -p posthaste-stack --example stack -- DIRECTORY [fresh]`.

use std::io::{self, Write};
use std::sync::Arc;

use posthaste_stack::{Progress, Stack, StackOptions, Step};

struct Print;

impl Progress for Print {
    fn step(&self, step: &Step) {
        let _closed = writeln!(io::stdout(), "{step:?}");
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = arguments.first().ok_or("name the data directory")?;
    let mut options = StackOptions::new(directory);
    options.fresh = arguments.get(1).is_some_and(|argument| argument == "fresh");
    options.progress = Arc::new(Print);
    let stack = Stack::start(options).await?;
    let addresses = [
        stack.database_url(),
        stack.database_tcp_url(),
        stack.kafka_bootstrap(),
        stack.registry_url(),
    ];
    writeln!(io::stdout(), "{}", addresses.join("\n"))?;
    tokio::select! {
        signal = tokio::signal::ctrl_c() => signal?,
        (part, text) = stack.died() => writeln!(io::stdout(), "{part} died: {text}")?,
    }
    stack.stop().await?;
    Ok(())
}
