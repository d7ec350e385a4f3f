//! `posthaste connector`: the role, and what operators do with it over the database.

use std::time::Duration;

use clap::{Args, Subcommand};
use posthaste_api::{Connector as Seen, ConnectorLog, Problem};
use posthaste_connector::Connectors;
use posthaste_runtime::SystemClock;
use posthaste_types::limits::SLOT_WAL_SHARE_MAX;
use posthaste_types::task::DEFAULT_TENANT;

use super::record::{self, ACTOR, refused};
use super::view::{bytes, time};
use crate::cli::Target;
use crate::config::Config;
use crate::exit::Outcome;
use crate::output;
use crate::roles::{self, Role};
use crate::settings::{RoleSettings, Settings};

/// The role, or a word with whoever runs it.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Connector {
    #[command(subcommand)]
    act: Option<Act>,
    #[command(flatten)]
    role: RoleSettings,
}

/// What to do with the connector that runs.
#[derive(Debug, Subcommand)]
enum Act {
    /// Show whether the connector streams, and how much log waits for it; exit code 0 if it streams, else 1
    #[command(after_help = STATUS_EXAMPLES)]
    Status(Settings),
    /// Let it stand still: nothing is published until it is resumed, whichever connector runs
    #[command(after_help = PAUSE_EXAMPLES)]
    Pause(Settings),
    /// Let it go on where it stood
    #[command(after_help = "Example:\n  posthaste connector resume")]
    Resume(Settings),
}

pub(crate) const EXAMPLES: &str = "\
Without a subcommand it is the role. The subcommands work over the database, from anywhere, on the connectors of the \
slot that the configuration names (connector.slot). Over HTTP the same is below /v1/connectors.

Examples:
  posthaste connector --config /etc/posthaste.toml --listen 0.0.0.0:8080
  posthaste connector status --json
  posthaste connector pause";

const STATUS_EXAMPLES: &str = "\
States: streaming; paused; waiting (it tells what for); standby (another program reads the slot); away (no connector \
lives).

Examples:
  posthaste connector status
  posthaste connector status --json | jq .log.retained_bytes";

const PAUSE_EXAMPLES: &str = "\
What is on its way to Kafka ends, then nothing more is read, over restarts and takeovers too. Tasks are taken in \
meanwhile and wait; the database keeps its log. When that comes to what it may keep, connector.on_wal_limit decides: at \
95 % ingest answers 503 (refuse), or the server lets the slot go and the outbox is published anew (release).

Example:
  posthaste connector pause && … && posthaste connector resume";

/// Longer than a connector that lives takes to obey.
const OBEY_WAIT: Duration = Duration::from_secs(5);
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

impl Connector {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Outcome> {
        let Some(act) = self.act else {
            return roles::run_alone(Role::Connector, &self.role.load()?.value).await;
        };
        let (Act::Status(settings) | Act::Pause(settings) | Act::Resume(settings)) = &act;
        let (store, config) = record::open_with_config(settings).await?;
        let slot = SlotOf {
            connectors: Connectors::new(store, SystemClock::shared()),
            config,
        };
        match act {
            Act::Status(_) => slot.status(target).await,
            Act::Pause(_) => slot.pause(target).await,
            Act::Resume(_) => slot.resume(target).await,
        }
    }
}

/// The connectors of the slot that the configuration names.
struct SlotOf {
    connectors: Connectors,
    config: Config,
}

impl SlotOf {
    fn slot(&self) -> &str {
        &self.config.connector.slot
    }

    /// Whose audit log tells of it.
    fn tenant(&self) -> &str {
        match self.config.http.operators.as_str() {
            "" => DEFAULT_TENANT,
            operators => operators,
        }
    }

    async fn status(&self, target: &Target) -> anyhow::Result<Outcome> {
        let seen = self.connectors.one(self.slot()).await.map_err(refused)?;
        if target.json {
            output::json(&seen)?;
        } else {
            output::line(whole(&seen))?;
        }
        Ok(if seen.state == "streaming" {
            Outcome::Done
        } else {
            Outcome::Negative
        })
    }

    async fn pause(&self, target: &Target) -> anyhow::Result<Outcome> {
        let pausing = self
            .connectors
            .pause(self.tenant(), ACTOR.to_owned(), self.slot());
        let seen = self.obeyed(pausing.await, |state| state != "streaming").await?;
        if target.json {
            output::json(&seen)?;
            return Ok(Outcome::Done);
        }
        output::note(match seen.state.as_str() {
            "streaming" => {
                "the connector is to stand still, but has not told so yet; see `posthaste connector status`"
            }
            "away" => "no connector runs; the next one stands still until `posthaste connector resume`",
            "standby" => {
                "another program reads the slot, which this does not pause; our connectors stand still"
            }
            _ => {
                "the connector stands still until `posthaste connector resume`; tasks are taken in meanwhile and wait"
            }
        });
        if let Some(log) = &seen.log {
            output::note(what_is_left(log, seen.on_wal_limit.as_deref()));
        }
        Ok(Outcome::Done)
    }

    async fn resume(&self, target: &Target) -> anyhow::Result<Outcome> {
        let resuming = self
            .connectors
            .resume(self.tenant(), ACTOR.to_owned(), self.slot());
        let seen = self.obeyed(resuming.await, |state| state != "paused").await?;
        if target.json {
            output::json(&seen)?;
            return Ok(Outcome::Done);
        }
        output::note(match (seen.state.as_str(), &seen.waits_for) {
            ("streaming", _) => "the connector streams".to_owned(),
            ("away", _) => "nothing is paused, but no connector runs".to_owned(),
            ("standby", _) => "nothing is paused, but another program reads the slot".to_owned(),
            (_, Some(what)) => format!("nothing is paused; the connector waits: {what}"),
            _ => "the connector is to go on, but has not told so yet; see `posthaste connector status`"
                .to_owned(),
        });
        Ok(Outcome::Done)
    }

    /// Waits a little until the connector does as it was asked, so that whoever goes on after this command finds it so.
    async fn obeyed(
        &self,
        asked: Result<Seen, Problem>,
        is_so: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Seen> {
        let mut seen = asked.map_err(refused)?;
        let look = async {
            while !is_so(&seen.state) {
                tokio::time::sleep(LOOK_INTERVAL).await;
                seen = self.connectors.one(self.slot()).await.map_err(refused)?;
            }
            anyhow::Ok(())
        };
        if let Ok(looked) = tokio::time::timeout(OBEY_WAIT, look).await {
            looked?;
        }
        Ok(seen)
    }
}

/// How much log may still pile up, and what happens then.
fn what_is_left(log: &ConnectorLog, on_wal_limit: Option<&str>) -> String {
    let kept = format!(
        "the database keeps {} of its log for it",
        bytes(log.retained_bytes)
    );
    let Some(bytes_max) = log.retained_bytes_max else {
        return format!("{kept}, and nothing bounds that: watch its disk");
    };
    let (share, then) = match on_wal_limit {
        Some("release") => (
            1.0,
            "the server lets the slot go and the outbox is published anew",
        ),
        _ => (SLOT_WAL_SHARE_MAX, "ingest refuses tasks"),
    };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of a number of bytes, for people"
    )]
    let limit = (bytes_max as f64 * share) as u64;
    let left = limit.saturating_sub(log.retained_bytes);
    format!("{kept}; after {} more {then}", bytes(left))
}

/// Everything of a connector, a line each.
fn whole(seen: &Seen) -> String {
    let mut lines = vec![("slot", seen.slot.clone()), ("state", state(seen))];
    let optional = [
        ("waits for", &seen.waits_for),
        ("delivery", &seen.delivery),
        ("at limit", &seen.on_wal_limit),
    ];
    lines.extend(
        optional
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.clone()?))),
    );
    for instance in &seen.instances {
        let text = format!(
            "{}  {} since {}",
            instance.name,
            instance.state,
            time(instance.since)
        );
        lines.push(("connector", text));
    }
    match &seen.log {
        Some(log) => lines.extend(log_lines(log)),
        None => lines.push(("log", "the slot is not there".to_owned())),
    }
    let lines = lines.iter().map(|(name, value)| format!("{name:11}  {value}"));
    lines.collect::<Vec<_>>().join("\n")
}

fn state(seen: &Seen) -> String {
    match (&seen.paused_at, &seen.paused_by) {
        (Some(at), Some(by)) if seen.state == "paused" => format!("paused since {} by {by}", time(*at)),
        (Some(at), Some(by)) => format!("{}, to stand still since {} by {by}", seen.state, time(*at)),
        _ => seen.state.clone(),
    }
}

fn log_lines(log: &ConnectorLog) -> Vec<(&'static str, String)> {
    let age = log
        .lag_s
        .map(|seconds| format!(", the oldest {seconds} s old"))
        .unwrap_or_default();
    let reader = match log.server_pid {
        Some(pid) => format!("server process {pid}"),
        None => "nobody".to_owned(),
    };
    let kept = match (log.retained_bytes_max, log.wal_share) {
        (Some(max), Some(share)) => format!(
            "{} of {}, {:.0} %",
            bytes(log.retained_bytes),
            bytes(max),
            100.0 * share
        ),
        _ => format!("{}, without bound", bytes(log.retained_bytes)),
    };
    vec![
        ("unpublished", format!("{}{age}", bytes(log.lag_bytes))),
        ("log kept", format!("{kept} ({})", log.wal_status)),
        ("read by", reader),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn log(retained_bytes: u64, retained_bytes_max: Option<u64>) -> ConnectorLog {
        ConnectorLog {
            wal_status: "reserved".to_owned(),
            lag_bytes: retained_bytes,
            lag_s: None,
            retained_bytes,
            retained_bytes_max,
            wal_share: None,
            safe_wal_bytes: None,
            is_failover: None,
            server_pid: None,
        }
    }

    #[test]
    fn a_pause_tells_how_much_log_may_pile_up_and_what_happens_then() {
        let bounded = log(50 * MIB, Some(100 * MIB));
        assert_eq!(
            what_is_left(&bounded, Some("refuse")),
            "the database keeps 50.0 MiB of its log for it; after 45.0 MiB more ingest refuses tasks"
        );
        assert_eq!(
            what_is_left(&bounded, Some("release")),
            "the database keeps 50.0 MiB of its log for it; after 50.0 MiB more the server lets the slot go and the outbox is \
             published anew"
        );
        let unbounded = what_is_left(&log(MIB, None), Some("refuse"));
        assert!(
            unbounded.ends_with("nothing bounds that: watch its disk"),
            "{unbounded}"
        );
    }
}
