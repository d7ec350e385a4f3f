-- Partitions: a default one of each table as a net, and the function that adds a range. Ranges themselves are made by
-- the program, ahead of time.

create table posthaste.tasks_default partition of posthaste.tasks default with (fillfactor = 30);
create table posthaste.outbox_default partition of posthaste.outbox default;
create table posthaste.task_history_default partition of posthaste.task_history default;
create table posthaste.webhook_attempts_default partition of posthaste.webhook_attempts default;

-- Adds the partition `name` of `parent` for the values from `lower` to below `upper`, unless it is there; true when it
-- was made. Rows of the range that the net caught move into it. It is attached instead of created in place, since
-- `create table ... partition of` would lock the parent against every reader and writer, and this only locks the net.
create function posthaste.add_partition(
    parent text, name text, partition_key text, lower text, upper text, options text
) returns boolean language plpgsql as $$
declare
    net text := parent || '_default';
begin
    perform pg_advisory_xact_lock(hashtext('posthaste.add_partition'));
    if to_regclass(format('posthaste.%I', name)) is not null then
        return false;
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
end $$;
