//! How many tasks of each tenant have not ended. The grouped writes count in statements of their own; here is the
//! reading, and the counting of transactions that have several statements.

use crate::lease::Runs;
use crate::{Error, Store, query};

const SELECT_OPEN_TASKS: &str = "-- select_open_tasks
    select tenant, sum(count)::bigint from (
        select tenant, count from posthaste.open_tasks
        union all
        select tenant, change from posthaste.open_task_changes
    ) parts
    group by tenant having sum(count) > 0 order by tenant";

const FOLD_OPEN_TASKS: &str = "-- fold_open_tasks
    select posthaste.fold_open_tasks()";

const ADD_CHANGES: &str = "-- add_open_task_changes
    insert into posthaste.open_task_changes (tenant, change)
    select tenant, sum(change) from unnest($1::text[], $2::bigint[]) as new (tenant, change)
    group by tenant having sum(change) <> 0";

impl Store {
    /// The tenants that have tasks which have not ended, and how many, exact at the moment of the read. Also folds what
    /// has changed in the meantime, so that the next read is short.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn open_tasks(&self) -> Result<Vec<(String, u64)>, Error> {
        self.fold_open_tasks().await?;
        let client = self.client().await?;
        let rows = query::rows(&client, SELECT_OPEN_TASKS, &[]).await?;
        let error = Error::database("select_open_tasks");
        rows.iter()
            .map(|row| {
                let count: i64 = row.try_get(1).map_err(error)?;
                Ok((row.try_get(0).map_err(error)?, count.unsigned_abs()))
            })
            .collect()
    }

    /// Folds the changes of the counts, for whoever does not read them.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn fold_open_tasks(&self) -> Result<(), Error> {
        let client = self.client().await?;
        query::execute(&client, FOLD_OPEN_TASKS, &[]).await?;
        Ok(())
    }
}

/// Counts tasks that open (1) or end (-1) with the transaction.
pub(crate) async fn add(transaction: &impl Runs, tenants: &[&str], changes: &[i64]) -> Result<(), Error> {
    query::execute(transaction, ADD_CHANGES, &[&tenants, &changes]).await?;
    Ok(())
}
