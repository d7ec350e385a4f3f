//! What stream tokens are signed with, and replacing it. What a token is, is not known here.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use posthaste_types::limits::STREAM_SECRET_OVERLAP_S;
use tokio_postgres::Row;

use crate::audit::Act;
use crate::lease::Runs;
use crate::row::Columns;
use crate::tenants::next_revision;
use crate::{Error, Store, query};

const STREAM_SECRETS: &str = "-- stream_secrets
    select secret, replaced_at from posthaste.stream_token_secret order by replaced_at desc nulls first";

const REPLACE_STREAM_SECRET: &str = "-- replace_stream_secret
    update posthaste.stream_token_secret set replaced_at = $1 where replaced_at is null";

const FORGET_STREAM_SECRETS: &str = "-- forget_stream_secrets
    delete from posthaste.stream_token_secret where replaced_at <= $1";

// Made where it is kept, as the first one was, so that nobody else ever holds it.
const ADD_STREAM_SECRET: &str = "-- add_stream_secret
    insert into posthaste.stream_token_secret (secret)
    values (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))";

/// A secret.
#[derive(Clone, PartialEq, Eq)]
pub struct StreamSecret {
    /// Never to be shown.
    pub secret: Vec<u8>,
    /// It signs nothing since then; `None` for the one that signs.
    pub replaced_at: Option<DateTime<Utc>>,
}

impl fmt::Debug for StreamSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamSecret")
            .field("replaced_at", &self.replaced_at)
            .finish_non_exhaustive()
    }
}

/// The secrets, the one that signs first.
pub(crate) async fn read(client: &impl Runs) -> Result<Vec<StreamSecret>, Error> {
    let rows = query::rows(client, STREAM_SECRETS, &[]).await?;
    let secrets = rows.iter().map(secret_of_row).collect::<Result<Vec<_>, _>>()?;
    match secrets.first() {
        Some(first) if first.replaced_at.is_none() => Ok(secrets),
        _ => Err(Error::Corrupt("there is no secret of stream tokens".to_owned())),
    }
}

fn secret_of_row(row: &Row) -> Result<StreamSecret, Error> {
    let mut columns = Columns::of(row);
    Ok(StreamSecret {
        secret: columns.take()?,
        replaced_at: columns.take()?,
    })
}

impl Store {
    /// Replaces the secret of stream tokens with a new one, in force on every process within a second. Tokens that are
    /// out are taken to their end or, with `ends_tokens`, no more.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn rotate_stream_secret(&self, ends_tokens: bool, act: &Act<'_>) -> Result<(), Error> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(Error::database("begin"))?;
        // Also keeps a second rotation waiting until this one is done.
        next_revision(&transaction).await?;
        query::execute(&transaction, REPLACE_STREAM_SECRET, &[&act.at]).await?;
        let overlap_s = if ends_tokens { 0 } else { STREAM_SECRET_OVERLAP_S };
        let forgotten = act.at - TimeDelta::seconds(overlap_s);
        query::execute(&transaction, FORGET_STREAM_SECRETS, &[&forgotten]).await?;
        query::execute(&transaction, ADD_STREAM_SECRET, &[]).await?;
        act.note(&transaction, "stream tokens").await?;
        transaction.commit().await.map_err(Error::database("commit"))
    }
}
