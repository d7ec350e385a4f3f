-- The record: tasks, their outbox, and what hangs on them. Everything lives in the schema `posthaste`.
--
-- Tables that grow with the number of tasks are partitioned, so that retention drops partitions and never deletes rows.
-- A UUIDv7 begins with its time in milliseconds, so a range of ids is a range of time.

create type posthaste.task_state as enum
    ('SCHEDULED', 'INIT', 'RUNNING', 'RETRYING', 'DONE', 'FAILED', 'CANCELLED', 'EXPIRED');

create table posthaste.tasks (
    id          uuid not null,                 -- UUIDv7: sorts by time of submission
    tenant      text not null,                 -- whose it is
    type        text not null,                 -- which handler serves it
    queue       text not null,                 -- topic tasks.<queue>
    key         text,                          -- ordering key
    channel     text,                          -- whom the result is for
    payload     json not null,                 -- as it was submitted: json keeps the text, jsonb would not
    priority    smallint not null,             -- 0..9, higher first
    not_before  timestamptz,                   -- not run before it
    deadline    timestamptz,                   -- not run after it
    timeout_ms  bigint,                        -- one attempt's limit; null: the type's
    retry       json,                          -- overrides the type's policy
    tags        jsonb,                         -- object of strings; null: none
    traceparent text,                          -- W3C trace context of the request
    state       posthaste.task_state not null,
    run         integer not null default 1,    -- counts reruns
    attempt     integer not null default 0,    -- attempts of this run, counted by the claim
    version     integer not null default 1,    -- changes with every change; the ETag
    claim_token uuid,                          -- fences the writes of the attempt; kept after the end
    worker      text,                          -- the process that claimed it last
    progress    json,                          -- the handler's last report
    result      json,                          -- the handler's answer
    error       json,                          -- {code, message, retryable, details?}
    created_at  timestamptz not null,          -- when it was submitted
    started_at  timestamptz,                   -- when the last attempt began
    finished_at timestamptz,                   -- when it reached a final state
    primary key (id)
) partition by range (id);

-- Debezium's outbox columns and ours; no index: nobody looks a row up, the log carries it away.
create table posthaste.outbox (
    id            uuid not null,               -- the event's id
    aggregatetype text not null,               -- the topic
    aggregateid   text not null,               -- the record's key
    type          text not null,               -- task type, or task.done and so on
    payload       bytea not null,              -- the finished value: Confluent frame and Avro body
    tenant        text not null,
    traceparent   text,
    created_at    timestamptz not null default clock_timestamp()
) partition by range (created_at);

create table posthaste.idempotency_keys (
    tenant      text not null,
    key         text not null,
    fingerprint bytea not null,                -- SHA-256 of the request
    task_id     uuid not null,                 -- the task that the first request made
    created_at  timestamptz not null,          -- the task's
    scheduled   boolean not null,              -- whether the first answer said SCHEDULED
    primary key (tenant, key)
);

-- What is to happen later. A table of its own, since an index on tasks would end HOT updates.
create table posthaste.timers (
    task_id uuid not null,
    kind    text not null check (kind in ('due', 'deadline')),
    due_at  timestamptz not null,
    primary key (task_id, kind)
);
create index timers_due_at on posthaste.timers (due_at);

-- What departed from the smooth way; the smooth way is read from the task's own columns.
create table posthaste.task_history (
    task_id uuid not null,
    at      timestamptz not null,
    state   posthaste.task_state not null,     -- the state that was entered or kept
    run     integer not null,
    attempt integer not null,
    worker  text,
    error   json,
    note    text                               -- takeover, stale_write_refused, cancel, rerun
) partition by range (task_id);
create index task_history_task_id on posthaste.task_history (task_id);

create table posthaste.endpoints (
    id              uuid primary key,
    tenant          text not null,
    url             text not null,
    events          text[] not null,           -- kinds of event; never empty
    channels        text[] not null,           -- empty: all
    types           text[] not null,           -- empty: all
    description     text not null,
    headers         jsonb not null,            -- sent with each request
    rate_per_s      double precision,          -- null: no limit
    max_in_flight   integer not null,
    ordered         boolean not null,
    signing         text not null check (signing in ('v1', 'v1a')),
    secret          bytea not null,            -- the key behind whsec_
    enabled         boolean not null default true,
    disabled_reason text,
    created_at      timestamptz not null,
    updated_at      timestamptz not null
);
create index endpoints_tenant on posthaste.endpoints (tenant, id);

create table posthaste.webhook_attempts (
    id          uuid not null,                 -- UUIDv7: sorts by time
    endpoint_id uuid not null,
    event_id    uuid not null,
    task_id     uuid not null,
    kind        text not null,                 -- task.done and so on
    number      integer not null,              -- from 1
    status      text not null check (status in ('succeeded', 'failed')),
    http_status integer,
    error       text,
    answer      text,                          -- the beginning of the answer's body
    took_ms     bigint not null,
    at          timestamptz not null,
    next_at     timestamptz,                   -- when the next attempt is due
    primary key (id)
) partition by range (id);
create index webhook_attempts_endpoint on posthaste.webhook_attempts (endpoint_id, id);
create index webhook_attempts_task on posthaste.webhook_attempts (task_id);

-- Deliveries that failed and will be tried again.
create table posthaste.webhook_retries (
    endpoint_id   uuid not null references posthaste.endpoints (id) on delete cascade,
    event_id      uuid not null,
    task_id       uuid not null,
    kind          text not null,
    body          bytea not null,              -- the event as it is posted
    attempt_count integer not null,            -- made so far
    due_at        timestamptz not null,        -- also pushed ahead by whoever takes it, as a lease
    primary key (endpoint_id, event_id)
);
create index webhook_retries_due_at on posthaste.webhook_retries (endpoint_id, due_at);

-- What the registry answered when `posthaste migrate` registered our schemas: a writer needs no registry.
create table posthaste.schemas (
    subject       text not null,               -- <topic>-value
    id            integer not null,            -- the registry's id, what the Confluent frame carries
    name          text not null,               -- TaskRequested or TaskEvent
    fingerprint   text not null,               -- SHA-256 of the schema's text, hex
    registered_at timestamptz not null default now(),
    primary key (subject, fingerprint)
);
