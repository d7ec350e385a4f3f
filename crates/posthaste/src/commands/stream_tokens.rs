//! `posthaste stream-tokens`.

use std::time::Duration;

use clap::{Args, Subcommand};
use posthaste_access::rotate_stream_secret;
use posthaste_runtime::SystemClock;
use posthaste_types::limits::ACCESS_POLL_MS;
use posthaste_types::task::DEFAULT_TENANT;
use serde_json::json;

use super::record::{self, ACTOR, refused};
use crate::cli::Target;
use crate::exit::Outcome;
use crate::output;
use crate::settings::Settings;

/// What to do with stream tokens.
#[derive(Debug, Subcommand)]
pub(crate) enum StreamTokens {
    /// Sign them with a new secret from now on, on every process
    #[command(after_help = ROTATE_HELP)]
    Rotate(Rotate),
}

const ROTATE_HELP: &str = "\
The secret is made in the database and never shown. Tokens that are out open streams until they expire, 15 minutes at
most; what is signed with the old secret is believed for no longer. When the secret may be known to others, end them:
their streams are closed, and clients ask for new tokens with their keys.

Examples:
  posthaste stream-tokens rotate
  posthaste stream-tokens rotate --end-tokens";

/// How to rotate.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// End every token that is out, and the streams opened with them
    #[arg(long)]
    end_tokens: bool,
    #[command(flatten)]
    settings: Settings,
}

impl StreamTokens {
    pub(crate) async fn run(self, target: &Target) -> anyhow::Result<Outcome> {
        let Self::Rotate(rotate) = self;
        let (store, config) = record::open_with_config(&rotate.settings).await?;
        // Whose audit log tells of it.
        let tenant = match config.http.operators.as_str() {
            "" => DEFAULT_TENANT,
            operators => operators,
        };
        let rotating =
            rotate_stream_secret(&store, &SystemClock, tenant, ACTOR.to_owned(), rotate.end_tokens);
        rotating.await.map_err(refused)?;
        // Whoever goes on after this command finds the processes told.
        tokio::time::sleep(Duration::from_millis(2 * ACCESS_POLL_MS)).await;
        if target.json {
            output::json(&json!({ "ended_tokens": rotate.end_tokens }))?;
        } else {
            output::note(if rotate.end_tokens {
                "stream tokens are signed with a new secret; those that were out have ended"
            } else {
                "stream tokens are signed with a new secret; those that are out live to their end"
            });
        }
        Ok(Outcome::Done)
    }
}
