#!/bin/sh
# PostgreSQL with database `lake`, owned by the role `sluice` (LAKE_PASSWORD). The superuser is `postgres` (POSTGRES_PASSWORD).
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # An interrupted attempt is begun again: the cluster gets its name only when it is whole.
  new=$PGDATA.new
  rm -rf "$new"
  mkdir -p "$new"
  umask 077
  printf '%s' "$POSTGRES_PASSWORD" >/tmp/password
  initdb -D "$new" -U postgres --pwfile=/tmp/password --auth=scram-sha-256 --encoding=UTF8 --locale=C >/dev/null
  rm /tmp/password
  echo 'host all all all scram-sha-256' >>"$new/pg_hba.conf"
  printf '%s\n' "create role sluice login password '$LAKE_PASSWORD'" 'create database lake owner sluice' |
    while read -r statement; do echo "$statement" | postgres --single -D "$new" postgres >/dev/null; done
  mv "$new" "$PGDATA"
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp -c shared_buffers=64MB \
  -c log_min_messages=warning -c log_checkpoints=off
