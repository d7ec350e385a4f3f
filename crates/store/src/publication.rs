//! The publication: which tables' inserts go into the connector's stream.

use tokio_postgres::error::SqlState;

use crate::row::Columns;
use crate::{Error, ReplicationNames, Store, query};

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

impl Store {
    /// Makes the publication if it is missing; if it is there, it must carry all tables.
    pub(crate) async fn ensure_publication(&self, names: &ReplicationNames) -> Result<(), Error> {
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
        let Some(row) = query::row(&client, PUBLICATION, &[publication, &schema, &table]).await? else {
            return Ok(false);
        };
        let mut columns = Columns::of(&row);
        if !columns.take::<bool>()? {
            return Err(Error::Setup(format!(
                "the publication `{publication}` leaves an outbox out: run `alter publication {publication} add table {schema}.{table}`"
            )));
        }
        if !columns.take::<bool>()? {
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
        let Err(error) = query::command(&client, "replication_create_publication", &create).await else {
            tracing::info!(publication, "publication created");
            return Ok(());
        };
        match error.sql_state() {
            Some(&SqlState::DUPLICATE_OBJECT) => Ok(()),
            Some(&SqlState::UNDEFINED_TABLE) => Err(Error::Setup(format!(
                "one of the tables {tables} does not exist: run `posthaste migrate`, or make your own outbox"
            ))),
            Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Err(Error::Setup(format!(
                "the publication `{publication}` is missing and the connector's role may not make it: as the owner of \
                 {tables}, run `{create}`"
            ))),
            _ => Err(error),
        }
    }
}
