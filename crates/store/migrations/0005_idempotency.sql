-- Idempotency keys by day, so that their expiry drops a partition and deletes no row.
--
-- A unique index of a partitioned table holds within one partition only. Across the boundary of two buckets a key stays
-- unique in three steps:
--   1. Whoever writes a key holds an advisory lock on it to the end of his transaction (`idempotency_lock`), and takes
--      it without waiting: who does not get it answers that the first request is in progress.
--   2. He looks for the key in the older buckets. That finds whoever had committed before the statement's snapshot.
--   3. Between that snapshot and his lock another may have committed. The two statements began less than
--      `idempotency_overlap` apart, so near the boundary both write into the bucket before it and the one after it, the
--      earlier first, and the index of a bucket that they share tells the second one of the first.
-- A row in the earlier of two buckets is a guard: it keeps others out and answers nobody. The row in the later one is
-- written only by who got the guard in, and is the one that counts.

alter table posthaste.idempotency_keys rename to idempotency_keys_before;
alter index posthaste.idempotency_keys_pkey rename to idempotency_keys_before_pkey;

create table posthaste.idempotency_keys (
    key         text not null,
    tenant      text not null,
    bucket      timestamptz not null,          -- when the bucket begins, by the database's clock
    guard       boolean not null,              -- keeps the key from others; the row that counts is in the next bucket
    fingerprint bytea not null,                -- SHA-256 of the request
    task_id     uuid not null,                 -- the task, or the first one, that the request made
    created_at  timestamptz not null,          -- the task's
    scheduled   boolean not null,              -- whether the first answer said SCHEDULED
    answer      bytea,                         -- the first answer's body; null: it follows from the columns before
    primary key (key, tenant, bucket)
) partition by range (bucket);

create table posthaste.idempotency_keys_default partition of posthaste.idempotency_keys default;

-- The bucket of a moment: the day in UTC. Hours are not used, since each bucket costs a look-up.
create function posthaste.idempotency_bucket(at timestamptz) returns timestamptz
language sql immutable parallel safe
return date_bin(interval '1 day', at, timestamptz '2000-01-01 00:00:00+00');

-- Statements that began further apart than this do not run at once: it is four times what one may take.
create function posthaste.idempotency_overlap() returns interval
language sql immutable parallel safe
return interval '60 seconds';

-- Whether nobody else is writing the key; nobody will until the transaction's end. Two keys may share a lock, which
-- costs a needless "in progress" and no more.
create function posthaste.idempotency_lock(tenant text, key text) returns boolean
language sql volatile
return pg_try_advisory_xact_lock(hashtextextended(tenant, hashtextextended(key, 7210983644130502)));

insert into posthaste.idempotency_keys (key, tenant, bucket, guard, fingerprint, task_id, created_at, scheduled)
select key, tenant, posthaste.idempotency_bucket(created_at), false, fingerprint, task_id, created_at, scheduled
from posthaste.idempotency_keys_before;

drop table posthaste.idempotency_keys_before;
