//! The audit log: who did what. An entry is written in the transaction of its act, so that neither is without the other.

use std::fmt::Display;

use chrono::{DateTime, Utc};
use posthaste_runtime::ids;
use posthaste_types::AuditId;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Json;
use uuid::Uuid;

use crate::lease::Runs;
use crate::row::Columns;
use crate::{Error, Store, query};

const ADD_AUDIT: &str = "-- add_audit
    insert into posthaste.audit (id, at, tenant, actor, action, object, details) values ($1, $2, $3, $4, $5, $6, $7)";

const AUDIT_PAGE: &str = "-- audit_page
    select a.id, a.at, a.tenant, a.actor, a.action, a.object, a.details
    from posthaste.audit a
    where ($1::text is null or a.tenant = $1) and ($2::text is null or a.action = $2)
        and ($3::uuid is null or a.id < $3)
    order by a.id desc limit $4";

/// Who does something, to whose object, and when: what an entry of the audit log says beside the act itself.
#[derive(Debug, Clone)]
pub struct Act<'act> {
    /// Whose object it is.
    pub tenant: &'act str,
    /// Who does it: a key's id, `cli`, `open`, or `role:` and the database role that did it in SQL.
    pub actor: String,
    /// `key.create` and so on.
    pub action: &'static str,
    /// What was asked for, without secrets.
    pub details: Value,
    /// When.
    pub at: DateTime<Utc>,
}

impl Act<'_> {
    /// Writes the entry with `client`, which is in the act's transaction.
    pub(crate) async fn note(&self, client: &impl Runs, object: impl Display) -> Result<(), Error> {
        let row: [&(dyn tokio_postgres::types::ToSql + Sync); 7] = [
            &ids::audit_id().uuid(),
            &self.at,
            &self.tenant,
            &self.actor,
            &self.action,
            &object.to_string(),
            &Json(&self.details),
        ];
        query::execute(client, ADD_AUDIT, &row).await.map(drop)
    }
}

/// An entry as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its id.
    pub id: AuditId,
    /// When it was done.
    pub at: DateTime<Utc>,
    /// Whose object it was.
    pub tenant: String,
    /// Who did it.
    pub actor: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub object: String,
    /// What was asked for.
    pub details: Value,
}

/// Which entries a page holds.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only this tenant's.
    pub tenant: Option<String>,
    /// Only this action.
    pub action: Option<String>,
    /// Only older ones than this.
    pub before: Option<AuditId>,
}

impl Store {
    /// Writes an entry for an act that writes nothing else.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn note_act(&self, act: &Act<'_>, object: impl Display) -> Result<(), Error> {
        act.note(&self.client().await?, object).await
    }

    /// Up to `limit` entries, the newest first.
    ///
    /// # Errors
    /// When the database does not answer or holds what this program did not write.
    pub async fn audit(&self, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditEntry>, Error> {
        let client = self.client().await?;
        let before = filter.before.map(AuditId::uuid);
        query::rows(
            &client,
            AUDIT_PAGE,
            &[&filter.tenant, &filter.action, &before, &limit],
        )
        .await?
        .iter()
        .map(entry_of_row)
        .collect()
    }
}

fn entry_of_row(row: &Row) -> Result<AuditEntry, Error> {
    let mut columns = Columns::of(row);
    Ok(AuditEntry {
        id: AuditId::from_uuid(columns.take::<Uuid>()?),
        at: columns.take()?,
        tenant: columns.take()?,
        actor: columns.take()?,
        action: columns.take()?,
        object: columns.take()?,
        details: columns.take()?,
    })
}
