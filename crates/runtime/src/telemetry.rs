//! Logs and metrics of a process: set up once, by the executable alone.

use std::io::IsTerminal as _;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::metric;

/// What is logged, and how it looks.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogOptions {
    /// `error`, `warn`, `info`, `debug` or `trace`, or directives such as `info,posthaste_worker=debug`.
    pub level: String,
    /// `auto` (text on a terminal, JSON elsewhere), `text` or `json`.
    pub format: LogFormat,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::Auto,
        }
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.level` is not understood.
    #[error("log.level is neither a level nor directives such as `info,posthaste_worker=debug`")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// A word of `log.level` is no level.
    #[error(
        "log.level: `{0}` is no level: use `off`, `error`, `warn`, `info`, `debug` or `trace`, or directives such as \
         `info,posthaste_worker=debug`"
    )]
    Level(String),
    /// It was set up before in this process.
    #[error("telemetry is set up already in this process")]
    Again(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What libraries log though its errors reach us as values, and are logged by whoever handles them: rdkafka complains of
/// every consumer that is closed, pgwire-replication of every stream that ends, deadpool of every connection that is lost.
/// A directive that names one of them wins.
const TOLD_TWICE: &str = "rdkafka::consumer=off,pgwire_replication=off,deadpool.postgres=off";

fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    // On its own first: a mistake must not hide behind what is put before it.
    EnvFilter::try_new(level)?;
    // A word that is no level is a target to the library, whose logs alone would be shown: here that is a slip.
    let is_level = |word: &str| word.parse::<LevelFilter>().is_ok();
    let mut words = level.split(',').map(str::trim).filter(|word| !word.is_empty());
    if let Some(word) = words.find(|word| !word.contains(['=', '[', ']', '{', '}']) && !is_level(word)) {
        return Err(TelemetryError::Level(word.to_owned()));
    }
    Ok(EnvFilter::try_new(format!("{TOLD_TWICE},{level}"))?)
}

impl LogOptions {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`TelemetryError::Filter`] and [`TelemetryError::Level`].
    pub fn check(&self) -> Result<(), TelemetryError> {
        filter(&self.level).map(drop)
    }
}

/// Sends the logs of this process to standard error.
///
/// # Errors
/// [`TelemetryError`].
pub fn init_logs(options: &LogOptions) -> Result<(), TelemetryError> {
    let filter = filter(&options.level)?;
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let json = options.format == LogFormat::Json || (options.format == LogFormat::Auto && !terminal);
    let result = if json {
        builder
            .json()
            .flatten_event(true)
            .with_span_list(false)
            .try_init()
    } else {
        builder.with_ansi(terminal).with_target(false).try_init()
    };
    result.map_err(TelemetryError::Again)
}

/// Upper bounds of a duration's buckets, seconds: 0.1 ms to 60 s, about three a decade and closer where tasks live.
const SECONDS: &[f64] = &[
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002, 0.003, 0.005, 0.007_5, 0.01, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// Upper bounds of a count's buckets: doubling up to the largest group.
const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// A cheap handle on the metrics of this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Starts recording and describes every metric of [`metric::ALL`].
    ///
    /// # Errors
    /// [`TelemetryError::Again`].
    pub fn install() -> Result<Self, TelemetryError> {
        let handle = builder()
            .and_then(PrometheusBuilder::install_recorder)
            .map_err(|error| TelemetryError::Again(error.into()))?;
        for &(name, kind, help) in metric::ALL {
            let help = help.trim();
            match kind {
                "counter" => metrics::describe_counter!(name, help),
                "gauge" => metrics::describe_gauge!(name, help),
                _ => metrics::describe_histogram!(name, help),
            }
        }
        Ok(Self(handle))
    }

    /// The page that Prometheus reads.
    pub fn page(&self) -> String {
        self.0.render()
    }

    /// Folds what has been recorded into the buckets. Call it every few seconds: between two calls each sample takes
    /// memory of its own.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

fn builder() -> Result<PrometheusBuilder, metrics_exporter_prometheus::BuildError> {
    PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_rows".to_owned()), COUNTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_shown_in_buckets_and_every_name_says_its_unit() {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!(metric::ACCEPT_SECONDS).record(0.0015)
        });
        let page = recorder.handle().render();
        assert!(
            page.contains("posthaste_ingest_accept_seconds_bucket{le=\"0.002\"} 1"),
            "{page}"
        );
        for (name, kind, _) in metric::ALL {
            // An age is a gauge of seconds, so the unit alone does not tell the kind.
            let has_buckets = name.ends_with("_seconds") || name.ends_with("_rows");
            assert!(has_buckets || *kind != "histogram", "{name}");
            assert_eq!(name.ends_with("_total"), *kind == "counter", "{name}");
        }
    }

    #[test]
    fn what_is_told_twice_is_silent_unless_it_is_named() {
        let shown = |level: &str| filter(level).unwrap().to_string();
        for level in ["info", "debug", "warn,posthaste_worker=trace"] {
            for directive in TOLD_TWICE.split(',') {
                assert!(shown(level).contains(directive), "{}", shown(level));
            }
        }
        let named = shown("info,rdkafka::consumer=debug");
        assert!(
            named.contains("rdkafka::consumer=debug") && !named.contains("rdkafka::consumer=off"),
            "{named}"
        );
    }

    #[test]
    fn a_level_that_is_none_is_refused() {
        let check = |level: &str| {
            let options = LogOptions {
                level: level.to_owned(),
                ..LogOptions::default()
            };
            options.check()
        };
        assert!(matches!(check("info,=,"), Err(TelemetryError::Filter(_))));
        assert!(matches!(
            check("posthaste_worker=loud"),
            Err(TelemetryError::Filter(_))
        ));
        for level in ["warning", "loud", "info,loud", "posthaste_worker"] {
            let error = check(level).unwrap_err().to_string();
            assert!(error.contains("is no level: use `off`, `error`"), "{error}");
        }
        for level in [
            "",
            "off",
            "WARN",
            "info,posthaste_worker=debug",
            "warn,[attempt]=debug",
        ] {
            assert!(check(level).is_ok(), "{level}");
        }
    }
}
