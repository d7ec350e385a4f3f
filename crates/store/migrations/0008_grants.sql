-- Rights of roles that may do no more than their part. The functions that make and drop partitions run with their owner's
-- rights from here on, so they look at each name: only what this program would make or drop passes.

-- Answers which of `parents` the name is a partition of by its form: the table, `_`, and a day, an hour or a minute.
create function posthaste.partition_parent(name text, parents text[]) returns text language plpgsql immutable as $$
declare
    parent text := substring(name from '^([a-z_]+)_\d{8}(?:\d{2}){0,2}$');
begin
    if parent is null or parent <> all (parents) then
        raise exception '% is not a partition of %', quote_ident(name), array_to_string(parents, ', ')
            using errcode = 'invalid_parameter_value';
    end if;
    return parent;
end $$;

-- The outbox is written once and read by nobody: there is nothing to vacuum or to analyse.
alter table posthaste.outbox_default set (autovacuum_enabled = off, toast.autovacuum_enabled = off);

-- Puts the outbox's net aside with all that it holds, and an empty one in its place. Moving its rows would write them, and
-- publish them, once more, and would hold up writers for as long as that takes. What is aside is closed, and goes as
-- closed partitions do. Raises `lock_not_available` where a transaction keeps the outbox for long.
create function posthaste.put_outbox_net_aside() returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    aside text := 'outbox_net_' || to_char(clock_timestamp() at time zone 'utc', 'YYYYMMDDHH24MISSUS');
begin
    perform set_config('lock_timeout', '1s', true);
    -- Waits for everybody who writes to any partition, so the position that is noted is past all rows.
    lock table only posthaste.outbox in access exclusive mode;
    alter table posthaste.outbox detach partition posthaste.outbox_default;
    execute format('alter table posthaste.outbox_default rename to %I', aside);
    create table posthaste.outbox_default partition of posthaste.outbox default
        with (autovacuum_enabled = off, toast.autovacuum_enabled = off);
    insert into posthaste.outbox_closed (name, lsn) values (aside, pg_current_wal_insert_lsn());
end $$;

-- What nets that were put aside hold: for the connector, when it publishes anew what the outbox holds.
create function posthaste.outbox_aside() returns setof posthaste.outbox
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
declare
    aside text;
begin
    for aside in select name from posthaste.outbox_closed where name ~ '^outbox_net_\d{20}$' loop
        return query execute format('select * from posthaste.%I', aside);
    end loop;
end $$;

-- As before, for our own tables and keys alone, and without moving rows of the outbox. The bounds are quoted; storage
-- parameters are words and numbers.
create or replace function posthaste.add_partition(
    parent text, name text, partition_key text, lower text, upper text, options text
) returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    net text := parent || '_default';
    parents text[] := array['tasks', 'outbox', 'task_history', 'webhook_attempts', 'idempotency_keys'];
begin
    if posthaste.partition_parent(name, parents) <> parent
        or (parent, partition_key) not in (('tasks', 'id'), ('outbox', 'created_at'), ('task_history', 'task_id'),
            ('webhook_attempts', 'id'), ('idempotency_keys', 'bucket'))
        or options !~ '^([a-z_.]+ = [a-z0-9]+(, [a-z_.]+ = [a-z0-9]+)*)?$'
    then
        raise exception 'no such partition is made here' using errcode = 'invalid_parameter_value';
    end if;
    perform pg_advisory_xact_lock(hashtext('posthaste.add_partition'));
    if to_regclass(format('posthaste.%I', name)) is not null then
        return false;
    end if;
    if parent = 'outbox' and exists (select from posthaste.outbox_default) then
        perform posthaste.put_outbox_net_aside();
    end if;
    execute format('create table posthaste.%I (like posthaste.%I including all)', name, parent);
    if options <> '' then
        execute format('alter table posthaste.%I set (%s)', name, options);
    end if;
    execute format('lock table posthaste.%I in access exclusive mode', net);
    execute format(
        'with moved as (delete from posthaste.%I where %I >= %L and %I < %L returning *)
        insert into posthaste.%I select * from moved',
        net, partition_key, lower, partition_key, upper, name
    );
    execute format(
        'alter table posthaste.%I attach partition posthaste.%I for values from (%L) to (%L)',
        parent, name, lower, upper
    );
    return true;
exception when lock_not_available then
    -- Only a lock that is waited for within a bound is not had: the next round tries again.
    return false;
end $$;

create or replace function posthaste.drop_tasks(name text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    is_live boolean;
begin
    perform posthaste.partition_parent(name, array['tasks']);
    perform set_config('lock_timeout', '200ms', true);
    -- Writers are held back from the look to the drop, readers only during the drop.
    execute format('lock table posthaste.%I in share row exclusive mode', name);
    execute format(
        'select exists (select from posthaste.%I where state not in (''DONE'', ''FAILED'', ''CANCELLED'', ''EXPIRED''))',
        name
    ) into is_live;
    if not is_live then
        execute format('drop table posthaste.%I', name);
    end if;
    return not is_live;
exception when lock_not_available or deadlock_detected then
    return false;
end $$;

-- Not for the outbox and for tasks, whose own functions look first.
create or replace function posthaste.drop_partition(name text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform posthaste.partition_parent(name, array['task_history', 'webhook_attempts', 'idempotency_keys']);
    perform set_config('lock_timeout', '200ms', true);
    execute format('drop table posthaste.%I', name);
    return true;
exception when lock_not_available or deadlock_detected then
    return false;
end $$;

create or replace function posthaste.close_outbox(name text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform posthaste.partition_parent(name, array['outbox']);
    perform set_config('lock_timeout', '1s', true);
    execute format('lock table posthaste.%I in share row exclusive mode', name);
    insert into posthaste.outbox_closed (name, lsn) values (close_outbox.name, pg_current_wal_insert_lsn())
    on conflict do nothing;
    return true;
exception
    when lock_not_available then
        return false;
    when undefined_table then
        -- Another scheduler has dropped it meanwhile.
        return true;
end $$;

-- The transactions that have written to the outbox and are open, but for the one that asks.
create function posthaste.outbox_writers() returns text[] language sql volatile set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(virtualtransaction), '{}') from pg_locks
    where relation = 'posthaste.outbox'::regclass and pid <> pg_backend_pid() and granted
        and database = (select oid from pg_database where datname = current_database())
$$;

-- Drops a closed partition of the outbox, or a net that was put aside, when every slot that can publish it has confirmed past
-- its rows; true when it was dropped. None is dropped while a slot that a connector has read is missing (dropped, or left
-- behind by a promotion): its connector makes it anew and then publishes once more what is here. Nor while a transaction is
-- open for long that has written to any part of the outbox: to wait for it would hold up everybody who writes.
create or replace function posthaste.drop_outbox(name text) returns boolean
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    is_published boolean;
    writers text[];
begin
    if name !~ '^outbox_net_\d{20}$' then
        perform posthaste.partition_parent(name, array['outbox']);
    end if;
    if exists (
        select from posthaste.wal_guards guard
        where not exists (select from pg_replication_slots server where server.slot_name = guard.slot)
    ) then
        return false;
    end if;
    select bool_and(slot.confirmed_flush_lsn >= closed.lsn) into is_published
    from pg_replication_slots slot, posthaste.outbox_closed closed
    where slot.slot_type = 'logical' and slot.plugin = 'pgoutput' and slot.database = current_database()
        and closed.name = drop_outbox.name;
    if is_published is not true then
        return false;
    end if;
    if name !~ '^outbox_net_' then
        writers := posthaste.outbox_writers();
        perform pg_sleep(0.1);
        if writers && posthaste.outbox_writers() then
            return false;
        end if;
    end if;
    perform set_config('lock_timeout', '200ms', true);
    -- Another scheduler may have been faster.
    execute format('drop table if exists posthaste.%I', name);
    delete from posthaste.outbox_closed closed where closed.name = drop_outbox.name;
    return true;
exception when lock_not_available or deadlock_detected then
    return false;
end $$;

-- What each part may do, by the part's name: table rights, then functions. A row is all that a part has on the object.
create function posthaste.role_rights() returns table (part text, rights text, object text)
language sql immutable as $$
    values
        ('ingest', 'select, insert, update', 'posthaste.tasks'),
        ('ingest', 'insert', 'posthaste.outbox'),
        ('ingest', 'select, insert', 'posthaste.idempotency_keys'),
        ('ingest', 'insert', 'posthaste.timers'),
        ('ingest', 'select, insert', 'posthaste.task_history'),
        ('ingest', 'select', 'posthaste.webhook_attempts'),
        ('ingest', 'select, insert, update', 'posthaste.open_tasks'),
        ('ingest', 'select, insert', 'posthaste.open_task_changes'),
        ('ingest', 'select', 'posthaste.schemas'),
        ('ingest', 'execute', 'posthaste.idempotency_bucket(timestamptz)'),
        ('ingest', 'execute', 'posthaste.idempotency_overlap()'),
        ('ingest', 'execute', 'posthaste.idempotency_lock(text, text)'),
        ('ingest', 'execute', 'posthaste.fold_open_tasks()'),
        ('ingest', 'execute', 'posthaste.is_intake_closed()'),
        -- It serves the routes over which operators look at the connector and pause it.
        ('ingest', 'select, update (is_paused, changed_at, changed_by)', 'posthaste.connectors'),
        ('ingest', 'select', 'posthaste.connector_instances'),
        ('ingest', 'select', 'posthaste.wal_guards'),
        ('ingest', 'execute', 'posthaste.connector_lives(name, text)'),
        ('delivery', 'execute', 'posthaste.fold_open_tasks()'),
        ('connector', 'execute', 'posthaste.guard_wal(name, boolean, bigint, double precision)'),
        ('connector', 'execute', 'posthaste.enter_connector(name, text, text)'),
        ('connector', 'execute', 'posthaste.tell_connector(name, text, text, text, bigint)'),
        ('connector', 'select, insert', 'posthaste.outbox'),
        ('connector', 'execute', 'posthaste.outbox_aside()'),
        ('worker', 'select, update', 'posthaste.tasks'),
        ('worker', 'insert', 'posthaste.outbox'),
        ('worker', 'select, insert, update', 'posthaste.timers'),
        ('worker', 'select, insert', 'posthaste.task_history'),
        ('worker', 'select, insert, update', 'posthaste.open_tasks'),
        ('worker', 'insert', 'posthaste.open_task_changes'),
        ('worker', 'select', 'posthaste.schemas'),
        ('delivery', 'select', 'posthaste.tasks'),
        ('delivery', 'select', 'posthaste.schemas'),
        ('delivery', 'select', 'posthaste.open_tasks'),
        ('delivery', 'select', 'posthaste.open_task_changes'),
        ('delivery', 'select, insert, update, delete', 'posthaste.endpoints'),
        ('delivery', 'select, insert', 'posthaste.webhook_attempts'),
        ('delivery', 'select, insert, update, delete', 'posthaste.webhook_retries'),
        ('scheduler', 'select, update', 'posthaste.tasks'),
        ('scheduler', 'insert', 'posthaste.outbox'),
        ('scheduler', 'select, insert, update, delete', 'posthaste.timers'),
        ('scheduler', 'select', 'posthaste.schemas'),
        ('scheduler', 'select, insert, update', 'posthaste.open_tasks'),
        ('scheduler', 'select, insert, delete', 'posthaste.open_task_changes'),
        ('scheduler', 'select', 'posthaste.outbox_closed'),
        ('scheduler', 'select (slot)', 'posthaste.wal_guards'),
        ('scheduler', 'select, delete', 'posthaste.idempotency_keys_default'),
        -- To delete what is old it must see what is; not the hashes, and not what was done.
        ('scheduler', 'select (id, revoked_at, expires_at), delete', 'posthaste.api_keys'),
        ('scheduler', 'select (id), delete', 'posthaste.audit'),
        ('scheduler', 'execute', 'posthaste.idempotency_bucket(timestamptz)'),
        ('scheduler', 'execute', 'posthaste.fold_open_tasks()'),
        ('scheduler', 'execute', 'posthaste.add_partition(text, text, text, text, text, text)'),
        ('scheduler', 'execute', 'posthaste.drop_tasks(text)'),
        ('scheduler', 'execute', 'posthaste.drop_partition(text)'),
        ('scheduler', 'execute', 'posthaste.close_outbox(text)'),
        ('scheduler', 'execute', 'posthaste.drop_outbox(text)')
    union all
    -- Whoever serves the HTTP interface checks keys and serves the routes that make them.
    select served.part, door.rights, door.object
    from (values ('ingest'), ('delivery')) served (part), (values
        ('select, insert, update', 'posthaste.api_keys'),
        ('select, insert', 'posthaste.tenants'),
        ('select, update', 'posthaste.access_revision'),
        ('select', 'posthaste.stream_token_secret'),
        ('select, insert', 'posthaste.audit')) door (rights, object)
    union all
    select every.part, 'select', 'posthaste.schema_migrations'
    from (values ('ingest'), ('connector'), ('worker'), ('delivery'), ('scheduler')) every (part)
$$;

-- Gives the roles `<prefix>_ingest`, `<prefix>_connector` and so on exactly these rights in this schema, and tells what it
-- did; roles that do not exist are passed over. For the schema's owner, after each migration; safe to repeat.
create function posthaste.grant_roles(prefix text) returns setof text language plpgsql as $$
declare
    kind text;
    role name;
    given record;
begin
    foreach kind in array array['ingest', 'connector', 'worker', 'delivery', 'scheduler'] loop
        role := prefix || '_' || kind;
        if not exists (select from pg_catalog.pg_roles where rolname = role) then
            return next format('%s: there is no such role', role);
            continue;
        end if;
        execute format('revoke all on all tables in schema posthaste from %I', role);
        execute format('revoke all on all functions in schema posthaste from %I', role);
        execute format('grant usage on schema posthaste to %I', role);
        for given in select rights, object from posthaste.role_rights() wanted where wanted.part = kind loop
            execute format('grant %s on %s %s to %I', given.rights,
                case given.rights when 'execute' then 'function' else 'table' end, given.object, role);
        end loop;
        return next format('%s: granted', role);
    end loop;
end $$;

-- Functions are everybody's until that is taken back.
revoke execute on function
    posthaste.add_partition(text, text, text, text, text, text), posthaste.drop_tasks(text),
    posthaste.drop_partition(text), posthaste.close_outbox(text), posthaste.drop_outbox(text),
    posthaste.put_outbox_net_aside(), posthaste.outbox_aside(), posthaste.outbox_writers(), posthaste.grant_roles(text)
from public;
