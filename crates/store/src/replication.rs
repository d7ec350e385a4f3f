//! What the connector needs from the database beside its stream: a server that can decode its log, a publication and a slot.

use crate::row::Columns;
use crate::{Error, SlotState, Store, query};

const WAL_LEVEL: &str = "-- replication_wal_level
select current_setting('wal_level'), rolreplication or rolsuper, rolname::text from pg_catalog.pg_roles where rolname = current_user";

const FLUSHED: &str = "-- replication_flushed
select pg_catalog.pg_wal_lsn_diff(
    case when pg_catalog.pg_is_in_recovery()
         then greatest(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())
         else pg_catalog.pg_current_wal_flush_lsn() end, '0/0')::text";

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
    pub(crate) fn tables(&self) -> impl Iterator<Item = (&str, &str)> {
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
pub(crate) fn lsn(text: &str) -> Result<u64, Error> {
    text.parse()
        .map_err(|_| Error::Setup(format!("the server's log position is `{text}`")))
}

fn is_plain(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    name.len() <= 63
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || byte.is_ascii_digit())
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

    /// How far the server's log is on its disk.
    ///
    /// # Errors
    /// The database is away.
    pub async fn flushed_lsn(&self) -> Result<u64, Error> {
        let client = self.client().await?;
        let row = query::one(&client, FLUSHED, &[]).await?;
        lsn(Columns::of(&row).take()?)
    }

    async fn check_server(&self) -> Result<(), Error> {
        let client = self.client().await?;
        let row = query::one(&client, WAL_LEVEL, &[]).await?;
        let mut columns = Columns::of(&row);
        let (level, may_replicate, role): (&str, bool, &str) =
            (columns.take()?, columns.take()?, columns.take()?);
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
