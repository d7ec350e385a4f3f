//! The command line: commands, their help, nothing else.

use std::convert::Infallible;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Arg, Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use posthaste_client::{Client, ClientOptions};
use posthaste_runtime::Secret;

use crate::commands::{audit, connector, endpoints, keys, stream_tokens, submit, tasks, tenants, watch};
use crate::dev::Dev;
use crate::exit::Usage;
use crate::settings::{RoleSettings, Settings};

/// Durable tasks: POST one, get 202 at once, and its result when it is done.
#[derive(Debug, Parser)]
#[command(name = "posthaste", version, about, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) target: Target,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Commands that talk to no server, and what of the client options they use nevertheless.
const WITHOUT_SERVER: [(&str, &[&str]); 12] = [
    ("dev", &["api_key", "ca", "json"]),
    ("ingest", &[]),
    ("connector", &["json"]),
    ("worker", &[]),
    ("delivery", &[]),
    ("scheduler", &[]),
    ("migrate", &[]),
    ("config", &["json"]),
    ("keys", &["json"]),
    ("tenants", &["json"]),
    ("stream-tokens", &["json"]),
    ("audit", &["json"]),
];

impl Cli {
    /// The command line of this process. Ends the process where it is wrong or asks for help.
    pub(crate) fn read() -> Self {
        let mut command = Self::tidy();
        let read = Self::from_arg_matches(&command.get_matches_mut());
        read.unwrap_or_else(|error| error.format(&mut command).exit())
    }

    /// The commands, of whose help each shows what does something there: an option for all is hidden by one of its name.
    fn tidy() -> clap::Command {
        let command = Self::command();
        let options: Vec<Arg> = command
            .get_arguments()
            .filter(|option| option.is_global_set())
            .cloned()
            .collect();
        WITHOUT_SERVER.iter().fold(command, |command, (name, used)| {
            let unused = options
                .iter()
                .filter(|option| !used.contains(&option.get_id().as_str()));
            let hidden: Vec<Arg> = unused.map(|option| option.clone().hide(true)).collect();
            command.mut_subcommand(name, |subcommand| subcommand.args(hidden))
        })
    }
}

const EXAMPLES: &str = "\
Examples:
  posthaste dev                     everything on this machine, at http://127.0.0.1:8080
  posthaste submit echo --payload '{\"n\":1}' --wait
  posthaste watch --channel orders
  posthaste tasks list --state FAILED

Exit codes: 0 done, 1 the task did not end DONE or something failed here, 2 usage, 3 the server cannot be reached,
4 the server refused, 124 timed out waiting";

/// Which server, and how to answer.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Client options")]
pub(crate) struct Target {
    /// The server that client commands talk to
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "POSTHASTE_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    pub(crate) url: String,

    /// The API key to send, where the server asks for one; the environment hides it from lists of processes
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "POSTHASTE_KEY",
        hide_env_values = true,
        value_parser = secret
    )]
    pub(crate) api_key: Option<Secret>,

    /// A file with certificates to trust beside the system's (PEM), for a server that has one of its own
    #[arg(long, global = true, value_name = "FILE", env = "POSTHASTE_CA")]
    pub(crate) ca: Option<PathBuf>,

    /// Answer in JSON, one document a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// An empty variable of the environment counts as none.
fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

impl Target {
    /// A client of the server, with the key.
    ///
    /// # Errors
    /// A usage error when the address, the key or the certificates cannot be used.
    pub(crate) fn client(&self) -> anyhow::Result<Client> {
        self.client_of(&self.url)
    }

    /// The same for another address.
    pub(crate) fn client_of(&self, url: &str) -> anyhow::Result<Client> {
        let mut options = ClientOptions::default();
        if let Some(key) = self.api_key.as_ref().filter(|key| !key.expose().is_empty()) {
            options = options.key(key.expose())?;
        }
        if let Some(path) = &self.ca {
            let unreadable = || Usage(format!("cannot read {}", path.display()));
            let pem = std::fs::read(path).with_context(unreadable)?;
            options = options.certificate_authority(&pem)?;
        }
        Ok(Client::with(url, &options)?)
    }
}

/// What every role's help ends with.
macro_rules! role_examples {
    ($command:literal) => {
        concat!(
            "\
Every key of the configuration is in connectors/posthaste.toml. A key can come from the file, from the environment
(POSTHASTE_KAFKA__BOOTSTRAP=…), or from a flag; the later wins.

Example:
  posthaste ",
            $command
        )
    };
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything on this machine: Postgres, Kafka, the registry and all roles
    #[command(after_help = Dev::EXAMPLES)]
    Dev(Box<Dev>),

    /// Take tasks in over HTTP and store them
    #[command(after_help = role_examples!("ingest --config /etc/posthaste.toml --listen 0.0.0.0:8080 --set ingest.lanes=2"))]
    Ingest(RoleSettings),
    /// Carry what the record commits to Kafka; or see how that goes, pause and resume it
    #[command(after_help = connector::EXAMPLES)]
    Connector(Box<connector::Connector>),
    /// Run the handlers of tasks
    #[command(after_help = role_examples!("worker --config /etc/posthaste.toml --listen 0.0.0.0:8080 --set worker.handlers=64"))]
    Worker(RoleSettings),
    /// Bring events to streams and webhooks
    #[command(after_help = role_examples!("delivery --config /etc/posthaste.toml --listen 0.0.0.0:8080 --set delivery.window_event_count=4096"))]
    Delivery(RoleSettings),
    /// Start what is due: delays, retries, deadlines; and drop what is past its retention
    #[command(after_help = role_examples!("scheduler --config /etc/posthaste.toml --listen 0.0.0.0:8080 --set scheduler.retention_days=7"))]
    Scheduler(RoleSettings),

    /// Make tables, topics and schemas; safe to repeat, also at the same time
    #[command(
        after_help = "Example:\n  posthaste migrate --config /etc/posthaste.toml --set topics.queues=default,reports"
    )]
    Migrate(Settings),
    /// Show the configuration in force, each value that is not a default with its source
    #[command(after_help = "Example:\n  POSTHASTE_WORKER__HANDLERS=64 posthaste config")]
    Config(Settings),
    /// Ask the server whether it is ready; exit code 0 if so
    #[command(after_help = "Example:\n  posthaste health --url http://127.0.0.1:8080")]
    Health,

    /// Submit a task
    #[command(after_help = submit::EXAMPLES)]
    Submit(Box<submit::Submit>),
    /// Follow events as they happen, or one task to its end
    #[command(after_help = watch::EXAMPLES)]
    Watch(watch::Watch),
    /// Look at tasks, cancel them, run them again
    #[command(subcommand)]
    Tasks(tasks::Tasks),
    /// Manage webhook endpoints
    #[command(subcommand)]
    Endpoints(endpoints::Endpoints),
    /// Make API keys, list, rotate and revoke them; over the database, so also the first one
    #[command(subcommand)]
    Keys(keys::Keys),
    /// List tenants and set their limits; over the database
    #[command(subcommand)]
    Tenants(Box<tenants::Tenants>),
    /// Replace the secret that stream tokens are signed with; over the database
    #[command(subcommand)]
    StreamTokens(stream_tokens::StreamTokens),
    /// Look at who did what; over the database
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Measure a running server
    #[command(subcommand)]
    Bench(Bench),
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// The way of a task, leg by leg
    #[command(after_help = BENCH_EXAMPLES)]
    RoundTrip(posthaste_bench::RoundTrip),
}

const BENCH_EXAMPLES: &str = "\
Examples:
  posthaste bench round-trip --rate 200             latency at 200 tasks a second
  posthaste bench round-trip                        capacity, 1,024 tasks under way
  posthaste bench round-trip --batch 100 --json     capacity in batches, for programs";

#[cfg(test)]
mod tests {
    use super::*;

    fn help(path: &[&str]) -> String {
        let words = ["posthaste"].iter().chain(path).chain(&["--help"]);
        Cli::tidy().try_get_matches_from(words).unwrap_err().to_string()
    }

    #[test]
    fn help_shows_the_options_that_do_something() {
        for path in [&["worker"][..], &["migrate"], &["scheduler"]] {
            let help = help(path);
            assert!(
                !help.contains("Client options") && !help.contains("--json"),
                "{help}"
            );
            assert!(help.contains(&format!("  posthaste {} --", path[0])), "{help}");
        }
        for path in [&["keys", "revoke"][..], &["config"], &["connector", "status"]] {
            let help = help(path);
            assert!(help.contains("--json") && !help.contains("--api-key"), "{help}");
        }
        for path in [&["submit"][..], &["tasks", "list"], &["health"]] {
            let help = help(path);
            assert!(help.contains("--json") && help.contains("--api-key"), "{help}");
        }
    }

    #[test]
    fn a_hidden_option_is_taken_wherever_it_stands() {
        for words in [
            ["posthaste", "--json", "keys", "list"],
            ["posthaste", "keys", "--json", "list"],
            ["posthaste", "keys", "list", "--json"],
            ["posthaste", "worker", "--url", "http://h"],
        ] {
            let matches = Cli::tidy().try_get_matches_from(words).unwrap();
            let Cli { target, .. } = Cli::from_arg_matches(&matches).unwrap();
            assert!(target.json || target.url == "http://h", "{words:?}");
        }
    }

    #[test]
    fn a_number_below_none_reaches_whoever_can_say_what_is_wrong_with_it() {
        let read = |words: &[&str]| Cli::tidy().try_get_matches_from([&["posthaste"], words].concat());
        assert!(read(&["submit", "echo", "--delay", "-1", "--priority", "-1"]).is_ok());
        let error = read(&["tenants", "set", "acme", "--requests-per-s", "-1"]).unwrap_err();
        assert!(error.to_string().contains("must be a number above 0"), "{error}");
        let error = read(&["tasks", "list", "--created-after", "1h"]).unwrap_err();
        assert!(error.to_string().contains("RFC 3339"), "{error}");
    }
}
