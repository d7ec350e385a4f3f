//! What the connector needs from the database beside its stream: the publication, the slot and their state.

use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::{Error, Store, query};

const WAL_LEVEL: &str = "-- replication_wal_level
select current_setting('wal_level'), rolreplication or rolsuper, rolname::text from pg_catalog.pg_roles where rolname = current_user";

/// What a publication lists as its tables are the partitions when it does not name the table itself.
const PUBLICATION: &str = "-- replication_publication
select p.puballtables
           or exists (select from pg_catalog.pg_publication_rel r where r.prpubid = p.oid and r.prrelid = t.oid)
           or exists (select from pg_catalog.pg_publication_namespace n where n.pnpubid = p.oid and n.pnnspid = t.relnamespace),
       p.pubinsert and p.pubviaroot
from pg_catalog.pg_publication p
left join pg_catalog.pg_class t
    on t.relname = $3 and t.relnamespace = (select oid from pg_catalog.pg_namespace where nspname = $2)
where p.pubname = $1";

/// `to_jsonb` takes columns that older servers do not have for null.
const SLOT: &str = "-- replication_slot
select plugin::text = 'pgoutput' and database = current_database(), active_pid,
       coalesce(wal_status, 'lost'), safe_wal_size,
       pg_catalog.pg_wal_lsn_diff(log.flushed, '0/0')::text,
       pg_catalog.pg_wal_lsn_diff(coalesce(confirmed_flush_lsn, log.flushed), '0/0')::text,
       pg_catalog.pg_wal_lsn_diff(coalesce(restart_lsn, log.flushed), '0/0')::text,
       (pg_catalog.to_jsonb(slot) ->> 'failover')::boolean,
       pg_catalog.to_jsonb(slot) ->> 'invalidation_reason'
from pg_catalog.pg_replication_slots slot,
    (select case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_receive_lsn()
                 else pg_catalog.pg_current_wal_flush_lsn() end) as log (flushed)
where slot_name = $1";

const LOG_BOUND: &str = "-- replication_log_bound
select setting::bigint from pg_catalog.pg_settings where name = 'max_slot_wal_keep_size'";

const GUARD: &str = "-- replication_guard
select posthaste.guard_wal($1, $2, $3, $4)";

const IS_INTAKE_CLOSED: &str = "-- is_intake_closed
select posthaste.is_intake_closed()";

const FLUSHED: &str = "-- replication_flushed
select pg_catalog.pg_wal_lsn_diff(
    case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_receive_lsn()
         else pg_catalog.pg_current_wal_flush_lsn() end, '0/0')::text";

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

/// What the connector's stream is made of. All names are plain lower-case identifiers.
#[derive(Debug, Clone)]
pub struct ReplicationNames {
    /// The replication slot.
    pub slot: String,
    /// The publication.
    pub publication: String,
    /// The outbox table's schema.
    pub schema: String,
    /// The outbox table.
    pub table: String,
    /// Further outbox tables, each with its schema.
    pub further: Vec<(String, String)>,
}

impl ReplicationNames {
    /// Checks the names; `table` is `schema.table`.
    ///
    /// # Errors
    /// [`Error::Setup`]: a name is not `[a-z_][a-z0-9_]*` of at most 63 characters. They go into commands that take no
    /// parameters and that some clients do not quote.
    pub fn new(slot: &str, publication: &str, table: &str) -> Result<Self, Error> {
        let (schema, table) = qualified(table)?;
        for name in [slot, publication] {
            check_plain(name)?;
        }
        let [slot, publication] = [slot, publication].map(str::to_owned);
        Ok(Self {
            slot,
            publication,
            schema,
            table,
            further: Vec::new(),
        })
    }

    /// Adds outbox tables.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_tables<'a>(mut self, tables: impl IntoIterator<Item = &'a str>) -> Result<Self, Error> {
        for table in tables {
            self.further.push(qualified(table)?);
        }
        Ok(self)
    }

    /// All outbox tables, each with its schema.
    fn tables(&self) -> impl Iterator<Item = (&str, &str)> {
        let further = self
            .further
            .iter()
            .map(|(schema, table)| (schema.as_str(), table.as_str()));
        std::iter::once((self.schema.as_str(), self.table.as_str())).chain(further)
    }
}

/// Takes `schema.table` apart.
fn qualified(table: &str) -> Result<(String, String), Error> {
    let (schema, table) = table
        .split_once('.')
        .ok_or_else(|| Error::Setup(format!("the outbox table `{table}` is not given as schema.table")))?;
    check_plain(schema)?;
    check_plain(table)?;
    Ok((schema.to_owned(), table.to_owned()))
}

fn check_plain(name: &str) -> Result<(), Error> {
    if is_plain(name) {
        Ok(())
    } else {
        Err(Error::Setup(format!(
            "`{name}` is not a name of a slot, publication or table: only a-z, 0-9 and _ are taken, 63 at most"
        )))
    }
}

/// Reads a position that was sent as decimal text: it has more digits than the server's integers.
fn lsn(text: &str) -> Result<u64, Error> {
    text.parse()
        .map_err(|_| Error::Setup(format!("the server's log position is `{text}`")))
}

fn is_plain(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    name.len() <= 63
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
}

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
    /// Makes what is missing of publication and slot, in this order: a slot decodes with the publication as it was then. A
    /// slot that the server has given up is made anew. What was committed before is not in a new slot's stream, so what
    /// the outbox still holds is written to it once more: after a slot was lost, by a promotion say, nothing is missing
    /// but some events come again, under their ids. Safe twice and at once.
    ///
    /// # Errors
    /// [`Error::Setup`]: what a person must change, and how. The database is away.
    pub async fn ensure_replication(&self, names: &ReplicationNames) -> Result<SlotState, Error> {
        self.check_server().await?;
        self.ensure_publication(names).await?;
        let state = self.slot_state(&names.slot).await?;
        if let Some(state) = state.filter(|state| !state.is_lost()) {
            return Ok(state);
        }
        self.make_slot(names).await?;
        self.slot_state(&names.slot).await?.ok_or_else(|| {
            Error::Setup(format!(
                "the slot `{}` was dropped as soon as it was made",
                names.slot
            ))
        })
    }

    /// The slot gets its name only when the repeated events are behind it in the log: whoever finds it finds them too. The
    /// lock and the temporary slot end with the connection, however this ends.
    async fn make_slot(&self, names: &ReplicationNames) -> Result<(), Error> {
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
            repeated = row
                .map_err(Error::database(query::name_of(REPEATED)))?
                .get::<_, i64>(0);
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
        let row = client
            .query_opt(SLOT, &[&slot])
            .await
            .map_err(Error::database("replication_slot"))?;
        let Some(row) = row else { return Ok(None) };
        if !row.get::<_, bool>(0) {
            return Err(Error::Setup(format!(
                "the slot `{slot}` is of another database or not of pgoutput"
            )));
        }
        Ok(Some(SlotState {
            active_pid: row.get(1),
            wal_status: row.get(2),
            safe_wal_bytes: row.get(3),
            flushed_lsn: lsn(row.get(4))?,
            confirmed_lsn: lsn(row.get(5))?,
            kept_from_lsn: lsn(row.get(6))?,
            is_failover: row.get(7),
            invalidation: row.get(8),
        }))
    }

    /// Whether the server bounds how much log it keeps for slots. Where it does not, a connector that stands still fills
    /// the disk.
    ///
    /// # Errors
    /// The database is away.
    pub async fn is_kept_log_bounded(&self) -> Result<bool, Error> {
        let client = self.client().await?;
        let row = client.query_one(LOG_BOUND, &[]).await;
        let megabytes: i64 = row.map_err(Error::database("replication_log_bound"))?.get(0);
        Ok(megabytes >= 0)
    }

    /// Says from which share of the log that the slot may keep on ingest is to refuse tasks; `is_closing`: whether it is
    /// at all. `bytes_max` bounds what may be kept beside the server's own bound.
    ///
    /// # Errors
    /// The database is away.
    pub async fn guard_wal(
        &self,
        slot: &str,
        is_closing: bool,
        bytes_max: Option<u64>,
        share_max: f64,
    ) -> Result<(), Error> {
        let client = self.client().await?;
        let bytes_max = bytes_max.map(|max| i64::try_from(max).unwrap_or(i64::MAX));
        let guarded = client
            .execute(GUARD, &[&slot, &is_closing, &bytes_max, &share_max])
            .await;
        match guarded {
            // A database that holds somebody else's outbox has no ingest.
            Err(error) if is_missing(&error) => Ok(()),
            other => other.map(drop).map_err(Error::database("replication_guard")),
        }
    }

    /// Whether so much log waits to be published that no further task is to be taken (503, later again).
    ///
    /// # Errors
    /// The database is away.
    pub async fn is_intake_closed(&self) -> Result<bool, Error> {
        let client = self.client().await?;
        let row = client.query_one(IS_INTAKE_CLOSED, &[]).await;
        Ok(row.map_err(Error::database("is_intake_closed"))?.get(0))
    }

    /// How far the server's log is on its disk.
    ///
    /// # Errors
    /// The database is away.
    pub async fn flushed_lsn(&self) -> Result<u64, Error> {
        let client = self.client().await?;
        let row = client.query_one(FLUSHED, &[]).await;
        lsn(row.map_err(Error::database("replication_flushed"))?.get(0))
    }

    async fn check_server(&self) -> Result<(), Error> {
        let client = self.client().await?;
        let row = client
            .query_one(WAL_LEVEL, &[])
            .await
            .map_err(Error::database("replication_wal_level"))?;
        let (level, may_replicate, role): (String, bool, String) = (row.get(0), row.get(1), row.get(2));
        if level != "logical" {
            return Err(Error::Setup(format!(
                "wal_level is `{level}`: set `wal_level = logical` in postgresql.conf and restart Postgres"
            )));
        }
        if !may_replicate {
            return Err(Error::Setup(format!(
                "the role `{role}` may not replicate: run `alter role \"{role}\" replication` as a superuser"
            )));
        }
        Ok(())
    }

    async fn ensure_publication(&self, names: &ReplicationNames) -> Result<(), Error> {
        for (schema, table) in names.tables() {
            if !self.has_publication(names, schema, table).await? {
                return self.make_publication(names).await;
            }
        }
        Ok(())
    }

    /// Whether the publication is there; if it is, it must carry this table.
    async fn has_publication(
        &self,
        names: &ReplicationNames,
        schema: &str,
        table: &str,
    ) -> Result<bool, Error> {
        let publication = &names.publication;
        let client = self.client().await?;
        let found = client
            .query_opt(PUBLICATION, &[publication, &schema, &table])
            .await;
        let Some(row) = found.map_err(Error::database("replication_publication"))? else {
            return Ok(false);
        };
        if !row.get::<_, bool>(0) {
            return Err(Error::Setup(format!(
                "the publication `{publication}` leaves an outbox out: run `alter publication {publication} add table {schema}.{table}`"
            )));
        }
        if !row.get::<_, bool>(1) {
            return Err(Error::Setup(format!(
                "the publication `{publication}` must carry inserts and name the table, not its partitions: run \
                 `alter publication {publication} set (publish = 'insert', publish_via_partition_root = true)`"
            )));
        }
        Ok(true)
    }

    async fn make_publication(&self, names: &ReplicationNames) -> Result<(), Error> {
        let publication = &names.publication;
        let tables: Vec<String> = names
            .tables()
            .map(|(schema, table)| format!("{schema}.{table}"))
            .collect();
        let tables = tables.join(", ");
        // Utility statements take no parameters; the names were checked to be plain.
        let create = format!(
            "create publication {publication} for table {tables} \
             with (publish = 'insert', publish_via_partition_root = true)"
        );
        let client = self.client().await?;
        let Err(error) = client.batch_execute(&create).await else {
            tracing::info!(publication, "publication created");
            return Ok(());
        };
        match error.code() {
            Some(&SqlState::DUPLICATE_OBJECT) => Ok(()),
            Some(&SqlState::UNDEFINED_TABLE) => Err(Error::Setup(format!(
                "one of the tables {tables} does not exist: run `posthaste migrate`, or make your own outbox"
            ))),
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Err(Error::Setup(format!(
                "the publication `{publication}` is missing and the connector's role may not make it: as the owner of \
                 {tables}, run `{create}`"
            ))),
            _ => Err(Error::database("replication_create_publication")(error)),
        }
    }
}

/// Whether the database has no schema of ours.
pub(crate) fn is_missing(error: &tokio_postgres::Error) -> bool {
    let missing = [&SqlState::UNDEFINED_FUNCTION, &SqlState::INVALID_SCHEMA_NAME];
    error.code().is_some_and(|code| missing.contains(&code))
}

/// Says how to get a slot where the server has none left.
fn no_slot_left(error: Error) -> Error {
    let is_full = matches!(&error, Error::Database { source, .. }
        if source.code() == Some(&SqlState::CONFIGURATION_LIMIT_EXCEEDED));
    if is_full {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_need_quotes_are_refused() {
        assert!(ReplicationNames::new("posthaste", "posthaste_outbox", "posthaste.outbox").is_ok());
        for (slot, publication, table) in [
            ("", "p", "a.b"),
            ("1a", "p", "a.b"),
            ("a b", "p", "a.b"),
            ("a", "p; drop table x", "a.b"),
            ("a", "P", "a.b"),
            ("a", "p", "outbox"),
            ("a", "p", "a.b.c"),
            ("a", "p", "a.\"b\""),
        ] {
            assert!(
                ReplicationNames::new(slot, publication, table).is_err(),
                "{slot} {publication} {table}"
            );
        }
    }
}
