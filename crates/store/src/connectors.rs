//! Connectors: what operators ask of whoever reads a slot, and what each connector says of itself.

use chrono::{DateTime, Utc};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use crate::audit::Act;
use crate::lease::Runs;
use crate::row::Columns;
use crate::{Error, SlotState, Store, query};

// A server whose client is silent for so long ends the session, and with it the sign that the connector lives.
const SESSION: &str =
    "set idle_session_timeout = '15s'; set statement_timeout = '5s'; set lock_timeout = '5s'";

const ENTER: &str = "-- enter_connector
    select posthaste.enter_connector($1, $2, $3)";

const TELL: &str = "-- tell_connector
    select is_paused, changed_at, changed_by from posthaste.tell_connector($1, $2, $3, $4, $5)";

const ENSURE_CONNECTOR: &str = "-- ensure_connector
    insert into posthaste.connectors (slot) values ($1) on conflict do nothing";

const SET_PAUSED: &str = "-- set_connector_paused
    update posthaste.connectors c set is_paused = $2, changed_at = $3, changed_by = $4
    where c.slot = $1::text and c.is_paused <> $2";

const CONNECTORS: &str = "-- connectors
    select c.slot::text, c.is_paused, c.changed_at, c.changed_by, guard.is_closing, guard.bytes_max
    from posthaste.connectors c left join posthaste.wal_guards guard on guard.slot = c.slot
    where $1::text is null or c.slot = $1
    order by c.slot limit 100";

const INSTANCES: &str = "-- connector_instances
    select i.instance, i.delivery, i.state, i.waits_for, i.since,
        greatest(extract(epoch from now() - i.behind_since), 0)::bigint
    from posthaste.connector_instances i
    where i.slot = $1 and posthaste.connector_lives(i.slot, i.instance)
    order by i.since limit 100";

/// What operators ask of a connector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Asked {
    /// Whether it is to stand still.
    pub is_paused: bool,
    /// When it was paused or resumed last; `None`: it never was.
    pub changed_at: Option<DateTime<Utc>>,
    /// By whom: a key's id, `cli` or `open`.
    pub changed_by: Option<String>,
}

/// A slot that a connector reads, with all that is known of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectorRecord {
    /// The replication slot.
    pub slot: String,
    /// What is asked of its connector.
    pub asked: Asked,
    /// Whether ingest refuses tasks before too much log waits, else the server lets the slot go; `None`: no connector has
    /// said so yet.
    pub is_closing: Option<bool>,
    /// Bytes of log that may wait, beside the server's own bound.
    pub bytes_max: Option<u64>,
    /// The connectors that live, the one that holds the slot and those that stand by.
    pub instances: Vec<ConnectorInstance>,
    /// The slot as the server sees it; `None`: it is not there.
    pub slot_state: Option<SlotState>,
}

/// What a connector that lives says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectorInstance {
    /// Host, process and something random.
    pub name: String,
    /// `at_least_once` or `exactly_once`.
    pub delivery: String,
    /// `streaming`, `paused`, `standby` or `waiting`.
    pub state: String,
    /// What it waits for.
    pub waits_for: Option<String>,
    /// When it came into this state.
    pub since: DateTime<Utc>,
    /// Age of the oldest log that is not published, seconds, to about ten; `None`: a few at most.
    pub behind_s: Option<u64>,
}

/// A connector's session: it lives as long as this does.
pub struct ConnectorSession {
    client: Client,
    slot: String,
    instance: String,
}

impl ConnectorSession {
    /// Says how the connector is, and gives what is asked of it. Writes only what is new. `behind_s`: the age of the
    /// oldest log that is not published, when it is worth telling.
    ///
    /// # Errors
    /// The session is broken: a new one is to be made.
    pub async fn tell(
        &self,
        state: &str,
        waits_for: Option<&str>,
        behind_s: Option<u64>,
    ) -> Result<Asked, Error> {
        let behind_s = behind_s.map(|seconds| i64::try_from(seconds).unwrap_or(i64::MAX));
        let row = self
            .client
            .query_opt(TELL, &[&self.slot, &self.instance, &state, &waits_for, &behind_s])
            .await
            .map_err(Error::database("tell_connector"))?;
        row.as_ref()
            .map_or(Ok(Asked::default()), |row| asked_of(&mut Columns::of(row)))
    }
}

impl Store {
    /// Makes a connector known for as long as the session lasts; `None`: the database has no schema of ours, so nobody can
    /// ask anything.
    ///
    /// # Errors
    /// When the database is away, or the role lacks rights.
    pub async fn connector_session(
        &self,
        slot: &str,
        instance: &str,
        delivery: &str,
    ) -> Result<Option<ConnectorSession>, Error> {
        let (client, connection) = self.server().connect().await?;
        tokio::spawn(connection);
        let set = client.batch_execute(SESSION).await;
        set.map_err(Error::database("connector_session"))?;
        let entered = client.execute(ENTER, &[&slot, &instance, &delivery]).await;
        match entered.map_err(Error::database("enter_connector")) {
            Ok(_) => Ok(Some(ConnectorSession {
                client,
                slot: slot.to_owned(),
                instance: instance.to_owned(),
            })),
            Err(error) if error.is_undefined_function() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a slot's connector known, so that it can be paused before it first runs.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ensure_connector(&self, slot: &str) -> Result<(), Error> {
        let client = self.client().await?;
        query::execute(&client, ENSURE_CONNECTOR, &[&slot])
            .await
            .map(drop)
    }

    /// Pauses or resumes a slot's connector; one that is as asked already is left, and nothing is noted. Within a second or
    /// so the connector obeys.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set_connector_paused(
        &self,
        slot: &str,
        is_paused: bool,
        act: &Act<'_>,
    ) -> Result<(), Error> {
        let mut client = self.client().await?;
        let transaction = client.transaction().await.map_err(Error::database("begin"))?;
        let asked: [&(dyn ToSql + Sync); 4] = [&slot, &is_paused, &act.at, &act.actor];
        if query::execute(&transaction, SET_PAUSED, &asked).await? > 0 {
            act.note(&transaction, slot).await?;
        }
        transaction.commit().await.map_err(Error::database("commit"))
    }

    /// Every slot that connectors read, by name.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn connectors(&self) -> Result<Vec<ConnectorRecord>, Error> {
        self.connectors_of(None).await
    }

    /// One slot that connectors read; `None`: nobody has heard of it.
    ///
    /// # Errors
    /// As [`Self::connectors`].
    pub async fn connector(&self, slot: &str) -> Result<Option<ConnectorRecord>, Error> {
        Ok(self.connectors_of(Some(slot)).await?.pop())
    }

    async fn connectors_of(&self, slot: Option<&str>) -> Result<Vec<ConnectorRecord>, Error> {
        let rows = query::rows(&self.client().await?, CONNECTORS, &[&slot]).await?;
        let mut found = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut record = record_of(row)?;
            record.slot_state = self.slot_state(&record.slot).await?;
            record.instances = instances(&self.client().await?, &record.slot).await?;
            found.push(record);
        }
        Ok(found)
    }
}

async fn instances(client: &impl Runs, slot: &str) -> Result<Vec<ConnectorInstance>, Error> {
    let rows = query::rows(client, INSTANCES, &[&slot]).await?;
    rows.iter().map(instance_of).collect()
}

fn record_of(row: &Row) -> Result<ConnectorRecord, Error> {
    let mut columns = Columns::of(row);
    Ok(ConnectorRecord {
        slot: columns.take()?,
        asked: asked_of(&mut columns)?,
        is_closing: columns.take()?,
        bytes_max: columns.take::<Option<i64>>()?.map(i64::unsigned_abs),
        instances: Vec::new(),
        slot_state: None,
    })
}

fn asked_of(columns: &mut Columns<'_>) -> Result<Asked, Error> {
    Ok(Asked {
        is_paused: columns.take()?,
        changed_at: columns.take()?,
        changed_by: columns.take()?,
    })
}

fn instance_of(row: &Row) -> Result<ConnectorInstance, Error> {
    let mut columns = Columns::of(row);
    Ok(ConnectorInstance {
        name: columns.take()?,
        delivery: columns.take()?,
        state: columns.take()?,
        waits_for: columns.take()?,
        since: columns.take()?,
        behind_s: columns.take::<Option<i64>>()?.map(i64::unsigned_abs),
    })
}
