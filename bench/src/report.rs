//! What a run found: for people as a table, for programs as JSON.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::ledger::{Counts, Legs};

/// One leg's latencies, milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Summary {
    /// Median.
    pub p50_ms: f64,
    /// 90th percentile.
    pub p90_ms: f64,
    /// 99th percentile.
    pub p99_ms: f64,
    /// The slowest.
    pub max_ms: f64,
}

impl Summary {
    fn of(histogram: &Histogram<u64>) -> Self {
        let ms = |us: u64| us as f64 / 1000.0;
        Self {
            p50_ms: ms(histogram.value_at_quantile(0.5)),
            p90_ms: ms(histogram.value_at_quantile(0.9)),
            p99_ms: ms(histogram.value_at_quantile(0.99)),
            max_ms: ms(histogram.max()),
        }
    }
}

/// A leg by name.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Stage {
    /// `accept`, `queue`, `run`, `return` or `whole`.
    pub name: &'static str,
    /// From what to what.
    pub meaning: &'static str,
    /// Its latencies.
    #[serde(flatten)]
    pub latency: Summary,
}

/// A whole run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Tasks whose 202 came.
    pub submitted: u64,
    /// Of those, tasks whose final event came.
    pub completed: u64,
    /// Of those, tasks that ended other than DONE.
    pub not_done: u64,
    /// Submitted and not completed when waiting ended.
    pub lost: u64,
    /// Final events that came more than once for a task.
    pub duplicated: u64,
    /// Tasks that the server refused.
    pub refused: u64,
    /// Tasks whose request broke, so that nobody knows.
    pub unknown: u64,
    /// Final events of tasks that no answer has named.
    pub unclaimed: u64,
    /// Tasks of the schedule that were not sent because no connection was free in time.
    pub unsent: u64,
    /// Times that the event stream had to be opened again.
    pub stream_reconnects: u64,
    /// The measured time, seconds.
    pub measured_s: f64,
    /// Completions a second within it.
    pub completed_per_s: f64,
    /// Each leg.
    pub stages: Vec<Stage>,
}

/// What is not in the ledger.
pub(crate) struct Extra {
    pub(crate) lost: u64,
    pub(crate) unclaimed: u64,
    pub(crate) stream_reconnects: u64,
    pub(crate) measured_s: f64,
}

impl Report {
    pub(crate) fn new(counts: Counts, legs: &Legs, extra: &Extra) -> Self {
        let stage = |name, meaning, histogram| Stage {
            name,
            meaning,
            latency: Summary::of(histogram),
        };
        Self {
            submitted: counts.submitted,
            completed: counts.completed,
            not_done: counts.not_done,
            lost: extra.lost,
            duplicated: counts.duplicated,
            refused: counts.refused,
            unknown: counts.unknown,
            unclaimed: extra.unclaimed,
            unsent: counts.unsent,
            stream_reconnects: extra.stream_reconnects,
            measured_s: extra.measured_s,
            completed_per_s: counts.completed_measured as f64 / extra.measured_s,
            stages: vec![
                stage("accept", "POST to 202", &legs.accept),
                stage("queue", "created_at to started_at", &legs.queue),
                stage("run", "started_at to finished_at", &legs.run),
                stage("return", "finished_at to event received", &legs.back),
                stage("whole", "POST to event received", &legs.whole),
            ],
        }
    }

    /// Whether every task came through once and was done.
    pub fn is_clean(&self) -> bool {
        [
            self.lost,
            self.duplicated,
            self.not_done,
            self.refused,
            self.unknown,
        ]
        .iter()
        .all(|&count| count == 0)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "submitted {}  completed {}  lost {}  duplicated {}",
            self.submitted, self.completed, self.lost, self.duplicated
        )?;
        let rare = [
            ("not done", self.not_done),
            ("refused", self.refused),
            ("unknown outcome", self.unknown),
            ("unclaimed events", self.unclaimed),
            ("unsent", self.unsent),
            ("stream reconnects", self.stream_reconnects),
        ];
        for (name, count) in rare.into_iter().filter(|&(_, count)| count > 0) {
            writeln!(f, "{name} {count}")?;
        }
        writeln!(
            f,
            "rate {:.0} tasks/s over {:.1} s\n",
            self.completed_per_s, self.measured_s
        )?;
        writeln!(
            f,
            "{:8} {:>9} {:>9} {:>9} {:>9}   ms",
            "", "p50", "p90", "p99", "max"
        )?;
        for Stage {
            name,
            meaning,
            latency,
        } in &self.stages
        {
            let Summary {
                p50_ms,
                p90_ms,
                p99_ms,
                max_ms,
            } = latency;
            writeln!(
                f,
                "{name:8} {p50_ms:9.2} {p90_ms:9.2} {p99_ms:9.2} {max_ms:9.2}   {meaning}"
            )?;
        }
        Ok(())
    }
}
