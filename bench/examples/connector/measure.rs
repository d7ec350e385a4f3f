//! The measurements, each on a topic of its own.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use hdrhistogram::Histogram;

use crate::arrivals::Arrivals;
use crate::modes::Mode;
use crate::process::{cpu_ms, peak_mb};
use crate::report::Figures;
use crate::rows;
use crate::subject::Subject;
use crate::world::{World, eventually};

/// How much is measured.
pub(crate) struct Sizes {
    /// Rows of a drain.
    drain_rows: u64,
    /// Rows of one large transaction.
    transaction_rows: u64,
    /// How long rows come at a fixed rate.
    paced: Duration,
    idle: Duration,
    /// How long rows come before the kill, and again after it.
    around_kill: Duration,
}

impl Sizes {
    pub(crate) const WHOLE: Self = Self {
        drain_rows: 200_000,
        transaction_rows: 1_000_000,
        paced: Duration::from_secs(10),
        idle: Duration::from_secs(10),
        around_kill: Duration::from_secs(8),
    };
    pub(crate) const QUICK: Self = Self {
        drain_rows: 50_000,
        transaction_rows: 100_000,
        paced: Duration::from_secs(3),
        idle: Duration::from_secs(3),
        around_kill: Duration::from_secs(3),
    };
}

const WARM_UP_ROWS: u64 = 50_000;
const RATES: [u64; 2] = [200, 2000];
/// How long a topic is new.
const FIRST: Duration = Duration::from_secs(1);
const KILL_RATE: u64 = 2000;
/// What was on its way to the subscriber when the connector died.
const KILL_NOISE: Duration = Duration::from_millis(30);

/// All of it for one mode, on one process but for the kill at the end.
pub(crate) async fn all(world: &World, mode: &Mode, sizes: &Sizes) -> anyhow::Result<Figures> {
    let mut subject = Subject::start(world, mode).await?;
    let mut figures = Figures::default();
    drain(world, &mut subject, WARM_UP_ROWS, 100).await?;
    for rows_per_commit in [1, 100] {
        let drained = drain(world, &mut subject, sizes.drain_rows, rows_per_commit).await?;
        let title = |what: &str| format!("drain, {rows_per_commit} a commit, {what}");
        figures.add(title("rows/s"), drained.rows_per_s);
        figures.add(title("connector us/row"), drained.connector_us);
        figures.add(title("walsender us/row"), drained.walsender_us);
    }
    figures.add("drains, memory at its peak, MB", peak_mb(subject.pid().await?)?);
    transaction(world, sizes.transaction_rows).await?;
    figures.add(
        "large transaction, memory at its peak, MB",
        peak_mb(subject.pid().await?)?,
    );
    idle(&subject, sizes.idle, &mut figures).await?;
    for rate in RATES {
        latency(world, &subject, rate, sizes.paced, &mut figures).await?;
    }
    kill(world, &mut subject, sizes.around_kill, &mut figures).await?;
    subject.stop(world).await?;
    rows::forget(world).await?;
    Ok(figures)
}

struct Drained {
    rows_per_s: f64,
    connector_us: f64,
    walsender_us: f64,
}

/// The connector reads nothing while the rows are written, so that all of them wait for it and nothing else works.
async fn drain(
    world: &World,
    subject: &mut Subject,
    count: u64,
    rows_per_commit: u64,
) -> anyhow::Result<Drained> {
    let topic = world.topic().await?;
    subject.pause().await?;
    rows::fill(world, &topic, count, rows_per_commit).await?;
    let before = subject.resume(world).await?;
    eventually("all rows are on the topic", async || {
        let there = world.len(&topic).await?;
        ensure!(there >= count, "{there} are");
        Ok(())
    })
    .await?;
    let after = (cpu_ms(subject.pid().await?)?, cpu_ms(subject.walsender)?);
    let arrivals = Arrivals::read(world, &topic, count).await?;
    let lost = arrivals.lost();
    ensure!(lost == 0, "{lost} rows of a drain are lost");
    let took_ms = arrivals.last_append_ms - arrivals.first_append_ms;
    let per_row = |before: u64, after: u64| (after - before) as f64 * 1000.0 / count as f64;
    Ok(Drained {
        rows_per_s: count as f64 * 1000.0 / took_ms.max(1) as f64,
        connector_us: per_row(before.0, after.0),
        walsender_us: per_row(before.1, after.1),
    })
}

/// All of it comes while the connector runs.
async fn transaction(world: &World, count: u64) -> anyhow::Result<()> {
    let topic = world.topic().await?;
    rows::fill(world, &topic, count, count).await?;
    let arrivals = Arrivals::read(world, &topic, count).await?;
    let lost = arrivals.lost();
    ensure!(lost == 0, "{lost} rows of a large transaction are lost");
    Ok(())
}

/// Processor time of connector and walsender over a while, in percent of a core.
struct Load {
    begun: Instant,
    connector_ms: u64,
    walsender_ms: u64,
}

impl Load {
    async fn begin(subject: &Subject) -> anyhow::Result<Self> {
        Ok(Self {
            connector_ms: cpu_ms(subject.pid().await?)?,
            walsender_ms: cpu_ms(subject.walsender)?,
            begun: Instant::now(),
        })
    }

    async fn end(self, subject: &Subject) -> anyhow::Result<(f64, f64)> {
        let now = Self::begin(subject).await?;
        let took_ms = (now.begun - self.begun).as_secs_f64() * 1000.0;
        let percent = |before: u64, after: u64| (after - before) as f64 * 100.0 / took_ms;
        Ok((
            percent(self.connector_ms, now.connector_ms),
            percent(self.walsender_ms, now.walsender_ms),
        ))
    }
}

async fn idle(subject: &Subject, duration: Duration, figures: &mut Figures) -> anyhow::Result<()> {
    // What the drain left to do is not idleness.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let load = Load::begin(subject).await?;
    tokio::time::sleep(duration).await;
    let (connector, walsender) = load.end(subject).await?;
    figures.add("idle, connector % of a core", connector);
    figures.add("idle, walsender % of a core", walsender);
    Ok(())
}

/// From the commit's acknowledgement to the record at a subscriber, both seen by this process. What a topic costs that the
/// connector has not met is told by its first row, and the percentiles are those of the rows after the first second.
async fn latency(
    world: &World,
    subject: &Subject,
    rate: u64,
    duration: Duration,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let topic = world.topic().await?;
    let duration = FIRST + duration;
    let count = rate * duration.as_secs();
    let load = Load::begin(subject).await?;
    let write = async {
        let committed = rows::paced(world, &topic, rate, duration).await?;
        anyhow::Ok((committed, load.end(subject).await?))
    };
    let ((committed, (connector, walsender)), arrivals) =
        tokio::try_join!(write, Arrivals::read(world, &topic, count))?;
    ensure!(
        arrivals.lost() == 0,
        "{} rows at {rate}/s are lost",
        arrivals.lost()
    );
    let mut histogram = Histogram::<u64>::new(3)?;
    // The log is read as soon as it is on disk, which may be before the writer hears of it.
    let waits = committed.iter().zip(arrivals.first.iter().flatten());
    let mut waits = waits.map(|(committed, arrived)| arrived.saturating_duration_since(*committed));
    let first = waits.next().context("there is a first row")?;
    figures.add(
        format!("{rate} rows/s, first row of a topic ms"),
        first.as_secs_f64() * 1000.0,
    );
    for wait in waits.skip(usize::try_from(rate * FIRST.as_secs())?) {
        histogram.record(u64::try_from(wait.as_micros())?)?;
    }
    for (what, quantile) in [("p50", 0.5), ("p99", 0.99)] {
        let ms = histogram.value_at_quantile(quantile) as f64 / 1000.0;
        figures.add(format!("{rate} rows/s, latency {what} ms"), ms);
    }
    figures.add(format!("{rate} rows/s, connector % of a core"), connector);
    figures.add(format!("{rate} rows/s, walsender % of a core"), walsender);
    Ok(())
}

/// `kill -9` in the middle of a load, and what the topic has of it in the end.
async fn kill(
    world: &World,
    subject: &mut Subject,
    around: Duration,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let topic = world.topic().await?;
    let duration = 2 * around;
    let count = KILL_RATE * duration.as_secs();
    let crash = async {
        tokio::time::sleep(around).await;
        let killed = Instant::now();
        subject.crash(world).await?;
        anyhow::Ok(killed)
    };
    let write = rows::paced(world, &topic, KILL_RATE, duration);
    let (_committed, killed, arrivals) =
        tokio::try_join!(write, crash, Arrivals::read(world, &topic, count))?;
    let back = arrivals
        .first
        .iter()
        .flatten()
        .filter(|arrived| **arrived > killed + KILL_NOISE)
        .min();
    if let Some(back) = back {
        figures.add("kill -9, s until rows come again", (*back - killed).as_secs_f64());
    }
    figures.add("kill -9, rows repeated", arrivals.repeated as f64);
    figures.add("kill -9, rows lost", arrivals.lost() as f64);
    Ok(())
}
