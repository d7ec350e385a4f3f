-- `posthaste.submit`: a task submitted in SQL, inside the transaction of an application that lives in the same
-- database. It writes what the program writes for `POST /v1/tasks`, to the byte; a test compares the two. After its
-- migrations the program takes every function of the schema from the public, so that who may submit may call nothing else.

-- Who may submit for whom. A role is kept by its oid, so that another one of the same name has none of its rights; a dump
-- says the name.
create table posthaste.submitters (
    role   regrole not null,                   -- it and its members may
    tenant text not null,
    primary key (role, tenant)
);

-- Avro's binary encoding (specification 1.12, "Binary Encoding") of what TaskRequested is made of.

create function posthaste.avro_long(value bigint) returns bytea language plpgsql immutable strict as $$
declare
    rest bigint := (value << 1) # (value >> 63);
    bytes bytea := '';
begin
    while rest & ~127::bigint <> 0 loop
        bytes := bytes || set_byte('\x00', 0, (rest & 127 | 128)::integer);
        -- A shift that brings no sign along.
        rest := (rest >> 7) & 144115188075855871;
    end loop;
    return bytes || set_byte('\x00', 0, rest::integer);
end $$;

create function posthaste.avro_string(value text) returns bytea language sql immutable strict
return posthaste.avro_long(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8');

create function posthaste.avro_time(value timestamptz) returns bytea language sql immutable strict
return posthaste.avro_long((extract(epoch from value) * 1000000)::bigint);

create function posthaste.avro_double(value double precision) returns bytea language sql immutable strict
return (select string_agg(substring(float8send(value) from place for 1), ''::bytea order by place desc)
    from generate_series(1, 8) place);

-- The union of null and something that is encoded already.
create function posthaste.avro_optional(value bytea) returns bytea language sql immutable
return coalesce('\x02'::bytea || value, '\x00'::bytea);

-- An object of strings, in the order of the names' bytes.
create function posthaste.avro_map(value jsonb) returns bytea language sql immutable
return (select coalesce(
        posthaste.avro_long(count(*))
            || string_agg(posthaste.avro_string(key) || posthaste.avro_string(text), ''::bytea order by key collate "C"),
        ''::bytea
    ) || '\x00'::bytea
    from jsonb_each_text(value) entry (key, text));

-- An id as callers see it: a TypeID, 26 digits of Crockford's base32 behind the prefix.
create function posthaste.task_id(id uuid) returns text language sql immutable strict
return 'task_' || (select string_agg(
        substr('0123456789abcdefghjkmnpqrstvwxyz',
            substring(B'00' || ('x' || replace(id::text, '-', ''))::bit(128) from 5 * digit + 1 for 5)::integer + 1, 1),
        '' order by digit)
    from generate_series(0, 25) digit);

-- A UUIDv7 of a moment: its milliseconds, and chance.
create function posthaste.new_id(at timestamptz) returns uuid language sql volatile strict
return encode(set_bit(set_bit(
        overlay(uuid_send(gen_random_uuid())
            placing substring(int8send(trunc(extract(epoch from at) * 1000)::bigint) from 3) from 1 for 6),
        52, 1), 53, 1), 'hex')::uuid;

-- The value of a record on tasks.<queue>: Confluent's frame and TaskRequested (schemas/TaskRequested.avsc).
create function posthaste.task_requested(
    schema_id integer, id uuid, tenant text, type text, queue text, key text, channel text, payload text,
    priority integer, run integer, not_before timestamptz, deadline timestamptz, timeout_ms bigint, retry jsonb,
    tags jsonb, traceparent text, created_at timestamptz
) returns bytea language sql immutable
return '\x00'::bytea || int4send(schema_id)
    || posthaste.avro_string(posthaste.task_id(id))
    || posthaste.avro_string(tenant)
    || posthaste.avro_string(type)
    || posthaste.avro_string(queue)
    || posthaste.avro_optional(posthaste.avro_string(key))
    || posthaste.avro_optional(posthaste.avro_string(channel))
    || posthaste.avro_string(payload)
    || posthaste.avro_long(priority)
    || posthaste.avro_long(run)
    || posthaste.avro_optional(posthaste.avro_time(not_before))
    || posthaste.avro_optional(posthaste.avro_time(deadline))
    || posthaste.avro_optional(posthaste.avro_long(timeout_ms))
    || posthaste.avro_optional(
        posthaste.avro_long((retry ->> 'max_attempts')::bigint)
        || posthaste.avro_double((retry ->> 'base_s')::double precision)
        || posthaste.avro_double((retry ->> 'factor')::double precision)
        || posthaste.avro_double((retry ->> 'max_s')::double precision))
    || posthaste.avro_map(coalesce(tags, '{}'))
    || posthaste.avro_optional(posthaste.avro_string(traceparent))
    || posthaste.avro_time(created_at);

-- Ends the call: what is wrong with which argument, and what helps.
create function posthaste.refuse(argument text, must text, hint text default null) returns void
language plpgsql as $$
begin
    raise exception 'posthaste.submit: % %', argument, must
        using errcode = 'invalid_parameter_value',
            hint = coalesce(hint, 'The limits are those of POST /v1/tasks.');
end $$;

-- What the program checks of a payload's text, beyond that it is JSON.
create function posthaste.check_payload(payload json) returns void language plpgsql as $$
declare
    text_of text := payload::text;
    brackets text;
    twice text;
begin
    if octet_length(text_of) > 1048576 then
        perform posthaste.refuse('payload', 'must be at most 1048576 bytes');
    end if;
    -- Escapes of two characters first, so that an escaped backslash begins no other escape; then whole pairs.
    if regexp_replace(
            regexp_replace(text_of, '\\[^u]', '', 'g'),
            '\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}', '', 'g'
        ) ~ '\\u[dD][89a-fA-F]' then
        perform posthaste.refuse('payload', 'must not hold half of a surrogate pair');
    end if;
    brackets := regexp_replace(regexp_replace(text_of, '"(\\.|[^"\\])*"', '', 'g'), '[^][{}]', '', 'g');
    for level in 1 .. 128 loop
        exit when brackets = '';
        brackets := regexp_replace(brackets, '\[\]|\{\}', '', 'g');
    end loop;
    if brackets <> '' then
        perform posthaste.refuse('payload', 'must not be nested deeper than 128 levels');
    end if;
    with recursive part (value) as (
        select payload
        union all
        select below.value from part cross join lateral (
            select value from json_each(case json_typeof(part.value) when 'object' then part.value end)
            union all
            select value from json_array_elements(case json_typeof(part.value) when 'array' then part.value end)
        ) below
        where json_typeof(below.value) in ('object', 'array')
    )
    select repeated.key into twice
    from part cross join lateral (
        select key from json_each(case json_typeof(part.value) when 'object' then part.value end)
        group by key having count(*) > 1
    ) repeated
    limit 1;
    if twice is not null then
        perform posthaste.refuse('payload', format('must not hold the name %s twice in one object', to_json(twice)));
    end if;
end $$;

-- The retry policy with its defaults.
create function posthaste.retry_policy(retry jsonb) returns jsonb language plpgsql immutable as $$
declare
    policy jsonb := '{"max_attempts": 5, "base_s": 1.0, "factor": 2.0, "max_s": 300.0}';
    name text;
begin
    if retry is null then
        return null;
    elsif jsonb_typeof(retry) <> 'object' then
        perform posthaste.refuse('retry', 'must be an object');
    end if;
    for name in select jsonb_object_keys(retry) loop
        if not policy ? name then
            perform posthaste.refuse('retry', format('has no field %s', to_json(name)),
                'The fields are max_attempts, base_s, factor and max_s.');
        elsif jsonb_typeof(retry -> name) <> 'number' then
            perform posthaste.refuse('retry', name || ' must be a number');
        end if;
    end loop;
    policy := policy || retry;
    if (policy ->> 'max_attempts')::numeric not between 1 and 100
        or (policy ->> 'max_attempts')::numeric % 1 <> 0 then
        perform posthaste.refuse('retry', 'max_attempts must be a whole number from 1 to 100');
    elsif (policy ->> 'max_s')::numeric not between 0 and 604800 then
        perform posthaste.refuse('retry', 'max_s must be from 0 to 604800');
    elsif (policy ->> 'base_s')::numeric not between 0 and (policy ->> 'max_s')::numeric then
        perform posthaste.refuse('retry', 'base_s must be from 0 to max_s');
    elsif (policy ->> 'factor')::numeric not between 1 and 100 then
        perform posthaste.refuse('retry', 'factor must be from 1 to 100');
    end if;
    return policy || jsonb_build_object('max_attempts', (policy ->> 'max_attempts')::numeric::integer);
end $$;

create function posthaste.check_name(argument text, value text) returns void language plpgsql as $$
begin
    if value is null or value !~ '^[a-z0-9._-]{1,100}$' then
        perform posthaste.refuse(argument, 'must be 1 to 100 characters of a-z, 0-9, ".", "_" and "-"');
    end if;
end $$;

-- Whether it may be the name of a tenant: what the command line takes as one. Its characters have a byte each.
create function posthaste.is_tenant(name text) returns boolean language sql immutable
return coalesce(name ~ '^[A-Za-z0-9._-]{1,100}$', false);

create function posthaste.check_text(argument text, value text, bytes_max integer) returns void language plpgsql as $$
begin
    if octet_length(convert_to(value, 'UTF8')) not between 1 and bytes_max then
        perform posthaste.refuse(argument, format('must be 1 to %s bytes of UTF-8', bytes_max));
    end if;
end $$;

create function posthaste.check_tags(tags jsonb) returns void language plpgsql as $$
declare
    tag record;
begin
    if tags is null then
        return;
    elsif jsonb_typeof(tags) <> 'object' then
        perform posthaste.refuse('tags', 'must be an object of strings');
    elsif (select count(*) from jsonb_object_keys(tags)) > 16 then
        perform posthaste.refuse('tags', 'must be at most 16');
    end if;
    for tag in select key, value from jsonb_each(tags) loop
        if octet_length(convert_to(tag.key, 'UTF8')) not between 1 and 64 then
            perform posthaste.refuse('tags', 'must have names of 1 to 64 bytes');
        elsif jsonb_typeof(tag.value) <> 'string' or octet_length(convert_to(tag.value #>> '{}', 'UTF8')) > 256 then
            perform posthaste.refuse('tags', format('%s must be a string of at most 256 bytes', to_json(tag.key)));
        end if;
    end loop;
end $$;

create function posthaste.check_time(argument text, value timestamptz, at timestamptz) returns void
language plpgsql as $$
begin
    if value not between at - interval '31622400 seconds' and at + interval '31622400 seconds' then
        perform posthaste.refuse(argument, 'must be within 31622400 seconds from now');
    end if;
end $$;

-- Refuses whoever was not told that he may submit for the tenant. `current_user` is the owner: submit() runs for him. The
-- caller is the role that the session has taken with `set role`, which the setting goes on to tell here, else the one that
-- it logged in as; so a pooler's own memberships are nothing to whoever it serves. As everywhere in Postgres, a role has
-- what it inherits, and has to take on by `set role` what it does not.
create function posthaste.check_submitter(tenant text) returns void language plpgsql as $$
declare
    caller name := coalesce(nullif(current_setting('role'), 'none'), session_user);
begin
    if pg_has_role(caller, current_user, 'usage') or exists (
        select from posthaste.submitters submitter
        join pg_roles on pg_roles.oid = submitter.role
        where submitter.tenant = check_submitter.tenant and pg_has_role(caller, pg_roles.oid, 'usage')
    ) then
        return;
    end if;
    raise exception 'posthaste.submit: % may not submit for the tenant %', caller, to_json(tenant)
        using errcode = 'insufficient_privilege',
            hint = 'The owner of the schema allows it: select posthaste.allow_submit(role, tenant).';
end $$;

-- Takes the key until the transaction ends, waiting for whoever else has it: null when it is new, else the task that the
-- same submission made before.
create function posthaste.take_key(key text, tenant text, fingerprint bytea) returns uuid language plpgsql as $$
declare
    held record;
begin
    perform pg_advisory_xact_lock(hashtextextended(tenant, hashtextextended(key, 7210983644130502)));
    select k.fingerprint, k.task_id into held from posthaste.idempotency_keys k
    where k.key = take_key.key and k.tenant = take_key.tenant and not k.guard;
    if held.fingerprint <> fingerprint then
        perform posthaste.refuse('idempotency_key', 'was used for another submission',
            'Give this submission a key of its own.');
    end if;
    return held.task_id;
end $$;

-- Keeps a key that was taken and is new. The transaction may take until tomorrow, and may have begun yesterday: its buckets
-- are those from its start to a day from now, all but the last one as guards (see 0005_idempotency.sql).
create function posthaste.keep_key(
    key text, tenant text, fingerprint bytea, id uuid, created_at timestamptz, scheduled boolean
) returns void language plpgsql as $$
declare
    bucket timestamptz;
    last timestamptz := posthaste.idempotency_bucket(clock_timestamp() + interval '1 day');
begin
    for bucket in
        select generate_series(posthaste.idempotency_bucket(now() - posthaste.idempotency_overlap()), last, '1 day')
    loop
        insert into posthaste.idempotency_keys
            (key, tenant, bucket, guard, fingerprint, task_id, created_at, scheduled)
        values (key, tenant, bucket, bucket < last, fingerprint, id, created_at, scheduled)
        on conflict do nothing;
        if not found then
            raise exception 'posthaste.submit: the idempotency_key was taken meanwhile'
                using errcode = 'serialization_failure', hint = 'Repeat the transaction.';
        end if;
    end loop;
end $$;

-- Submits a task with the transaction: it is there, and runs, when that commits, and never was when it does not.
-- Returns the task's id; with an idempotency key that of the first task, when the same was submitted before.
--
-- What the caller has set changes nothing: a submission has the same fingerprint in every time zone and with any number of
-- digits, a day of the keys' buckets has 24 hours where clocks are put forward, and a backslash in these functions is one.
create function posthaste.submit(
    type text, payload json default 'null', queue text default 'default', key text default null,
    channel text default null, priority integer default 5, not_before timestamptz default null,
    delay_s double precision default null, deadline timestamptz default null,
    timeout_s double precision default null, retry jsonb default null, tags jsonb default null,
    idempotency_key text default null, tenant text default 'default', traceparent text default null
) returns text language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set extra_float_digits = 1
set standard_conforming_strings = on
as $$
declare
    at timestamptz;
    id uuid;
    policy jsonb;
    schema_id integer;
    starts_at timestamptz := not_before;
    timeout_ms bigint;
    is_scheduled boolean;
    fingerprint bytea;
    first uuid;
begin
    perform posthaste.check_submitter(tenant);
    if not posthaste.is_tenant(tenant) then
        perform posthaste.refuse('tenant', 'must be 1 to 100 letters, digits, ".", "_" and "-"');
    end if;
    perform posthaste.check_name('type', type);
    perform posthaste.check_name('queue', queue);
    perform posthaste.check_text('key', key, 256);
    perform posthaste.check_text('channel', channel, 256);
    perform posthaste.check_text('idempotency_key', idempotency_key, 255);
    perform posthaste.check_tags(tags);
    payload := coalesce(payload, 'null');
    perform posthaste.check_payload(payload);
    policy := posthaste.retry_policy(retry);
    tags := nullif(tags, '{}');
    if priority is null or priority not between 0 and 9 then
        perform posthaste.refuse('priority', 'must be from 0 to 9');
    end if;
    if not_before is not null and delay_s is not null then
        perform posthaste.refuse('delay_s', 'excludes not_before: give one of the two');
    elsif delay_s not between 0 and 31622400 then
        perform posthaste.refuse('delay_s', 'must be from 0 to 31622400 seconds');
    elsif timeout_s not between 0.001 and 86400 then
        perform posthaste.refuse('timeout_s', 'must be from 0.001 to 86400 seconds');
    end if;
    timeout_ms := trunc(timeout_s::numeric * 1000);
    if traceparent is null then
        traceparent := format('00-%s-%s-01', replace(gen_random_uuid()::text, '-', ''),
            substr(replace(gen_random_uuid()::text, '-', ''), 17));
    elsif traceparent !~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$' then
        perform posthaste.refuse('traceparent', 'must be a W3C traceparent of version 00');
    end if;
    -- Before all that depends on when the call is made: what was accepted once is answered again later too.
    if idempotency_key is not null then
        fingerprint := sha256(convert_to(
            json_build_array('posthaste.submit', type, payload::text, queue, key, channel, priority, not_before,
                delay_s, deadline, timeout_s, retry, tags)::text, 'UTF8'));
        first := posthaste.take_key(idempotency_key, tenant, fingerprint);
        if first is not null then
            return posthaste.task_id(first);
        end if;
    end if;
    at := clock_timestamp();
    id := posthaste.new_id(at);
    perform posthaste.check_time('not_before', not_before, at);
    perform posthaste.check_time('deadline', deadline, at);
    if delay_s > 0 then
        starts_at := at + delay_s * interval '1 second';
    end if;
    if starts_at >= deadline then
        perform posthaste.refuse('deadline', 'must be after the time that the task waits for');
    end if;
    is_scheduled := coalesce(starts_at > at, false);
    select known.id into schema_id from posthaste.schemas known
    where known.subject = 'tasks.' || submit.queue || '-value' and known.name = 'TaskRequested'
    order by known.registered_at desc limit 1;
    if not found then
        perform posthaste.refuse('queue', format('%s is not one that exists', to_json(queue)),
            'Queues are named in the configuration and made by `posthaste migrate`.');
    end if;
    if idempotency_key is not null then
        perform posthaste.keep_key(idempotency_key, tenant, fingerprint, id, at, is_scheduled);
    end if;
    insert into posthaste.tasks (id, tenant, type, queue, key, channel, payload, priority, not_before, deadline,
        timeout_ms, retry, tags, traceparent, state, created_at)
    values (id, tenant, type, queue, key, channel, payload, priority, starts_at, deadline, timeout_ms, policy, tags,
        traceparent, case when is_scheduled then 'SCHEDULED' else 'INIT' end::posthaste.task_state, at);
    if is_scheduled then
        insert into posthaste.timers (task_id, kind, due_at) values (id, 'due', starts_at);
    else
        insert into posthaste.outbox (id, aggregatetype, aggregateid, type, payload, tenant, traceparent)
        values (posthaste.new_id(at), 'tasks.' || queue, coalesce(key, posthaste.task_id(id)), type,
            posthaste.task_requested(schema_id, id, tenant, type, queue, key, channel, payload::text, priority, 1,
                starts_at, deadline, timeout_ms, policy, tags, traceparent, at),
            tenant, traceparent);
    end if;
    if deadline is not null then
        insert into posthaste.timers (task_id, kind, due_at) values (id, 'deadline', deadline);
    end if;
    insert into posthaste.open_task_changes (tenant, change) values (tenant, 1);
    return posthaste.task_id(id);
end $$;

-- The role of this name, if there is one, once what dropped roles were allowed is forgotten: an oid may be used again.
create function posthaste.submitter(role name) returns regrole language plpgsql as $$
begin
    delete from posthaste.submitters gone
    where not exists (select from pg_roles where pg_roles.oid = gone.role);
    return to_regrole(quote_ident(role));
end $$;

-- Writes the entry of the audit log for what was done with a submitter, in the transaction that does it. Who did it is the
-- role that logged in, told apart from the program's actors by what stands before it.
create function posthaste.note_submitter(action text, role name, tenant text) returns void language plpgsql as $$
declare
    at timestamptz := clock_timestamp();
begin
    insert into posthaste.audit (id, at, tenant, actor, action, object, details)
    values (posthaste.new_id(at), at, tenant, 'role:' || session_user, action, role, '{}');
end $$;

-- Lets a role, and those that inherit from it, submit for a tenant, and do nothing else here. For the owner of the schema alone: nobody
-- else may write to the table.
create function posthaste.allow_submit(role name, tenant text) returns void language plpgsql as $$
declare
    submitter regrole := posthaste.submitter(role);
begin
    if submitter is null then
        raise exception 'there is no role %', quote_ident(role) using errcode = 'undefined_object';
    elsif not posthaste.is_tenant(tenant) then
        raise exception 'a tenant''s name must be 1 to 100 letters, digits, ".", "_" and "-", not %', to_json(tenant)
            using errcode = 'invalid_parameter_value';
    end if;
    insert into posthaste.submitters (role, tenant) values (submitter, tenant) on conflict do nothing;
    if found then
        perform posthaste.note_submitter('submitter.allow', role, tenant);
    end if;
    execute format('grant usage on schema posthaste to %I', role);
    execute format('grant execute on function posthaste.submit to %I', role);
end $$;

-- Whether a role was granted anything on what is in the schema: each part of the program is too.
create function posthaste.has_rights(role regrole) returns boolean language sql stable
return exists (
    select from (
        select relacl from pg_class where relnamespace = 'posthaste'::regnamespace
        union all
        select attacl from pg_attribute join pg_class on pg_class.oid = attrelid
        where relnamespace = 'posthaste'::regnamespace
        union all
        select proacl from pg_proc where pronamespace = 'posthaste'::regnamespace
    ) object (acl) cross join lateral aclexplode(acl) given
    where given.grantee = role
);

-- Takes it back, and with the role's last tenant all that allow_submit() granted, so that the role can be dropped. What a
-- role was allowed that has been dropped is gone with it.
create function posthaste.forbid_submit(role name, tenant text) returns void language plpgsql as $$
declare
    submitter regrole := posthaste.submitter(role);
begin
    delete from posthaste.submitters allowed
    where allowed.role = submitter and allowed.tenant = forbid_submit.tenant;
    if found then
        perform posthaste.note_submitter('submitter.forbid', role, tenant);
    end if;
    if submitter is null or exists (select from posthaste.submitters allowed where allowed.role = submitter) then
        return;
    end if;
    execute format('revoke execute on function posthaste.submit from %I', role);
    if not posthaste.has_rights(submitter) then
        execute format('revoke usage on schema posthaste from %I', role);
    end if;
end $$;
