//! `posthaste dev`: the local stack, then every role in this process, then a word on what runs where.

mod debezium;
mod demo;
mod progress;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;

use anyhow::bail;
use clap::Args;
use posthaste_http::Listener;
use posthaste_runtime::Stopper;
use posthaste_runtime::config::Loaded;
use posthaste_runtime::telemetry::{self, Metrics};
use posthaste_stack::{PortSet, Ports, Stack, StackOptions};

use crate::cli::Target;
use crate::config::{Access, Config};
use crate::exit::Outcome;
use crate::parts::Parts;
use crate::roles::{Process, Role};
use crate::settings::Settings;
use crate::{check, front, migrate, output, serve, shutdown};

use debezium::Connector;
use progress::Screen;

/// Log that may wait for a connector that stands still before tasks are refused: far above what a machine of one's own
/// writes while it works, and less than most disks.
const WAL_BYTES_MAX: u64 = 16 * 1024 * 1024 * 1024;

/// Everything on this machine.
#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// Port of the HTTP interface, on loopback
    #[arg(long, value_name = "N", default_value_t = 8080)]
    port: u16,

    /// Where Postgres, Kafka and the registry keep their data
    #[arg(long, value_name = "DIR", default_value = ".posthaste")]
    data_dir: PathBuf,

    /// Begin anew: wipes what an earlier run left in the data directory
    #[arg(long)]
    fresh: bool,

    /// Run a task once everything is up, and print its result
    #[arg(long)]
    demo: bool,

    /// With --demo: stop after it
    #[arg(long, requires = "demo")]
    once: bool,

    /// Who moves the rows from the outbox to Kafka
    #[arg(long, value_name = "WHO", value_enum, default_value_t)]
    connector: Connector,

    #[command(flatten)]
    settings: Settings,
}

impl Dev {
    pub(crate) const EXAMPLES: &str = "\
Examples:
  posthaste dev --demo
  posthaste dev --fresh --port 9000
  posthaste dev --connector debezium                                   Debezium in our connector's place
  posthaste dev --database-url postgresql://me@localhost/posthaste     uses that database and starts the rest
  posthaste dev --set worker.handlers=32 --config my-handlers.toml

What the configuration names (database.url, kafka.bootstrap, registry.url) is used; what it does not name is started.
The first run fetches Kafka and the registry once. It listens on loopback alone and runs open: everybody on this
machine may do everything. With --set http.access=keys it asks for keys as everywhere else, and says how to make one.";

    pub(crate) async fn run(&self, target: &Target) -> anyhow::Result<Outcome> {
        let loaded = self.settings.load()?;
        let mut config = development(&loaded);
        config.http.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        // Before minutes of work: is the port free, and are the settings usable?
        check::all(&config)?;
        let listener = front::prepare(serve::bind(config.http.listen)?, &config.http)?;
        telemetry::init_logs(&config.log)?;
        let metrics = Metrics::install()?;
        let stopper = shutdown::on_signals()?;

        let screen = Screen::new();
        let Some(stack) = stopper.unless_stopped(self.start_stack(&loaded, &screen)).await else {
            return Ok(Outcome::Done);
        };
        let stack = stack?;
        let places = self.places(&loaded, stack.as_ref());
        if let Some(stack) = &stack {
            config.database.url = posthaste_runtime::Secret::new(stack.database_url());
            config.kafka.bootstrap = stack.kafka_bootstrap().to_owned();
            config.registry.url = posthaste_runtime::Secret::new(stack.registry_url());
        }
        let ground = (stack.as_ref(), places.as_slice());
        let roles = self.run_roles(&config, (listener, metrics), &stopper, &screen, ground, target);
        let result = match &stack {
            Some(stack) => while_alive(stack, &stopper, roles).await,
            None => roles.await,
        };
        if let Some(stack) = stack {
            screen.line("stopping Postgres, Kafka and the registry");
            stack.stop().await?;
        }
        result
    }

    /// The parts that the configuration does not name; nothing when it names them all.
    async fn start_stack(&self, loaded: &Loaded<Config>, screen: &Screen) -> anyhow::Result<Option<Stack>> {
        let config = &loaded.value;
        let named = |key, value: &str| loaded.is_set(key).then(|| value.to_owned());
        let options = StackOptions {
            fresh: self.fresh,
            ports: Ports::Preferred(PortSet {
                postgres: 5432,
                kafka: 9092,
                registry: 8081,
            }),
            database_url: named("database.url", config.database.url.expose()),
            kafka: named("kafka.bootstrap", &config.kafka.bootstrap),
            registry_url: named("registry.url", config.registry.url.expose()),
            progress: screen.progress(),
            ..StackOptions::new(&self.data_dir)
        };
        let all_named =
            options.database_url.is_some() && options.kafka.is_some() && options.registry_url.is_some();
        if all_named && self.connector == Connector::Posthaste {
            return Ok(None);
        }
        Ok(Some(Box::pin(Stack::start(options)).await?))
    }

    /// Where the parts are that were started here; addresses that were given may carry passwords.
    fn places(&self, loaded: &Loaded<Config>, stack: Option<&Stack>) -> Vec<(&'static str, String)> {
        let Some(stack) = stack else { return Vec::new() };
        let all = [
            ("database.url", progress::POSTGRES, stack.database_tcp_url()),
            ("kafka.bootstrap", "Kafka", stack.kafka_bootstrap()),
            ("registry.url", "registry", stack.registry_url()),
        ];
        let started = all.into_iter().filter(|(key, ..)| !loaded.is_set(key));
        let data = ("data", self.data_dir.display().to_string());
        started
            .map(|(_, name, place)| (name, place.to_owned()))
            .chain([data])
            .collect()
    }

    async fn run_roles(
        &self,
        config: &Config,
        (listener, metrics): (Listener, Metrics),
        stopper: &Stopper,
        screen: &Screen,
        (stack, places): (Option<&Stack>, &[(&str, String)]),
        target: &Target,
    ) -> anyhow::Result<Outcome> {
        let parts = Parts::new(config, "dev")?;
        let tell = |text: String| screen.line(&text);
        let migrated = stopper.unless_stopped(Box::pin(migrate::migrate(config, &parts, &tell)));
        let Some(migrated) = migrated.await else {
            return Ok(Outcome::Done);
        };
        migrated?;
        let scheme = if config.http.tls.certificate.is_some() {
            "https"
        } else {
            "http"
        };
        let url = format!("{scheme}://{}", listener.local_addr());
        let connect = stopper.unless_stopped(Box::pin(self.connector.start(stack, config)));
        let Some(connect) = connect.await else {
            return Ok(Outcome::Done);
        };
        let connect = connect?;
        let ours = |role: &Role| connect.is_none() || *role != Role::Connector;
        let roles: Vec<Role> = Role::ALL.into_iter().filter(ours).collect();
        let process = Process::start("dev", &roles, config, parts, stopper)?;
        let running = tokio::spawn(Box::pin(process.run(listener, metrics, stopper.clone())));
        screen.ready(&url, config.http.access, places);

        let mut outcome = Ok(Outcome::Done);
        if self.demo {
            let demo = demo::run(target.client_of(&url)?, target.json);
            outcome = stopper.unless_stopped(Box::pin(demo)).await.unwrap_or(outcome);
            if self.once || outcome.is_err() {
                stopper.stop();
            }
        }
        if !stopper.is_stopped() {
            output::note("Ctrl-C stops everything");
        }
        debezium::wait(running, connect, stopper).await?;
        outcome
    }
}

/// Runs the roles, and stops them when a part under them ends by itself: they would wait for it for ever.
async fn while_alive(
    stack: &Stack,
    stopper: &Stopper,
    roles: impl Future<Output = anyhow::Result<Outcome>>,
) -> anyhow::Result<Outcome> {
    let mut roles = pin!(roles);
    let (part, log) = tokio::select! {
        biased;
        result = roles.as_mut() => return result,
        death = stack.died() => death,
    };
    output::note(format_args!("{part} ended by itself; stopping"));
    stopper.stop();
    if let Err(error) = roles.await {
        tracing::warn!(
            error = format_args!("{error:#}"),
            "the roles did not stop in order"
        );
    }
    bail!("{part} ended by itself; the last lines of its log: {log}")
}

/// The configuration with what makes a machine of one's own comfortable, unless a layer says otherwise.
fn development(loaded: &Loaded<Config>) -> Config {
    let mut config = loaded.value.clone();
    if !loaded.is_set("log.level") {
        "warn".clone_into(&mut config.log.level);
    }
    if !loaded.is_set("http.access") {
        config.http.access = Access::Open;
    }
    config.worker.builtins |= !loaded.is_set("worker.builtins");
    config.delivery.allow_private_addresses |= !loaded.is_set("delivery.allow_private_addresses");
    config.delivery.allow_http |= !loaded.is_set("delivery.allow_http");
    // The server that is started here bounds no slot's log; one that was given has an operator.
    if !loaded.is_set("database.url") && !loaded.is_set("connector.wal_bytes_max") {
        config.connector.wal_bytes_max = WAL_BYTES_MAX;
    }
    if !loaded.is_set("worker.queues") {
        config.worker.queues.clone_from(&config.topics.queues);
    }
    config
}

#[cfg(test)]
mod tests {
    use posthaste_runtime::config::Layers;

    use super::*;

    #[test]
    fn only_the_log_of_a_server_that_is_started_here_is_bounded() {
        let bound = |text: &str| {
            let loaded = Layers::new().toml("f", text).unwrap().load().unwrap();
            development(&loaded).connector.wal_bytes_max
        };
        assert_eq!(bound(""), WAL_BYTES_MAX);
        assert_eq!(bound("[connector]\nwal_bytes_max = 0"), 0);
        assert_eq!(bound("[database]\nurl = \"postgresql://h/d\""), 0);
    }
}
