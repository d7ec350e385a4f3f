#!/bin/sh
# Run once by the Postgres image, when its volume is empty: an ordinary role and a database for Posthaste and for the
# registry. Posthaste's may read the log (REPLICATION) and owns its database; neither is a superuser.
set -eu
psql --username "$POSTGRES_USER" --dbname postgres --set ON_ERROR_STOP=1 \
    --set posthaste_password="$POSTHASTE_DB_PASSWORD" --set registry_password="$REGISTRY_DB_PASSWORD" <<'SQL'
CREATE ROLE posthaste LOGIN REPLICATION PASSWORD :'posthaste_password';
CREATE ROLE registry LOGIN PASSWORD :'registry_password';
CREATE DATABASE posthaste OWNER posthaste;
CREATE DATABASE registry OWNER registry;
SQL
