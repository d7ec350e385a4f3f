-- Who may come in: tenants with their limits, API keys, the secret of stream tokens, and what was done with them.

-- Each change of a tenant or a key locks this row, counts it up, and stamps what it changed with the new number. So the
-- order of numbers is the order of commits, and who reads what is past the last number that it knows misses nothing.
create table posthaste.access_revision (
    one      boolean primary key default true check (one),
    revision bigint not null
);
insert into posthaste.access_revision (revision) values (0);

-- Tenants that have keys or limits of their own. Tasks may name others: those have the configuration's limits.
create table posthaste.tenants (
    name       text primary key,
    limits     jsonb not null default '{}',    -- overrides the configuration's, field by field
    revision   bigint not null,                -- of the last change
    created_at timestamptz not null,
    updated_at timestamptz not null            -- when its limits were last changed
);

create table posthaste.api_keys (
    id           uuid primary key,             -- UUIDv7: sorts by time
    tenant       text not null references posthaste.tenants (name),
    name         text not null,                -- for people
    prefix       text not null unique,         -- phk_ and 8 characters: may be shown
    hash         bytea not null,               -- SHA-256 of the whole key, which is kept nowhere
    scopes       text[] not null,              -- submit, read, admin; never empty
    created_at   timestamptz not null,
    expires_at   timestamptz,                  -- refused from then on
    revoked_at   timestamptz,                  -- refused since then
    last_used_at timestamptz,                  -- written about once a minute; changes no revision
    rotated_from uuid,                         -- the key that it takes the place of
    revision     bigint not null               -- of the last change
);
create index api_keys_tenant on posthaste.api_keys (tenant, id);
create index api_keys_revision on posthaste.api_keys (revision);

-- What stream tokens are signed with; all processes share it. The one that was not replaced signs; what another has signed is
-- taken until it expires, while the row is there. Each change counts the revision up.
create table posthaste.stream_token_secret (
    secret      bytea primary key,
    replaced_at timestamptz
);
create unique index stream_token_secret_signs on posthaste.stream_token_secret ((replaced_at is null))
    where replaced_at is null;
-- Random UUIDs are what the database has of a secure generator without an extension: 244 bits of two.
insert into posthaste.stream_token_secret (secret)
values (uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()));

-- What was done by whom, written in the transaction that did it.
create table posthaste.audit (
    id      uuid primary key,                  -- UUIDv7: sorts by time
    at      timestamptz not null,
    tenant  text not null,                     -- whose object it is
    actor   text not null,                     -- a key's id, `cli`, `open`, `role:` and a role
    action  text not null,                     -- key.create, endpoint.delete and so on
    object  text not null,                     -- the id, or the name, of what it was done to
    details jsonb not null                     -- what was asked for, without secrets
);
create index audit_tenant on posthaste.audit (tenant, id);
