//! What commands need that work on the database alone: as the one who has its password, hence for any tenant.

use anyhow::{anyhow, ensure};
use posthaste_api::Problem;
use posthaste_store::Store;
use posthaste_types::is_tenant_name;
use posthaste_types::limits::TENANT_BYTES_MAX;

use crate::config::Config;
use crate::exit::Usage;
use crate::settings::Settings;

/// Who did it, in the audit log.
pub(super) const ACTOR: &str = "cli";

/// The record that the settings name, migrated.
pub(super) async fn open(settings: &Settings) -> anyhow::Result<Store> {
    Ok(open_with_config(settings).await?.0)
}

/// The same, with the rest of the configuration.
pub(super) async fn open_with_config(settings: &Settings) -> anyhow::Result<(Store, Config)> {
    let config = settings.load()?.value;
    let store = Store::new(&config.database.store("cli"))?;
    posthaste_store::check_migrated(&store).await?;
    Ok((store, config))
}

/// A refusal as an error of this program.
pub(super) fn refused(problem: Problem) -> anyhow::Error {
    match problem.status {
        400 => anyhow!(Usage(problem.detail)),
        _ => anyhow!(problem.detail),
    }
}

/// A tenant's name as a person may write it.
pub(super) fn tenant_name(text: &str) -> Result<String, String> {
    if is_tenant_name(text) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "use 1 to {TENANT_BYTES_MAX} letters, digits, `.`, `_` and `-`"
    ))
}

/// A number of rows to show.
pub(super) fn row_count(count: usize) -> anyhow::Result<i64> {
    ensure!(count > 0, Usage("--limit must be 1 or more".to_owned()));
    Ok(i64::try_from(count)?)
}
