#!/bin/sh
# For PostgreSQL's own image, which runs it once, on an empty data folder: the lake's database and the role that owns it.
set -eu
psql -v ON_ERROR_STOP=1 -v password="$LAKE_PASSWORD" -U "$POSTGRES_USER" <<'EOF'
create role sluice login password :'password';
create database lake owner sluice;
EOF
