//! The statements of submissions.

/// The columns of one array each; [`crate::submit_row::RowArrays`] holds them in this order.
macro_rules! submit_statement {
    ($name:literal, $with:literal, $from:literal, $tenants:literal, $end:literal) => {
        concat!(
            "-- ", $name, "\nwith ", $with, "stored as (
    insert into posthaste.tasks (id, tenant, type, queue, key, channel, payload, priority, not_before, deadline,
        timeout_ms, retry, tags, traceparent, state, created_at)
    select id, tenant, type, queue, key, channel, payload, priority, not_before, deadline, timeout_ms, retry, tags,
        traceparent, case when scheduled then 'SCHEDULED' else 'INIT' end::posthaste.task_state, created_at
    from ", $from, "
), counted as (
    insert into posthaste.open_tasks as open (tenant, shard, count)
    select tenant, (pg_backend_pid() % 64)::smallint, count(*) from ", $tenants, " group by tenant order by tenant
    on conflict (tenant, shard) do update set count = open.count + excluded.count
)", $end
        )
    };
}

/// Without idempotency keys and timers: inserts that read the same arrays.
pub(crate) const SUBMIT: &str = submit_statement!(
    "submit",
    "",
    "unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::json[], $8::smallint[],
        $9::timestamptz[], $10::timestamptz[], $11::bigint[], $12::json[], $13::jsonb[], $14::text[], $15::boolean[],
        $16::timestamptz[])
        as new (id, tenant, type, queue, key, channel, payload, priority, not_before, deadline, timeout_ms, retry,
            tags, traceparent, scheduled, created_at)",
    "unnest($2::text[]) as new (tenant)",
    "
insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant, traceparent)
select event_id, topic, record_key, type, value, tenant, traceparent
from unnest($17::uuid[], $18::text[], $19::text[], $3::text[], $20::bytea[], $2::text[], $14::text[])
    as new (event_id, topic, record_key, type, value, tenant, traceparent)"
);

/// With keys or timers. A key belongs to its `owner`, the first of the tasks that stand and fall with it. How a key is
/// taken is told in the migration that made its table; of one key twice in a batch the first wins. Returns the tasks
/// that were stored.
pub(crate) const SUBMIT_WITH_KEYS: &str = submit_statement!(
    "submit_with_keys",
    "input as materialized (
    select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::json[],
        $8::smallint[], $9::timestamptz[], $10::timestamptz[], $11::bigint[], $12::json[], $13::jsonb[], $14::text[],
        $15::boolean[], $16::timestamptz[], $17::uuid[], $18::text[], $19::text[], $20::bytea[], $21::uuid[])
        as new (id, tenant, type, queue, key, channel, payload, priority, not_before, deadline, timeout_ms, retry,
            tags, traceparent, scheduled, created_at, event_id, topic, record_key, value, owner)
), known as materialized (
    select key, tenant from posthaste.idempotency_keys
    where key = any($22) and not guard
        and bucket < posthaste.idempotency_bucket(statement_timestamp() - posthaste.idempotency_overlap())
), keyed as materialized (
    select new.*,
        posthaste.idempotency_bucket(statement_timestamp() - posthaste.idempotency_overlap()) as earlier,
        posthaste.idempotency_bucket(statement_timestamp() + posthaste.idempotency_overlap()) as later
    from unnest($22::text[], $23::text[], $24::bytea[], $25::uuid[], $26::timestamptz[], $27::boolean[], $28::bytea[])
        with ordinality as new (key, tenant, fingerprint, owner, created_at, scheduled, answer, position)
    where posthaste.idempotency_lock(tenant, key)
), entered as (
    insert into posthaste.idempotency_keys
        (key, tenant, bucket, guard, fingerprint, task_id, created_at, scheduled, answer)
    select key, tenant, earlier, earlier < later, fingerprint, owner, created_at, scheduled,
        case when earlier = later then answer end
    from keyed where (key, tenant) not in (select key, tenant from known)
    order by position
    on conflict do nothing
    returning task_id, guard
), crossed as (
    insert into posthaste.idempotency_keys
        (key, tenant, bucket, guard, fingerprint, task_id, created_at, scheduled, answer)
    select key, tenant, later, false, fingerprint, owner, created_at, scheduled, answer
    from keyed where earlier < later and owner in (select task_id from entered)
    order by position
    on conflict do nothing
    returning task_id
), fresh as materialized (
    select * from input where owner is null
        or owner in (select task_id from entered where not guard union all select task_id from crossed)
), ",
    "fresh",
    "fresh",
    ", published as (
    insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant, traceparent)
    select event_id, topic, record_key, type, value, tenant, traceparent from fresh where not scheduled
), timed as (
    insert into posthaste.timers (task_id, kind, due_at)
    select id, 'due', not_before from fresh where scheduled
    union all
    select id, 'deadline', deadline from fresh where deadline is not null
)
select id from fresh"
);

/// Who holds the keys that were taken already, and other tenants' equal keys, which nobody asks for. A statement of its
/// own: the winner may have committed after the snapshot of the statement that lost to it.
pub(crate) const SELECT_KEYS: &str = "-- select_keys
select tenant, key, fingerprint, task_id, created_at, scheduled, answer
from posthaste.idempotency_keys
where key = any($1) and tenant = any($2) and not guard";

/// Which tasks an earlier try stored.
pub(crate) const SELECT_STORED: &str = "-- select_stored
select id from posthaste.tasks where id = any($1) and id between $2 and $3";
