//! `posthaste tenants`.

use clap::{Args, Subcommand};
use posthaste_access::{LimitChanges, set_limits};
use posthaste_runtime::SystemClock;
use posthaste_types::TenantLimits;
use serde::Serialize;

use super::record::{self, ACTOR, refused};
use crate::cli::Target;
use crate::exit::Outcome;
use crate::output;
use crate::settings::Settings;

/// What to do with tenants.
#[derive(Debug, Subcommand)]
pub(crate) enum Tenants {
    /// List tenants that have keys or limits of their own
    #[command(after_help = "Example:\n  posthaste tenants list --json")]
    List(#[command(flatten)] Settings),
    /// Set limits of one tenant, in force within a second; a new one is made
    #[command(after_help = SET_EXAMPLES)]
    Set(Box<Set>),
}

const SET_EXAMPLES: &str = "\
Examples:
  posthaste tenants set acme --requests-per-s 100 --tasks-per-s 50 --streams 200
  posthaste tenants set acme --no-requests-per-s       the configuration's [limits] decide again";

/// Limits to set, and to take away.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The tenant
    #[arg(value_parser = record::tenant_name)]
    name: String,

    /// Requests a second
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = rate, conflicts_with = "no_requests_per_s")]
    requests_per_s: Option<f64>,
    /// Requests that may come at once after a pause
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        conflicts_with = "no_request_burst"
    )]
    request_burst: Option<u32>,
    /// Tasks submitted a second
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = rate, conflicts_with = "no_tasks_per_s")]
    tasks_per_s: Option<f64>,
    /// Tasks that may be submitted at once after a pause
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        conflicts_with = "no_task_burst"
    )]
    task_burst: Option<u32>,
    /// Tasks that have not ended
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        conflicts_with = "no_open_tasks"
    )]
    open_tasks: Option<u64>,
    /// Body of one request, bytes
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        conflicts_with = "no_body_bytes"
    )]
    body_bytes: Option<u64>,
    /// Streams open at once, in each process
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        conflicts_with = "no_streams"
    )]
    streams: Option<u32>,
    /// Webhook endpoints
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        conflicts_with = "no_endpoints"
    )]
    endpoints: Option<u32>,

    #[command(flatten)]
    away: Away,
    #[command(flatten)]
    settings: Settings,
}

/// Limits to take away, so that the configuration's are in force.
#[derive(Debug, Args)]
#[command(next_help_heading = "Back to the configuration's limits")]
pub(crate) struct Away {
    #[arg(long)]
    no_requests_per_s: bool,
    #[arg(long)]
    no_request_burst: bool,
    #[arg(long)]
    no_tasks_per_s: bool,
    #[arg(long)]
    no_task_burst: bool,
    #[arg(long)]
    no_open_tasks: bool,
    #[arg(long)]
    no_body_bytes: bool,
    #[arg(long)]
    no_streams: bool,
    #[arg(long)]
    no_endpoints: bool,
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "must be a number above 0".to_owned())
}

/// A tenant as it is listed.
#[derive(Serialize)]
struct View {
    name: String,
    /// Its own limits; where it is silent the configuration decides.
    limits: TenantLimits,
}

impl Tenants {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Outcome> {
        match self {
            Self::List(settings) => list(&settings, target).await?,
            Self::Set(set) => set.run(target).await?,
        }
        Ok(Outcome::Done)
    }
}

impl Set {
    fn changes(&self) -> LimitChanges {
        fn change<T>(value: Option<T>, is_away: bool) -> Option<Option<T>> {
            if is_away { Some(None) } else { value.map(Some) }
        }
        let away = &self.away;
        LimitChanges {
            requests_per_s: change(self.requests_per_s, away.no_requests_per_s),
            request_burst: change(self.request_burst, away.no_request_burst),
            tasks_per_s: change(self.tasks_per_s, away.no_tasks_per_s),
            task_burst: change(self.task_burst, away.no_task_burst),
            open_tasks: change(self.open_tasks, away.no_open_tasks),
            body_bytes: change(self.body_bytes, away.no_body_bytes),
            streams: change(self.streams, away.no_streams),
            endpoints: change(self.endpoints, away.no_endpoints),
        }
    }

    async fn run(self, target: &Target) -> anyhow::Result<()> {
        let store = record::open(&self.settings).await?;
        let changes = self.changes();
        let changed = set_limits(&store, &SystemClock, &self.name, ACTOR.to_owned(), &changes);
        let limits = changed.await.map_err(refused)?;
        let view = View {
            name: self.name,
            limits,
        };
        if target.json {
            return output::json(&view);
        }
        Ok(output::table(["TENANT", "LIMITS OF ITS OWN"], &[row(&view)?])?)
    }
}

async fn list(settings: &Settings, target: &Target) -> anyhow::Result<()> {
    let tenants = record::open(settings).await?.tenants().await?;
    let views = tenants.into_iter().map(|tenant| View {
        name: tenant.name,
        limits: tenant.limits,
    });
    let views: Vec<View> = views.collect();
    if target.json {
        return views.iter().try_for_each(output::json);
    }
    let rows = views.iter().map(row).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(output::table(["TENANT", "LIMITS OF ITS OWN"], &rows)?)
}

fn row(view: &View) -> anyhow::Result<[String; 2]> {
    let limits = serde_json::to_value(view.limits)?;
    let limits: Vec<String> = limits
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, limit)| format!("{name}={limit}"))
        .collect();
    Ok([view.name.clone(), limits.join(" ")])
}
