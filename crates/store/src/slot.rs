//! The replication slot: its state, and making it so that no event is missing from its stream.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::replication::lsn;
use crate::row::Columns;
use crate::{Error, ReplicationNames, Store, query};

/// `to_jsonb` takes columns that older servers do not have for null. A physical slot has no plugin and no database. On a
/// standby the greater position counts: its receiver gives none until it has started, and then begins with its segment.
const SLOT: &str = "-- replication_slot
select coalesce(plugin::text = 'pgoutput' and database = current_database(), false), active_pid,
       coalesce(wal_status, 'lost'), safe_wal_size,
       pg_catalog.pg_wal_lsn_diff(log.flushed, '0/0')::text,
       pg_catalog.pg_wal_lsn_diff(coalesce(confirmed_flush_lsn, log.flushed), '0/0')::text,
       pg_catalog.pg_wal_lsn_diff(coalesce(restart_lsn, log.flushed), '0/0')::text,
       (pg_catalog.to_jsonb(slot) ->> 'failover')::boolean,
       pg_catalog.to_jsonb(slot) ->> 'invalidation_reason'
from pg_catalog.pg_replication_slots slot,
    (select case when pg_catalog.pg_is_in_recovery()
                 then greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
                 else pg_catalog.pg_current_wal_flush_lsn() end) as log (flushed)
where slot_name = $1";

/// Any number that no other program uses on the same database.
const LOCK_SLOT: &str = "-- replication_lock
select pg_catalog.pg_advisory_lock(7210983644130502)";

const CREATE_TEMPORARY_SLOT: &str = "-- replication_create_temporary_slot
select from pg_catalog.pg_create_logical_replication_slot($1, 'pgoutput', true)";

const KEEP_SLOT: &str = "-- replication_keep_slot
select from pg_catalog.pg_copy_logical_replication_slot($1, $2, false)";

const DROP_SLOT: &str = "-- replication_drop_slot
select from pg_catalog.pg_drop_replication_slot($1)";

/// Each event that is still kept once more, oldest first; those in nets that were put aside, too. In transactions that the
/// server can decode in memory: of one of them all, it would keep the log until the last event is confirmed. What an
/// interruption leaves half done is done again, and each event is still taken once.
const REPEAT_OUTBOX: &str = "-- replication_repeat_outbox
do $$
declare
    event record;
    repeated bigint := 0;
begin
    for event in
        select id, aggregatetype, aggregateid, type, payload, tenant, traceparent
        from (select distinct on (id) *
            from (select * from posthaste.outbox union all select * from posthaste.outbox_aside()) every
            order by id, created_at) kept
        order by created_at
    loop
        insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant, traceparent)
        values (event.id, event.aggregatetype, event.aggregateid, event.type, event.payload, event.tenant,
            event.traceparent);
        repeated := repeated + 1;
        if repeated % 10000 = 0 then
            commit;
        end if;
    end loop;
    perform set_config('posthaste.repeated', repeated::text, false);
end $$";

const REPEATED: &str = "-- replication_repeated
select current_setting('posthaste.repeated')::bigint";

/// The slot as the server sees it. Positions are of its log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotState {
    /// The server process that streams from it; only one can.
    pub active_pid: Option<i32>,
    /// `reserved`, `extended`, `unreserved` (about to be lost) or `lost`.
    pub wal_status: String,
    /// Bytes that may still be written before it could be lost; `None`: without bound.
    pub safe_wal_bytes: Option<i64>,
    /// How far the log is on the server's disk.
    pub flushed_lsn: u64,
    /// Up to where the slot has confirmed.
    pub confirmed_lsn: u64,
    /// From where the server keeps its log for the slot.
    pub kept_from_lsn: u64,
    /// Whether standbys get a copy of the slot; `None`: the server is older than that (17).
    pub is_failover: Option<bool>,
    /// Why the server let it go, where it tells.
    pub invalidation: Option<String>,
}

impl SlotState {
    /// Whether the server has removed log that was not read.
    pub fn is_lost(&self) -> bool {
        self.wal_status == "lost"
    }

    /// Bytes written since what it has confirmed.
    pub fn lag_bytes(&self) -> u64 {
        self.flushed_lsn.saturating_sub(self.confirmed_lsn)
    }

    /// Bytes of log that the server keeps for it.
    pub fn kept_bytes(&self) -> u64 {
        self.flushed_lsn.saturating_sub(self.kept_from_lsn)
    }

    /// The share of the log that it may keep that it keeps, where that is bounded: by the server, or by `bytes_max`.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no 53 bits")]
    pub fn wal_share(&self, bytes_max: Option<u64>) -> Option<f64> {
        let kept = self.kept_bytes() as f64;
        let by_server = self
            .safe_wal_bytes
            .map(|safe| kept / (kept + safe.max(0) as f64).max(1.0));
        let by_us = bytes_max.map(|max| kept / max.max(1) as f64);
        by_server.into_iter().chain(by_us).reduce(f64::max)
    }
}

impl Store {
    /// The slot gets its name only when the repeated events are behind it in the log: whoever finds it finds them too. The
    /// lock and the temporary slot end with the connection, however this ends.
    pub(crate) async fn make_slot(&self, names: &ReplicationNames) -> Result<(), Error> {
        let (client, connection) = self.server().connect().await?;
        tokio::spawn(connection);
        // What the outbox holds may be hours of events.
        let patience = "set statement_timeout = 0; set lock_timeout = 0";
        for (name, command) in [
            ("replication_patience", patience),
            ("replication_lock", LOCK_SLOT),
        ] {
            let done = client.batch_execute(command).await;
            done.map_err(Error::database(name))?;
        }
        // Another connector may have been faster.
        let found = self.slot_state(&names.slot).await?;
        if found.as_ref().is_some_and(|state| !state.is_lost()) {
            return Ok(());
        }
        let temporary = format!("{:.54}_new", names.slot);
        let run = async |statement, parameters: &[&(dyn ToSql + Sync)]| {
            let done = client.execute(statement, parameters).await;
            done.map_err(Error::database(query::name_of(statement)))
        };
        run(CREATE_TEMPORARY_SLOT, &[&temporary])
            .await
            .map_err(no_slot_left)?;
        let mut repeated = 0;
        if (names.schema.as_str(), names.table.as_str()) == ("posthaste", "outbox") {
            // Not prepared: it ends transactions, which only a statement that came alone may.
            let done = client.batch_execute(REPEAT_OUTBOX).await;
            done.map_err(Error::database(query::name_of(REPEAT_OUTBOX)))?;
            let row = client.query_one(REPEATED, &[]).await;
            let row = row.map_err(Error::database(query::name_of(REPEATED)))?;
            repeated = Columns::of(&row).take::<i64>()?;
        }
        if found.is_some() {
            run(DROP_SLOT, &[&names.slot]).await?;
        }
        run(KEEP_SLOT, &[&temporary, &names.slot])
            .await
            .map_err(no_slot_left)?;
        tracing::info!(
            slot = names.slot,
            events.repeated = repeated,
            "replication slot created"
        );
        Ok(())
    }

    /// The slot's state; `None`: there is no such slot.
    ///
    /// # Errors
    /// [`Error::Setup`]: it is of another database or plugin. The database is away.
    pub async fn slot_state(&self, slot: &str) -> Result<Option<SlotState>, Error> {
        let client = self.client().await?;
        let Some(row) = query::row(&client, SLOT, &[&slot]).await? else {
            return Ok(None);
        };
        let mut columns = Columns::of(&row);
        if !columns.take::<bool>()? {
            return Err(Error::Setup(format!(
                "the slot `{slot}` is of another database or not of pgoutput"
            )));
        }
        Ok(Some(SlotState {
            active_pid: columns.take()?,
            wal_status: columns.take()?,
            safe_wal_bytes: columns.take()?,
            flushed_lsn: lsn(columns.take()?)?,
            confirmed_lsn: lsn(columns.take()?)?,
            kept_from_lsn: lsn(columns.take()?)?,
            is_failover: columns.take()?,
            invalidation: columns.take()?,
        }))
    }
}

/// Says how to get a slot where the server has none left.
fn no_slot_left(error: Error) -> Error {
    if error.sql_state() == Some(&SqlState::CONFIGURATION_LIMIT_EXCEEDED) {
        Error::Setup(
            "all replication slots are in use, and making one takes two for a moment: drop those that nobody reads \
             (`select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active and …`) or run \
             `alter system set max_replication_slots = 20` and restart Postgres"
                .to_owned(),
        )
    } else {
        error
    }
}
