//! Measures connectors side by side, ours and Debezium, on one Postgres and one Kafka. `bench/connector` builds and runs
//! it; what is measured and how is in bench/README.md.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement's output is its report"
)]

mod arrivals;
mod lost_slot;
mod measure;
mod modes;
mod process;
mod report;
mod rows;
mod subject;
mod world;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::measure::Sizes;
use crate::modes::{MODES, Mode};
use crate::report::Report;
use crate::world::World;

/// Ours and Debezium, side by side
#[derive(Debug, Parser)]
#[command(name = "bench/connector")]
struct Options {
    /// A first look: one round of small measurements
    #[arg(long)]
    quick: bool,

    /// How often everything is measured: medians are shown [default: 3, or 1 when quick]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: Option<u32>,

    /// Only the modes whose name begins with this: `ours` or `debezium`
    #[arg(long, value_name = "NAME")]
    only: Option<String>,

    /// Only ours, after its slot was lost with so many rows unpublished (`bench/connector-slot`)
    #[arg(long, value_name = "ROWS")]
    lost_slot: Option<u64>,

    /// The release executable whose `connector` is measured
    #[arg(long, env = "POSTHASTE", value_name = "FILE")]
    executable: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let (sizes, round_count) = if options.quick {
        (Sizes::QUICK, 1)
    } else {
        (Sizes::WHOLE, 3)
    };
    let round_count = options.rounds.unwrap_or(round_count);
    let only = options.only.unwrap_or_default();
    let modes: Vec<&Mode> = MODES.iter().filter(|mode| mode.name.starts_with(&only)).collect();
    anyhow::ensure!(!modes.is_empty(), "no mode's name begins with `{only}`");

    eprintln!("starting Postgres, Kafka and the registry");
    let world = World::start(options.executable).await?;
    if let Some(row_count) = options.lost_slot {
        let measured = Box::pin(lost_slot::all(&world, row_count)).await;
        world.stop().await?;
        return measured;
    }
    let (mut report, mut failed) = (Report::default(), BTreeSet::new());
    for round in 0..round_count {
        // Every second round the other way about: what comes first finds another machine than what comes last.
        let order: Vec<&Mode> = if round % 2 == 0 {
            modes.clone()
        } else {
            modes.iter().rev().copied().collect()
        };
        for mode in order {
            eprintln!("round {} of {round_count}: {}", round + 1, mode.name);
            match Box::pin(measure::all(&world, mode, &sizes)).await {
                Ok(figures) => report.add(mode.name, figures),
                Err(error) => {
                    eprintln!("{} failed: {error:#}", mode.name);
                    failed.insert(mode.name);
                }
            }
            // So that a mode's remains do not weigh on the next one's figures.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // Whoever ends it early has what there is.
        println!("\nMedians of {} rounds\n\n{}", round + 1, report.table(&modes));
    }
    world.stop().await?;
    anyhow::ensure!(failed.is_empty(), "of these a round failed: {failed:?}");
    Ok(())
}
