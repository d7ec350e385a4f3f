//! How a batch of submissions is written on one connection, and what became of each.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::group::{Size, Write};
use crate::held_key::Held;
use crate::submit_row::{KeyArrays, Params, Row, RowArrays, Submission};
use crate::submit_sql::{SELECT_KEYS, SELECT_STORED, SUBMIT, SUBMIT_WITH_KEYS};
use crate::{Error, Submitted};

pub(crate) struct SubmitWrite;

pub(crate) struct Statements {
    submit: Statement,
    submit_with_keys: Statement,
    select_keys: Statement,
    select_stored: Statement,
}

impl Write for SubmitWrite {
    /// Shared with its caller, who hands it in once more when its key is not free.
    type Item = Arc<Submission>;
    type Outcome = Submitted;
    type Statements = Statements;
    const NAME: &'static str = "submit";
    const PATIENT: bool = false;

    fn size(item: &Arc<Submission>) -> Size {
        Size {
            rows: item.rows.len(),
            bytes: item.rows.iter().map(Row::bytes).sum(),
        }
    }

    async fn prepare(client: &Client) -> Result<Statements, Error> {
        let error = Error::database("prepare_submit");
        Ok(Statements {
            submit: client.prepare(SUBMIT).await.map_err(error)?,
            submit_with_keys: client.prepare(SUBMIT_WITH_KEYS).await.map_err(error)?,
            select_keys: client.prepare(SELECT_KEYS).await.map_err(error)?,
            select_stored: client.prepare(SELECT_STORED).await.map_err(error)?,
        })
    }

    async fn write(
        &self,
        client: &Client,
        statements: &Statements,
        items: &[&Arc<Submission>],
        again: bool,
    ) -> Result<Vec<Submitted>, Error> {
        let batch = Batch {
            client,
            statements,
            submissions: items.iter().map(|item| &***item).collect(),
        };
        batch.write(again).await
    }
}

/// One batch on one connection.
struct Batch<'a> {
    client: &'a Client,
    statements: &'a Statements,
    submissions: Vec<&'a Submission>,
}

impl<'a> Batch<'a> {
    async fn write(&self, again: bool) -> Result<Vec<Submitted>, Error> {
        let mut stored = if again {
            self.select_stored().await?
        } else {
            HashSet::new()
        };
        let is_stored =
            |stored: &HashSet<Uuid>, submission: &Submission| stored.contains(&submission.owner().id());
        let mut fresh = self.submissions.clone();
        fresh.retain(|submission| !is_stored(&stored, submission));
        match self.insert(&fresh).await {
            Ok(ids) => stored.extend(ids),
            // An earlier try of the same rows, thought lost, was committed while this one ran.
            Err(error) if error.is_unique_violation() => {
                stored = self.select_stored().await?;
                if fresh.iter().any(|submission| !is_stored(&stored, submission)) {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
        self.outcomes(&stored).await
    }

    /// The ids of the rows that are stored now.
    async fn insert(&self, submissions: &[&'a Submission]) -> Result<Vec<Uuid>, Error> {
        if submissions.is_empty() {
            return Ok(Vec::new());
        }
        let rows: Vec<&Row> = submissions
            .iter()
            .flat_map(|submission| &submission.rows)
            .collect();
        let arrays = RowArrays::of(&rows);
        if submissions.iter().all(|submission| submission.is_plain()) {
            self.client
                .execute(&self.statements.submit, &arrays.params())
                .await
                .map_err(Error::database("submit"))?;
            return Ok(arrays.id);
        }
        let keys = KeyArrays::of(submissions);
        let params = [&arrays.params()[..], &keys.params()].concat();
        let error = Error::database("submit_with_keys");
        let found = self
            .client
            .query(&self.statements.submit_with_keys, &params)
            .await
            .map_err(error)?;
        found.iter().map(|row| row.try_get(0).map_err(error)).collect()
    }

    async fn select_stored(&self) -> Result<HashSet<Uuid>, Error> {
        let error = Error::database("select_stored");
        let rows = self.submissions.iter().flat_map(|submission| &submission.rows);
        let ids: Vec<Uuid> = rows.map(Row::id).collect();
        let (lowest, highest) = (ids.iter().min(), ids.iter().max());
        let params: Params<'_, 3> = [&ids, &lowest, &highest];
        let rows = self
            .client
            .query(&self.statements.select_stored, &params)
            .await
            .map_err(error)?;
        rows.iter().map(|row| row.try_get(0).map_err(error)).collect()
    }

    /// Each submission is stored, or its key was not free.
    async fn outcomes(&self, stored: &HashSet<Uuid>) -> Result<Vec<Submitted>, Error> {
        let is_lost = |submission: &Submission| !stored.contains(&submission.owner().id());
        let mut lost = self.submissions.clone();
        lost.retain(|submission| is_lost(submission));
        let held = self.select_keys(&lost).await?;
        let outcome = |submission: &&Submission| match &submission.idempotency {
            Some(idempotency) if is_lost(submission) => held
                .get(&(submission.tenant().to_owned(), idempotency.key.clone()))
                .map_or(Submitted::InProgress, |held| {
                    // An earlier try of the same rows.
                    if held.is_of(submission.owner().id()) {
                        return Submitted::Stored;
                    }
                    held.outcome(&idempotency.fingerprint)
                }),
            _ => Submitted::Stored,
        };
        Ok(self.submissions.iter().map(outcome).collect())
    }

    async fn select_keys(&self, lost: &[&Submission]) -> Result<HashMap<(String, String), Held>, Error> {
        if lost.is_empty() {
            return Ok(HashMap::new());
        }
        let error = Error::database("select_keys");
        let keys = lost
            .iter()
            .filter_map(|submission| submission.idempotency.as_ref());
        let keys: HashSet<&str> = keys.map(|idempotency| idempotency.key.as_str()).collect();
        let tenants: HashSet<&str> = lost.iter().map(|submission| submission.tenant()).collect();
        let (keys, tenants) = (Vec::from_iter(keys), Vec::from_iter(tenants));
        let params: Params<'_, 2> = [&keys, &tenants];
        let rows = self
            .client
            .query(&self.statements.select_keys, &params)
            .await
            .map_err(error)?;
        let held = |row: &tokio_postgres::Row| Ok(((row.try_get(0)?, row.try_get(1)?), Held::of_row(row)?));
        rows.iter().map(held).collect::<Result<_, _>>().map_err(error)
    }
}
