//! Who may submit in SQL, as the program's other interfaces see it.

use std::sync::Arc;

use anyhow::ensure;
use serde_json::{Value, json};
use tokio_postgres::error::SqlState;

use crate::keys::{Caller, create_key};
use crate::process::{Process, free_port, migrate, run};
use crate::world::World;

const ALLOW: &str = "select posthaste.allow_submit('sql_submitters_shop', $1)";

/// What the database takes as a tenant's name the command line takes, and nothing else.
pub(crate) async fn sql_takes_the_tenants_that_the_command_line_takes(
    world: Arc<World>,
) -> anyhow::Result<()> {
    migrate(&world).await?;
    let database = world.database().await?;
    database.batch_execute("create role sql_submitters_shop").await?;
    let letters: String = ('\u{1}'..'\u{7f}').filter(char::is_ascii_alphanumeric).collect();
    let others = ('\u{1}'..'\u{7f}').filter(|c| !c.is_ascii_alphanumeric());
    let lengths = [0, 1, 100, 101].map(|length| "x".repeat(length));
    let names = others.map(|c| format!("a{c}")).chain(lengths);
    for name in names.chain([letters, "é".to_owned()]) {
        let in_sql = match database.query(ALLOW, &[&name]).await {
            Ok(_) => true,
            Err(error) if error.code() == Some(&SqlState::INVALID_PARAMETER_VALUE) => false,
            Err(error) => return Err(error.into()),
        };
        // With `=`, since a name may begin as an option does.
        let output = run(&world, &["audit", "list", &format!("--tenant={name}")]).await?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success() == in_sql && (in_sql || output.status.code() == Some(2)),
            "{name:?} in SQL: {in_sql}, on the command line: {told}"
        );
    }
    let leave = "drop owned by sql_submitters_shop; drop role sql_submitters_shop";
    Ok(database.batch_execute(leave).await?)
}

/// What was allowed in SQL stands in the audit log over HTTP and on the command line.
pub(crate) async fn who_may_submit_in_sql_is_told_by_the_audit_log(world: Arc<World>) -> anyhow::Result<()> {
    migrate(&world).await?;
    let database = world.database().await?;
    let act = "create role sql_submitters_shop;
        select posthaste.allow_submit('sql_submitters_shop', 'sql-submitters');
        select posthaste.forbid_submit('sql_submitters_shop', 'sql-submitters');
        drop role sql_submitters_shop";
    database.batch_execute(act).await?;
    let row = database.query_one("select session_user::text", &[]).await?;
    let actor = format!("role:{}", row.get::<_, &str>(0));
    let wanted = ["submitter.forbid", "submitter.allow"].map(
        |action| json!({"action": action, "object": "sql_submitters_shop", "actor": actor, "details": {}}),
    );

    let admin = create_key(&world, "sql-submitters", "admin").await?;
    let process = Process::role_with(&world, "ingest", free_port()?, &["http.access=keys"]).await?;
    let admin = Caller::new(&world, &process.url, &admin);
    admin.let_in().await?;
    let page = admin.expect(200, "GET", "/v1/audit", None).await?;
    let over_http: Vec<Value> = serde_json::from_value(page["entries"].clone())?;
    told(&over_http, &wanted)?;
    let output = run(&world, &["audit", "list", "--tenant", "sql-submitters", "--json"]).await?;
    let lines = String::from_utf8(output.stdout)?;
    let listed: Vec<Value> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    told(&listed, &wanted)?;
    process.stop().await
}

/// The newest entry is of the key that asks.
fn told(entries: &[Value], wanted: &[Value]) -> anyhow::Result<()> {
    let entries: Vec<Value> = entries
        .iter()
        .skip(1)
        .map(|entry| {
            let [action, object, actor, details] =
                ["action", "object", "actor", "details"].map(|field| &entry[field]);
            json!({"action": action, "object": object, "actor": actor, "details": details})
        })
        .collect();
    ensure!(entries == wanted, "{entries:?}");
    Ok(())
}
