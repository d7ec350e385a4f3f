//! `posthaste keys`.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use posthaste_access::{Issued, Keys as KeyRecord, key_views, listed_id};
use posthaste_api::{Key, KeyPage, NewKey};
use posthaste_runtime::{Clock as _, SystemClock};
use posthaste_types::limits::{ACCESS_POLL_MS, PAGE_ACCESS_COUNT_MAX};
use posthaste_types::task::DEFAULT_TENANT;
use posthaste_types::{KeyId, Scope};

use super::record::{self, ACTOR, refused};
use super::view::time;
use crate::cli::Target;
use crate::exit::Outcome;
use crate::output;
use crate::settings::Settings;

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum Keys {
    /// Make a key and print it, this once
    #[command(after_help = CREATE_EXAMPLES)]
    Create(Create),
    /// List the keys of a tenant, dead ones too
    #[command(after_help = "Example:\n  posthaste keys list --tenant acme --json")]
    List(List),
    /// Make a key in another's place and print it; the old one goes on for a while
    #[command(after_help = "Example:\n  posthaste keys rotate key_01h2e8kqvbfwea724h75qc655w --overlap 1h")]
    Rotate(Rotate),
    /// Revoke a key: within a second no process takes it any more
    #[command(after_help = "Example:\n  posthaste keys revoke key_01h2e8kqvbfwea724h75qc655w")]
    Revoke(One),
}

const CREATE_EXAMPLES: &str = "\
Examples:
  posthaste keys create --name admin --scopes admin
  export POSTHASTE_KEY=$(posthaste keys create --name shop --scopes submit,read --tenant acme --expires 90d)

The key alone goes to standard output.";

/// Whose keys to list.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// The tenant
    #[arg(long, value_name = "NAME", default_value = DEFAULT_TENANT, value_parser = record::tenant_name)]
    tenant: String,
    #[command(flatten)]
    settings: Settings,
}

/// A key to be.
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// What it is for, for people
    #[arg(long, value_name = "TEXT")]
    name: String,
    /// What it allows: submit, read, admin
    #[arg(
        long,
        visible_alias = "scope",
        value_name = "SCOPE",
        value_delimiter = ',',
        default_value = "submit,read"
    )]
    scopes: Vec<Scope>,
    /// When it ends: a time, or a while as 90d, 12h, 30m; never when absent
    #[arg(long, value_name = "WHEN", value_parser = parse_end)]
    expires: Option<End>,
    /// The tenant; one that is new is made with its first key
    #[arg(long, value_name = "NAME", default_value = DEFAULT_TENANT, value_parser = record::tenant_name)]
    tenant: String,
    #[command(flatten)]
    settings: Settings,
}

/// A key to take another's place.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    one: One,
    /// How long the old key goes on, as 1d, 2h, 0s
    #[arg(long, value_name = "WHILE", default_value = "1d", value_parser = parse_while)]
    overlap: TimeDelta,
}

/// One key.
#[derive(Debug, Args)]
pub(crate) struct One {
    /// The key's id; it tells whose key it is
    id: KeyId,
    /// Refuse unless it is a key of this tenant
    #[arg(long, value_name = "NAME", value_parser = record::tenant_name)]
    tenant: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// When a key ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    After(TimeDelta),
    At(DateTime<Utc>),
}

fn parse_while(text: &str) -> Result<TimeDelta, String> {
    let expected = || format!("`{text}` is no while: write 90d, 12h, 30m or 45s");
    let unit = text.chars().next_back().ok_or_else(expected)?;
    let number: u32 = text[..text.len() - unit.len_utf8()]
        .parse()
        .map_err(|_| expected())?;
    let seconds = match unit {
        'd' => 86_400,
        'h' => 3_600,
        'm' => 60,
        's' => 1,
        _ => return Err(expected()),
    };
    Ok(TimeDelta::seconds(i64::from(number) * seconds))
}

fn parse_end(text: &str) -> Result<End, String> {
    if let Ok(at) = text.parse() {
        return Ok(End::At(at));
    }
    parse_while(text)
        .map(End::After)
        .map_err(|error| format!("{error}, or a time as 2027-01-31T00:00:00Z"))
}

impl Keys {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Outcome> {
        let is_change = !matches!(self, Self::List(_));
        match self {
            Self::Create(create) => create.run(target).await?,
            Self::List(list) => list.run(target).await?,
            Self::Rotate(rotate) => rotate.run(target).await?,
            Self::Revoke(one) => {
                let (keys, tenant) = one.find().await?;
                let revoked = keys.revoke(&tenant, ACTOR.to_owned(), one.id);
                revoked.await.map_err(refused)?;
                output::note(format_args!("{} of tenant `{tenant}` is revoked", one.id));
            }
        }
        // Whoever goes on after this command finds the processes told.
        if is_change {
            tokio::time::sleep(Duration::from_millis(2 * ACCESS_POLL_MS)).await;
        }
        Ok(Outcome::Done)
    }
}

impl Create {
    async fn run(self, target: &Target) -> anyhow::Result<()> {
        let new = NewKey {
            name: self.name,
            scopes: self.scopes,
            expires_at: self.expires.map(|end| match end {
                // What no clock can say is past the last time that is taken, which the refusal names.
                End::After(while_) => SystemClock
                    .now()
                    .checked_add_signed(while_)
                    .unwrap_or(DateTime::<Utc>::MAX_UTC),
                End::At(at) => at,
            }),
        };
        let keys = open(&self.settings).await?;
        let issued = keys.create(&self.tenant, ACTOR.to_owned(), new);
        print(issued.await.map_err(refused)?, target)
    }
}

impl Rotate {
    async fn run(self, target: &Target) -> anyhow::Result<()> {
        let overlap_s = u64::try_from(self.overlap.num_seconds())?;
        let (keys, tenant) = self.one.find().await?;
        let issued = keys.rotate(&tenant, ACTOR.to_owned(), self.one.id, Some(overlap_s));
        print(issued.await.map_err(refused)?, target)
    }
}

/// The keys of the database that the settings name.
async fn open(settings: &Settings) -> anyhow::Result<KeyRecord> {
    let store = record::open(settings).await?;
    Ok(KeyRecord::new(store, SystemClock::shared()))
}

impl One {
    /// The keys, and the tenant whose key this is: the one that was named, or its owner.
    async fn find(&self) -> anyhow::Result<(KeyRecord, String)> {
        let keys = open(&self.settings).await?;
        let tenant = match &self.tenant {
            Some(tenant) => tenant.clone(),
            None => keys.owner(self.id).await.map_err(refused)?,
        };
        Ok((keys, tenant))
    }
}

impl List {
    async fn run(self, target: &Target) -> anyhow::Result<()> {
        let record = open(&self.settings).await?;
        let (mut keys, mut unreadable, mut before) = (Vec::new(), Vec::new(), None);
        loop {
            let page = record.list(&self.tenant, before, PAGE_ACCESS_COUNT_MAX);
            let page = page.await.map_err(refused)?;
            let is_last = page.len() < PAGE_ACCESS_COUNT_MAX;
            before = page.last().map(listed_id);
            let (read, others) = key_views(page);
            keys.extend(read);
            unreadable.extend(others);
            if is_last {
                break;
            }
        }
        let usable_admin_keys = record.count_usable_admin(&self.tenant).await.map_err(refused)?;
        if target.json {
            return output::json(&KeyPage {
                keys,
                unreadable,
                next: None,
                usable_admin_keys,
            });
        }
        let now = SystemClock.now();
        let rows: Vec<_> = keys.iter().map(|key| row(key, now)).collect();
        output::table(
            ["ID", "PREFIX", "SCOPES", "STATE", "EXPIRES", "LAST USED", "NAME"],
            &rows,
        )?;
        for id in unreadable {
            output::note(format_args!(
                "{id} cannot be read, and nobody comes in with it; revoke it"
            ));
        }
        if usable_admin_keys == 0 {
            output::note(format_args!(
                "no key with the scope admin can be used: `{}` manages its keys here alone",
                self.tenant
            ));
        }
        Ok(())
    }
}

fn row(key: &Key, now: DateTime<Utc>) -> [String; 7] {
    let optional = |at: Option<DateTime<Utc>>| at.map_or_else(|| "never".to_owned(), time);
    let state = match (key.revoked_at, key.expires_at) {
        (Some(_), _) => "revoked",
        (None, Some(at)) if at <= now => "expired",
        _ => "usable",
    };
    [
        key.id.to_string(),
        key.prefix.clone(),
        scopes(key),
        state.to_owned(),
        optional(key.expires_at),
        optional(key.last_used_at),
        key.name.clone(),
    ]
}

fn scopes(key: &Key) -> String {
    let names: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    names.join(",")
}

/// The key alone on standard output; what else there is to know beside it.
fn print(issued: Issued, target: &Target) -> anyhow::Result<()> {
    let tenant = issued.row.tenant.clone();
    let key = issued.into_view();
    if target.json {
        return output::json(&key);
    }
    output::line(key.key.as_deref().unwrap_or_default())?;
    let end = key.expires_at.map_or_else(
        || "does not expire".to_owned(),
        |at| format!("expires {}", time(at)),
    );
    output::note(format_args!(
        "{} of tenant `{tenant}` allows {} and {end}.\nThe key is not shown again: keep it, for example as POSTHASTE_KEY.",
        key.id,
        scopes(&key)
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_whiles_or_times() {
        assert_eq!(parse_end("90d"), Ok(End::After(TimeDelta::days(90))));
        assert_eq!(parse_end("30m"), Ok(End::After(TimeDelta::minutes(30))));
        let at = "2027-01-31T00:00:00Z";
        assert_eq!(parse_end(at), Ok(End::At(at.parse().unwrap())));
        for text in ["", "90", "d", "-1d", "90w", "1.5h", "9d9", "ü", "99999999999d"] {
            assert!(parse_end(text).is_err(), "{text}");
        }
    }
}
