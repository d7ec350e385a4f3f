-- What keeps log from filling the disk while outbox rows cannot be published: past a share of what may be kept, ingest takes
-- no further tasks. Whoever asks looks at the slot itself, so it holds while no connector runs, too.

create table posthaste.wal_guards (
    slot           name primary key,           -- the replication slot that the connector reads
    is_closing     boolean not null,           -- whether ingest is to refuse when it keeps too much
    bytes_max      bigint,                     -- what it may keep; null: as much as the server lets it
    share_max      double precision not null   -- of what it may keep, from where ingest refuses
);

-- Says how a slot is guarded. The connector calls it each time it acquires the slot.
create function posthaste.guard_wal(slot name, is_closing boolean, bytes_max bigint, share_max double precision)
returns void language sql security definer set search_path = pg_catalog, pg_temp as $$
    insert into posthaste.wal_guards as guard (slot, is_closing, bytes_max, share_max)
    values (guard_wal.slot, guard_wal.is_closing, guard_wal.bytes_max, guard_wal.share_max)
    on conflict on constraint wal_guards_pkey do update
        set is_closing = excluded.is_closing, bytes_max = excluded.bytes_max, share_max = excluded.share_max
        where (guard.is_closing, guard.bytes_max, guard.share_max)
            is distinct from (excluded.is_closing, excluded.bytes_max, excluded.share_max);
$$;

-- What share of the log that it may keep a slot keeps; null: it may keep any amount, or is lost. `safe_wal_size` is what may
-- still be written until the server lets the slot go, so together with what is kept it is the server's own bound.
create function posthaste.wal_share(slot pg_replication_slots, bytes_max bigint) returns double precision
language sql stable set search_path = pg_catalog, pg_temp as $$
    select greatest(
        -- `greatest` passes over nulls, and a null here is "any amount".
        case when slot.safe_wal_size is not null then kept / nullif(kept + greatest(slot.safe_wal_size, 0), 0) end,
        kept / nullif(bytes_max::double precision, 0)
    )
    from (select case when pg_is_in_recovery() then null
        else pg_wal_lsn_diff(pg_current_wal_flush_lsn(), slot.restart_lsn)::double precision end) as log (kept);
$$;

-- Whether ingest is to refuse tasks (503) until the outbox is published again.
create function posthaste.is_intake_closed() returns boolean
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(bool_or(posthaste.wal_share(server, guard.bytes_max) >= guard.share_max), false)
    from posthaste.wal_guards guard join pg_replication_slots server on server.slot_name = guard.slot
    where guard.is_closing;
$$;
