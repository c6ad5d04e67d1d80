#!/bin/sh
# PostgreSQL with database `lake`, owned by the role `sluice` (LAKE_PASSWORD). The superuser is `postgres` (POSTGRES_PASSWORD).
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  # An interrupted attempt is begun again: the cluster gets its name only when it is whole.
  new=$PGDATA.new
  rm -rf "$new"
  mkdir -p "$new"
  umask 077
  printf '%s\n' "$POSTGRES_PASSWORD" |
    initdb -D "$new" -U postgres --pwfile=/dev/stdin --auth=scram-sha-256 --encoding=UTF8 --locale=C >/dev/null
  echo 'host all all all scram-sha-256' >>"$new/pg_hba.conf"
  quoted=$(printf '%s' "$LAKE_PASSWORD" | sed "s/'/''/g")
  for statement in "create role sluice login password '$quoted'" 'create database lake owner sluice'; do
    # It ends with 0 even where the statement fails, and would show the statement, with the password.
    said=$(printf '%s\n' "$statement" |
      postgres --single -D "$new" -c log_min_error_statement=panic postgres 2>&1 >/dev/null) || said="FATAL: $said"
    case $said in *ERROR* | *FATAL*) printf '%s\n' "$said" >&2 && exit 1 ;; esac
  done
  mv "$new" "$PGDATA"
fi
# Kubernetes opens a volume to its group (fsGroup) at every mount, and PostgreSQL refuses a folder that others may write to.
chmod 700 "$PGDATA"
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp -c shared_buffers=64MB \
  -c log_min_messages=warning -c log_checkpoints=off
