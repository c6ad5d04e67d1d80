#!/bin/sh
# Trino with the configuration in /etc/trino, laid out as Trino's own image has it: jvm.config, config.properties, log.properties, catalog/.
set -eu
options=$(grep -v '^ *\(#\|$\)' /etc/trino/jvm.config)
# Trino looks for some of it in `etc` of the folder in which it runs.
ln -sfn /etc/trino /data/trino/etc
cd /data/trino
exec java -cp '/opt/trino/lib/*' $options \
  -Dconfig=/etc/trino/config.properties -Dlog.levels-file=/etc/trino/log.properties -Dcatalog.config-dir=/etc/trino/catalog \
  -Dnode.environment=sluice -Dnode.internal-address=localhost -Dnode.id="$(hostname)" -Dnode.data-dir=/data/trino -Dplugin.dir=/opt/trino/plugin \
  io.trino.server.TrinoServer
