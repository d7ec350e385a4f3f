//! How long ours takes after its slot was lost: rows are committed while no connector runs, until the server lets the slot go;
//! then one is started, which makes the slot anew and publishes what the outbox holds.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use crate::arrivals::Arrivals;
use crate::modes::{Kind, MODES};
use crate::process;
use crate::rows;
use crate::subject::{ours, stop};
use crate::world::{World, eventually};

const ROWS_PER_COMMIT: u64 = 100;
/// Less than the rows take.
const LOG_BOUND: &str = "alter system set max_slot_wal_keep_size = '64MB'";
/// What a million rows may take.
const WITHIN: Duration = Duration::from_secs(60);

/// Each of our modes once.
pub(crate) async fn all(world: &World, row_count: u64) -> anyhow::Result<()> {
    for command in [LOG_BOUND, "select pg_reload_conf()"] {
        world.database.batch_execute(command).await?;
    }
    println!(
        "| mode | rows | streams after s | all there after s | lost | repeated | peak MB |\n|---|---|---|---|---|---|---|"
    );
    for mode in MODES {
        let Kind::Ours(settings) = mode.kind else { continue };
        let (slot, topic) = (world.name("bench_slot"), world.topic().await?);
        world.make_slot(&slot).await?;
        rows::forget(world).await?;
        rows::fill(world, &topic, row_count, ROWS_PER_COMMIT).await?;
        eventually("the slot is lost", async || {
            world.database.batch_execute("checkpoint").await?;
            let status = "select coalesce(wal_status, 'lost') from pg_replication_slots where slot_name = $1";
            let status: String = world.database.query_one(status, &[&slot]).await?.get(0);
            ensure!(status == "lost", "it is {status}");
            Ok(())
        })
        .await?;

        let begun = Instant::now();
        let mut connector = ours(world, &slot, settings)?;
        let pid = connector.id().context("it runs")?;
        let streams = async {
            world.walsender(&slot, None).await?;
            anyhow::Ok(begun.elapsed())
        };
        let (streams, arrivals) = tokio::try_join!(streams, Arrivals::read(world, &topic, row_count))?;
        let last = arrivals.first.iter().flatten().max().context("a row came")?;
        let (whole, lost) = (*last - begun, arrivals.lost());
        let peak_mb = process::peak_mb(pid)?;
        println!(
            "| {} | {row_count} | {:.1} | {:.1} | {lost} | {} | {peak_mb:.0} |",
            mode.name,
            streams.as_secs_f64(),
            whole.as_secs_f64(),
            arrivals.repeated
        );
        stop(&mut connector).await?;
        world.drop_slot(&slot).await?;
        ensure!(lost == 0, "{lost} rows are lost");
        ensure!(whole <= WITHIN, "it took {whole:?}");
    }
    Ok(())
}
