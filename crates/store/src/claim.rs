//! Grouped claims: INIT becomes RUNNING in one statement for a whole batch; what does not is looked at one by one.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use posthaste_runtime::{Clock as _, SystemClock};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::group::{Size, Write};
use crate::sql::column;
use crate::{Claim, Claimed, Error, Horizon};

/// The smooth way. `any` makes it one index scan (see the lanes' planner settings); the bounds of `id` let the executor
/// open only the partitions that the batch is in.
const CLAIM: &str = "-- claim
update posthaste.tasks task
set state = 'RUNNING', attempt = task.attempt + 1, version = task.version + 1, claim_token = claim.token,
    worker = claim.worker, started_at = $5
from unnest($1::uuid[], $2::integer[], $3::uuid[], $4::text[]) as claim (id, run, token, worker)
where task.id = claim.id and task.id = any($1) and task.id between $6 and $7 and task.run = claim.run and task.state = 'INIT'
returning task.claim_token, task.attempt, task.version";

/// RUNNING for another token: whoever asks owns the partition now, so the other has lost it.
const TAKE_OVER: &str = "-- take_over
with taken as (
    update posthaste.tasks task
    set attempt = task.attempt + 1, version = task.version + 1, claim_token = claim.token, worker = claim.worker,
        started_at = $5
    from unnest($1::uuid[], $2::integer[], $3::uuid[], $4::text[]) as claim (id, run, token, worker)
    where task.id = claim.id and task.id = any($1) and task.id between $6 and $7 and task.run = claim.run and task.state = 'RUNNING'
        and task.claim_token <> claim.token
    returning task.id, task.claim_token, task.run, task.attempt, task.version, task.worker
), noted as (
    insert into posthaste.task_history (task_id, at, state, run, attempt, worker, note)
    select id, $5, 'RUNNING', run, attempt, worker, 'takeover' from taken
)
select claim_token, attempt, version from taken";

/// Why a claim changed nothing: an earlier try of it was committed, the record is stale, or there is no row.
///
/// The lock is what makes the answer true. The log is read before its transaction is visible to others, so a record can
/// be here while its row still looks as it was before (RETRYING, say): `for share` waits for whoever changes the row and
/// reads what they leave.
const SELECT_CLAIMED: &str = "-- select_claimed
select claim.token, task.state = 'RUNNING' and task.run = claim.run and task.claim_token = claim.token,
    task.attempt, task.version, task.started_at,
    exists (
        select from posthaste.task_history entry
        where entry.task_id = task.id and entry.task_id = any($1) and entry.task_id between $4 and $5 and entry.run = task.run
            and entry.attempt = task.attempt and entry.note = 'takeover'
    ),
    task.state in ('INIT', 'RUNNING') and task.run = claim.run
from unnest($1::uuid[], $2::integer[], $3::uuid[]) as claim (id, run, token)
join posthaste.tasks task on task.id = claim.id and task.id = any($1) and task.id between $4 and $5
for share of task";

/// What may hold a row that cannot be seen yet: transactions from the oldest under way to one that begins now. A snapshot's
/// own upper end will not do: it is one past the last that has *ended*, and whoever commits just now may be beyond it.
const SELECT_HORIZON: &str = "-- select_horizon
select pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_current_xact_id()::text::bigint";

/// Times a batch is claimed again when a row has become claimable while it was looked at.
const ROUND_COUNT_MAX: usize = 4;

pub(crate) struct ClaimWrite;

pub(crate) struct Statements {
    claim: Statement,
    take_over: Statement,
    select_claimed: Statement,
    select_horizon: Statement,
}

impl Write for ClaimWrite {
    type Item = Claim;
    type Outcome = Claimed;
    type Statements = Statements;
    const NAME: &'static str = "claim";
    const PATIENT: bool = true;

    fn size(claim: &Claim) -> Size {
        Size {
            rows: 1,
            bytes: size_of::<Claim>() + claim.worker.len(),
        }
    }

    async fn prepare(client: &Client) -> Result<Statements, Error> {
        let error = Error::database("prepare_claim");
        Ok(Statements {
            claim: client.prepare(CLAIM).await.map_err(error)?,
            take_over: client.prepare(TAKE_OVER).await.map_err(error)?,
            select_claimed: client.prepare(SELECT_CLAIMED).await.map_err(error)?,
            select_horizon: client.prepare(SELECT_HORIZON).await.map_err(error)?,
        })
    }

    /// Every step is safe to repeat, since a token that holds the row already changes nothing: `again` needs no look.
    async fn write(
        &self,
        client: &Client,
        statements: &Statements,
        claims: &[&Claim],
        _again: bool,
    ) -> Result<Vec<Claimed>, Error> {
        let now = SystemClock.now();
        let mut outcomes = HashMap::with_capacity(claims.len());
        let batch = Batch {
            client,
            statements,
            now,
        };
        for _ in 0..ROUND_COUNT_MAX {
            let waiting = left(claims, &outcomes);
            if waiting.is_empty() {
                break;
            }
            batch.round(&waiting, &mut outcomes).await?;
        }
        // A claim that is still unclear is tried again with its batch: those that were granted are ours then.
        let outcome = |claim: &&Claim| {
            let outcome = outcomes.remove(&token(claim));
            outcome.ok_or(Error::TimedOut(Self::NAME))
        };
        claims.iter().map(outcome).collect()
    }
}

/// Outcomes by claim token.
type Outcomes = HashMap<Uuid, Claimed>;

const fn token(claim: &Claim) -> Uuid {
    claim.token.uuid()
}

fn left<'a>(claims: &[&'a Claim], outcomes: &Outcomes) -> Vec<&'a Claim> {
    claims
        .iter()
        .copied()
        .filter(|claim| !outcomes.contains_key(&token(claim)))
        .collect()
}

struct Batch<'a> {
    client: &'a Client,
    statements: &'a Statements,
    now: DateTime<Utc>,
}

impl Batch<'_> {
    /// Claims what can be, takes over what must be, and says why the rest cannot. What has neither an outcome nor a
    /// missing row afterwards has become claimable meanwhile.
    async fn round(&self, claims: &[&Claim], outcomes: &mut Outcomes) -> Result<(), Error> {
        self.grant(&self.statements.claim, "claim", claims, false, outcomes)
            .await?;
        let running = left(claims, outcomes);
        if running.is_empty() {
            return Ok(());
        }
        self.grant(&self.statements.take_over, "take_over", &running, true, outcomes)
            .await?;
        let unclear = left(&running, outcomes);
        if unclear.is_empty() {
            return Ok(());
        }
        self.explain(&unclear, outcomes).await
    }

    async fn grant(
        &self,
        statement: &Statement,
        name: &'static str,
        claims: &[&Claim],
        takeover: bool,
        outcomes: &mut Outcomes,
    ) -> Result<(), Error> {
        let error = Error::database(name);
        let ids = column(claims, |claim| claim.task_id.uuid());
        let (lowest, highest) = (ids.iter().min(), ids.iter().max());
        let runs = column(claims, |claim| claim.run);
        let tokens = column(claims, token);
        let workers = column(claims, |claim| &*claim.worker);
        let params: [&(dyn ToSql + Sync); 7] = [&ids, &runs, &tokens, &workers, &self.now, &lowest, &highest];
        for row in self.client.query(statement, &params).await.map_err(error)? {
            let granted = Claimed::Granted {
                attempt: row.try_get(1).map_err(error)?,
                version: row.try_get(2).map_err(error)?,
                started_at: self.now,
                takeover,
            };
            outcomes.insert(row.try_get(0).map_err(error)?, granted);
        }
        Ok(())
    }

    async fn explain(&self, claims: &[&Claim], outcomes: &mut Outcomes) -> Result<(), Error> {
        let error = Error::database("select_claimed");
        let ids = column(claims, |claim| claim.task_id.uuid());
        let (lowest, highest) = (ids.iter().min(), ids.iter().max());
        let runs = column(claims, |claim| claim.run);
        let tokens = column(claims, token);
        let params: [&(dyn ToSql + Sync); 5] = [&ids, &runs, &tokens, &lowest, &highest];
        let mut found = HashSet::with_capacity(claims.len());
        for row in self
            .client
            .query(&self.statements.select_claimed, &params)
            .await
            .map_err(error)?
        {
            let claimed: Uuid = row.try_get(0).map_err(error)?;
            found.insert(claimed);
            let ours: Option<bool> = row.try_get(1).map_err(error)?;
            let claimable: bool = row.try_get(6).map_err(error)?;
            if ours == Some(true) {
                let granted = Claimed::Granted {
                    attempt: row.try_get(2).map_err(error)?,
                    version: row.try_get(3).map_err(error)?,
                    started_at: row.try_get(4).map_err(error)?,
                    takeover: row.try_get(5).map_err(error)?,
                };
                outcomes.insert(claimed, granted);
            } else if !claimable {
                outcomes.insert(claimed, Claimed::Gone);
            }
        }
        if claims.iter().all(|claim| found.contains(&token(claim))) {
            return Ok(());
        }
        let missing = Claimed::Missing(self.horizon().await?);
        for claim in claims.iter().filter(|claim| !found.contains(&token(claim))) {
            outcomes.insert(token(claim), missing.clone());
        }
        Ok(())
    }

    async fn horizon(&self) -> Result<Horizon, Error> {
        let error = Error::database("select_horizon");
        let statement = &self.statements.select_horizon;
        let row = self.client.query_one(statement, &[]).await.map_err(error)?;
        Ok(Horizon {
            oldest: row.try_get(0).map_err(error)?,
            latest: row.try_get(1).map_err(error)?,
        })
    }
}
