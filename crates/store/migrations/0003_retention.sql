-- Retention: dropping partitions. Each function gives up after a short wait for its lock and is called again later, so
-- that nobody queues behind it for long. Partitions are named by the program.

-- Outbox partitions into which nobody writes any more, and how far the log had come when that was made sure of.
create table posthaste.outbox_closed (
    name      text primary key,
    lsn       pg_lsn not null,                 -- every row of the partition is before it
    closed_at timestamptz not null default now()
);

-- Drops a partition of tasks unless one of them still has a way to go; true when it was dropped.
create function posthaste.drop_tasks(name text) returns boolean language plpgsql as $$
declare
    is_live boolean;
begin
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

-- Drops a partition of anything else; true when it was dropped.
create function posthaste.drop_partition(name text) returns boolean language plpgsql as $$
begin
    perform set_config('lock_timeout', '200ms', true);
    execute format('drop table posthaste.%I', name);
    return true;
exception when lock_not_available or deadlock_detected then
    return false;
end $$;

-- Waits for those who have written to an outbox partition whose time is over, and notes how far the log has come. The
-- lock is on the partition alone: those who write to the present one are not held back.
create function posthaste.close_outbox(name text) returns boolean language plpgsql as $$
begin
    perform set_config('lock_timeout', '1s', true);
    execute format('lock table posthaste.%I in share row exclusive mode', name);
    insert into posthaste.outbox_closed (name, lsn) values (close_outbox.name, pg_current_wal_insert_lsn())
    on conflict do nothing;
    return true;
exception when lock_not_available then
    return false;
end $$;

-- Drops a closed outbox partition when every slot that can publish it has confirmed past its rows; without a slot
-- nobody has, so it stays. A lost slot has confirmed what it had confirmed: what came after is published again from
-- these rows. True when it was dropped.
create function posthaste.drop_outbox(name text) returns boolean language plpgsql as $$
declare
    is_published boolean;
begin
    select bool_and(slot.confirmed_flush_lsn >= closed.lsn) into is_published
    from pg_replication_slots slot, posthaste.outbox_closed closed
    where slot.slot_type = 'logical' and slot.plugin = 'pgoutput' and slot.database = current_database()
        and closed.name = drop_outbox.name;
    if is_published is not true or not posthaste.drop_partition(name) then
        return false;
    end if;
    delete from posthaste.outbox_closed closed where closed.name = drop_outbox.name;
    return true;
end $$;
