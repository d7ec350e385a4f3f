-- How many tasks of each tenant have not ended, exact at every commit: whatever opens or ends a task adds to these in
-- the same transaction. The number is the sum of both tables.

-- Grouped writes add to the row of their connection, once for each tenant of a batch: they hold it for one statement.
-- Room in the page keeps the updates heap-only.
create table posthaste.open_tasks (
    tenant text not null,
    shard  smallint not null,                  -- process id of the connection modulo 64
    count  bigint not null,                    -- may be negative: a task can end on another connection
    primary key (tenant, shard)
) with (fillfactor = 20);

-- Transactions of several statements add a row here instead: they would hold a row of the other table, and whoever
-- needs it, until they end, which is up to an application where `posthaste.submit` is called.
create table posthaste.open_task_changes (
    tenant text not null,
    change bigint not null
);

-- Moves the changes into the counts; one at a time, and not at all while another does. How many rows it moved. It runs
-- for its owner, so that who only reads the counts may call it.
create function posthaste.fold_open_tasks() returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    folded bigint;
begin
    if not pg_try_advisory_xact_lock(7210983644130503) then
        return 0;
    end if;
    with moved as (
        delete from posthaste.open_task_changes returning tenant, change
    ), added as (
        insert into posthaste.open_tasks as open (tenant, shard, count)
        select tenant, (pg_backend_pid() % 64)::smallint, sum(change) from moved group by tenant order by tenant
        on conflict (tenant, shard) do update set count = open.count + excluded.count
    )
    select count(*) into folded from moved;
    return folded;
end $$;

-- Counts anew. Needed after processes of an older version, which count nothing, wrote beside a schema that counts.
-- Writers wait for as long as it reads.
create function posthaste.recount_open_tasks() returns void language plpgsql as $$
begin
    lock table posthaste.tasks in share mode;
    delete from posthaste.open_task_changes;
    delete from posthaste.open_tasks;
    insert into posthaste.open_tasks (tenant, shard, count)
    select tenant, 0, count(*) from posthaste.tasks
    where state not in ('DONE', 'FAILED', 'CANCELLED', 'EXPIRED')
    group by tenant;
end $$;

select posthaste.recount_open_tasks();
