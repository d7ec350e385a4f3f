//! The flags that set configuration, and the layers they make with the file and the environment.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;
use posthaste_runtime::config::{ConfigError, Layers, Loaded};

use crate::config::Config;

/// Environment variables with our prefix that are not keys of the configuration.
const OTHER_VARIABLES: &[&str] = &[
    "POSTHASTE_CA",
    "POSTHASTE_CACHE",
    "POSTHASTE_CONFIG",
    "POSTHASTE_DATABASE_URL",
    "POSTHASTE_KAFKA",
    "POSTHASTE_KEY",
    "POSTHASTE_LISTEN",
    "POSTHASTE_LOG",
    "POSTHASTE_REGISTRY",
    "POSTHASTE_TEST_LOG",
    "POSTHASTE_URL",
];

/// Configuration from the command line.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Configuration")]
pub(crate) struct Settings {
    /// TOML file with the configuration; connectors/posthaste.toml is one with every key
    #[arg(long, value_name = "FILE", env = "POSTHASTE_CONFIG")]
    config: Option<PathBuf>,

    /// Sets one key, as `worker.handlers=64`; may be repeated and wins over all else
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,

    /// Postgres, as a libpq URL
    #[arg(
        long,
        value_name = "URL",
        env = "POSTHASTE_DATABASE_URL",
        hide_env_values = true
    )]
    database_url: Option<String>,

    /// Kafka's bootstrap servers
    #[arg(long, value_name = "HOST:PORT", env = "POSTHASTE_KAFKA")]
    kafka: Option<String>,

    /// Base of the schema registry's Confluent-compatible API
    #[arg(long, value_name = "URL", env = "POSTHASTE_REGISTRY", hide_env_values = true)]
    registry: Option<String>,

    /// Log level, or directives such as `info,posthaste_worker=debug`
    #[arg(long, value_name = "LEVEL", env = "POSTHASTE_LOG")]
    log: Option<String>,
}

/// Where a role listens.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct RoleSettings {
    /// Where to serve the routes, /healthz, /readyz and /metrics
    #[arg(long, value_name = "IP:PORT", env = "POSTHASTE_LISTEN")]
    listen: Option<String>,

    #[command(flatten)]
    settings: Settings,
}

pub(crate) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// A time as a person may write it.
pub(crate) fn time(text: &str) -> Result<DateTime<Utc>, String> {
    text.parse()
        .map_err(|_| "write a time of RFC 3339, as 2027-01-31T00:00:00Z".to_owned())
}

impl Settings {
    /// Default values, then the file, the environment, and the flags.
    pub(crate) fn load(&self) -> Result<Loaded<Config>, ConfigError> {
        self.layers()?.load()
    }

    pub(crate) fn layers(&self) -> Result<Layers, ConfigError> {
        let mut layers = Layers::new();
        if let Some(path) = &self.config {
            layers = layers.file(path)?;
        }
        // A variable that is not UTF-8 cannot be a value of ours.
        let variables = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        layers = layers.environment("POSTHASTE_", OTHER_VARIABLES, variables)?;
        let flags = [
            ("--database-url", "database.url", &self.database_url),
            ("--kafka", "kafka.bootstrap", &self.kafka),
            ("--registry", "registry.url", &self.registry),
            ("--log", "log.level", &self.log),
        ];
        for (flag, key, value) in flags {
            if let Some(value) = value {
                layers = layers.flag(flag, key, value);
            }
        }
        for (key, value) in &self.set {
            layers = layers.flag("--set", key, value);
        }
        Ok(layers)
    }
}

impl RoleSettings {
    /// As [`Settings::load`].
    pub(crate) fn load(&self) -> Result<Loaded<Config>, ConfigError> {
        let layers = self.settings.layers()?;
        match &self.listen {
            Some(listen) => layers.flag("--listen", "http.listen", listen).load(),
            None => layers.load(),
        }
    }
}
