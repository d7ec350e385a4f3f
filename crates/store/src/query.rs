//! Runs prepared statements on connections of the pool. A statement is a constant whose first line names it.

use deadpool_postgres::GenericClient as _;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::Error;
use crate::lease::Runs;

/// The name in a statement's first line, `-- name`.
pub(crate) fn name_of(sql: &'static str) -> &'static str {
    sql.lines()
        .next()
        .and_then(|line| line.strip_prefix("-- "))
        .unwrap_or("unnamed")
}

/// All rows of `sql`. Bounded by the statement's own `limit`.
pub(crate) async fn rows(
    client: &impl Runs,
    sql: &'static str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Error> {
    let error = Error::database(name_of(sql));
    let under_way = client.begin();
    let answer = async {
        let statement = client.client().prepare_cached(sql).await?;
        client.client().query(&statement, parameters).await
    };
    let answer = answer.await;
    under_way.end();
    answer.map_err(error)
}

/// The one row of `sql`, or none.
pub(crate) async fn row(
    client: &impl Runs,
    sql: &'static str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Option<Row>, Error> {
    let error = Error::database(name_of(sql));
    let under_way = client.begin();
    let answer = async {
        let statement = client.client().prepare_cached(sql).await?;
        client.client().query_opt(&statement, parameters).await
    };
    let answer = answer.await;
    under_way.end();
    answer.map_err(error)
}

/// The one row of `sql`, which always has one.
pub(crate) async fn one(
    client: &impl Runs,
    sql: &'static str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<Row, Error> {
    row(client, sql, parameters)
        .await?
        .ok_or_else(|| Error::Corrupt(format!("`{}` gave no row", name_of(sql))))
}

/// Runs `sql` for its effect: the number of rows that it touched.
pub(crate) async fn execute(
    client: &impl Runs,
    sql: &'static str,
    parameters: &[&(dyn ToSql + Sync)],
) -> Result<u64, Error> {
    let error = Error::database(name_of(sql));
    let under_way = client.begin();
    let answer = async {
        let statement = client.client().prepare_cached(sql).await?;
        client.client().execute(&statement, parameters).await
    };
    let answer = answer.await;
    under_way.end();
    answer.map_err(error)
}

/// Runs a command whose text names things of the database, which cannot be parameters.
pub(crate) async fn command(client: &impl Runs, name: &'static str, sql: &str) -> Result<(), Error> {
    let under_way = client.begin();
    let answer = client.client().batch_execute(sql).await;
    under_way.end();
    answer.map_err(Error::database(name))
}
