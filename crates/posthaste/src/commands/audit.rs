//! `posthaste audit`.

use clap::{Args, Subcommand};
use posthaste_store::{AuditEntry, AuditFilter};
use serde::Serialize;
use serde_json::Value;

use super::record;
use super::view::time;
use crate::cli::Target;
use crate::exit::Outcome;
use crate::output;
use crate::settings::Settings;

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Show who did what, the newest first
    #[command(after_help = "Example:\n  posthaste audit list --tenant acme --action key.revoke")]
    List(List),
}

/// Which entries.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only this tenant's
    #[arg(long, value_name = "NAME", value_parser = record::tenant_name)]
    tenant: Option<String>,
    /// Only this action, as key.create or endpoint.delete
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// So many at most
    #[arg(long, value_name = "N", allow_negative_numbers = true, default_value_t = 50)]
    limit: usize,
    #[command(flatten)]
    settings: Settings,
}

/// An entry for programs.
#[derive(Serialize)]
struct View<'entry> {
    id: String,
    at: String,
    tenant: &'entry str,
    actor: &'entry str,
    action: &'entry str,
    object: &'entry str,
    details: &'entry Value,
}

impl Audit {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Outcome> {
        let Self::List(list) = self;
        let store = record::open(&list.settings).await?;
        let filter = AuditFilter {
            tenant: list.tenant,
            action: list.action,
            before: None,
        };
        let entries = store.audit(&filter, record::row_count(list.limit)?).await?;
        if target.json {
            entries
                .iter()
                .map(view)
                .try_for_each(|view| output::json(&view))?;
        } else {
            let rows: Vec<_> = entries.iter().map(row).collect();
            output::table(["AT", "TENANT", "ACTOR", "ACTION", "OBJECT", "DETAILS"], &rows)?;
        }
        Ok(Outcome::Done)
    }
}

fn view(entry: &AuditEntry) -> View<'_> {
    View {
        id: entry.id.to_string(),
        at: time(entry.at),
        tenant: &entry.tenant,
        actor: &entry.actor,
        action: &entry.action,
        object: &entry.object,
        details: &entry.details,
    }
}

fn row(entry: &AuditEntry) -> [String; 6] {
    [
        time(entry.at),
        entry.tenant.clone(),
        entry.actor.clone(),
        entry.action.clone(),
        entry.object.clone(),
        entry.details.to_string(),
    ]
}
