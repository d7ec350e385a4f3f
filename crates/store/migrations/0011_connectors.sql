-- Connectors as operators see them: what is asked of whoever reads a slot, and what each connector says of itself. A
-- connector looks here once a second and writes only when it has something else to say, so a system at rest writes no log
-- for it. That a connector lives is told by a lock of its session, not by a time that it would have to renew.

-- What is asked. It holds for whichever connector reads the slot, over restarts and takeovers.
create table posthaste.connectors (
    slot       name primary key,               -- the replication slot
    is_paused  boolean not null default false, -- whether its connector is to stand still
    changed_at timestamptz,                    -- when it was paused or resumed last; null: never was
    changed_by text                            -- by whom: a key's id, `cli`, `open`
);

-- What connectors say, the one that holds the slot and those that stand by. Rows of those that have died are deleted by
-- the next that comes.
create table posthaste.connector_instances (
    slot         name not null references posthaste.connectors (slot),
    instance     text not null,                -- host, process and something random
    delivery     text not null,                -- at_least_once or exactly_once
    state        text not null,                -- streaming (it holds the slot), paused, standby or waiting
    waits_for    text,                         -- what it waits for, for people
    since        timestamptz not null,         -- when it came into this state
    behind_since timestamptz,                  -- age of the oldest log that is not published, once that is some seconds
    primary key (slot, instance)
);

-- The lock that a connector's session holds as long as it lives: any number that nobody else uses, and the name's hash.
create function posthaste.connector_lives(slot name, instance text) returns boolean
language sql stable set search_path = pg_catalog, pg_temp as $$
    select exists (
        select from pg_locks held
        where held.locktype = 'advisory' and held.classid = 721098364 and held.objsubid = 2
            and held.objid = hashtext(connector_lives.slot::text || ' ' || connector_lives.instance)::oid
            and held.database = (select d.oid from pg_database d where d.datname = current_database())
    );
$$;

-- Makes a connector known, until the session ends.
create function posthaste.enter_connector(slot name, instance text, delivery text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform pg_advisory_lock_shared(
        721098364, hashtext(enter_connector.slot::text || ' ' || enter_connector.instance));
    insert into posthaste.connectors (slot) values (enter_connector.slot) on conflict do nothing;
    delete from posthaste.connector_instances said
    where said.slot = enter_connector.slot and not posthaste.connector_lives(said.slot, said.instance);
    insert into posthaste.connector_instances as said (slot, instance, delivery, state, since)
    values (enter_connector.slot, enter_connector.instance, enter_connector.delivery, 'waiting', now())
    on conflict on constraint connector_instances_pkey do update set delivery = excluded.delivery;
end $$;

-- Says how a connector is, and tells it what is asked. `behind_s`: the age of the oldest log that is not published, which is
-- written again only when it has moved by ten seconds.
create function posthaste.tell_connector(slot name, instance text, state text, waits_for text, behind_s bigint)
returns table (is_paused boolean, changed_at timestamptz, changed_by text)
language sql security definer set search_path = pg_catalog, pg_temp as $$
    update posthaste.connector_instances said
    set state = tell_connector.state, waits_for = tell_connector.waits_for,
        since = case when said.state = tell_connector.state then said.since else now() end,
        behind_since = now() - make_interval(secs => tell_connector.behind_s)
    where said.slot = tell_connector.slot and said.instance = tell_connector.instance
        and ((said.state, said.waits_for, said.behind_since is null)
                is distinct from (tell_connector.state, tell_connector.waits_for, tell_connector.behind_s is null)
            or abs(extract(epoch from now() - said.behind_since) - tell_connector.behind_s) >= 10);
    select asked.is_paused, asked.changed_at, asked.changed_by
    from posthaste.connectors asked where asked.slot = tell_connector.slot;
$$;
