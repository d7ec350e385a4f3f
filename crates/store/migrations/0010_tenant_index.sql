-- A tenant's tasks by id, so that a page of its list looks at its own rows alone. Neither column ever changes, so updates
-- stay heap-only. Partitions that are made later copy it from their parent (`like ... including all`), and attaching them
-- takes their copy as the parent's.
create index tasks_tenant on posthaste.tasks (tenant, id);
