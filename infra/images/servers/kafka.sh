#!/bin/sh
# One Kafka node, broker and controller. KAFKA_ADVERTISED (default: this host, port 9092) is where clients in the same network
# find it, KAFKA_ADVERTISED_OUTSIDE (default: 127.0.0.1:19092) where those outside do. KAFKA_HEAP bounds its memory.
# Clients sign in by SCRAM-SHA-512; the user `administrator` has the password KAFKA_ADMIN_PASSWORD and makes the others.
# KAFKA_TLS names a folder with tls.key (PKCS#8) and tls.crt, by which clients' connections are encrypted.
set -eu
umask 077
: "${KAFKA_ADMIN_PASSWORD:?set the password that the user administrator has}"
data=/var/lib/kafka/data
config=/tmp/server.properties
protocol=SASL_PLAINTEXT
[ -z "${KAFKA_TLS:-}" ] || protocol=SASL_SSL
security=org.apache.kafka.common.security
# The broker to itself, inside this container: there before any user is.
plain="$security.plain.PlainLoginModule required username=\"administrator\" password=\"$KAFKA_ADMIN_PASSWORD\""
server="$plain user_administrator=\"$KAFKA_ADMIN_PASSWORD\";"
# Flushing, and what an acknowledgement means, are Kafka's defaults on purpose. One node: nothing can be replicated.
cat >"$config" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:9093
listeners=INSIDE://:9092,OUTSIDE://:19092,LOCAL://127.0.0.1:9094,CONTROLLER://127.0.0.1:9093
advertised.listeners=INSIDE://${KAFKA_ADVERTISED:-$(hostname):9092},OUTSIDE://${KAFKA_ADVERTISED_OUTSIDE:-127.0.0.1:19092},LOCAL://127.0.0.1:9094
controller.listener.names=CONTROLLER
inter.broker.listener.name=LOCAL
listener.security.protocol.map=INSIDE:$protocol,OUTSIDE:$protocol,LOCAL:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.inside.scram-sha-512.sasl.jaas.config=$security.scram.ScramLoginModule required;
listener.name.outside.scram-sha-512.sasl.jaas.config=$security.scram.ScramLoginModule required;
sasl.mechanism.inter.broker.protocol=PLAIN
listener.name.local.sasl.enabled.mechanisms=PLAIN
listener.name.local.plain.sasl.jaas.config=$server
sasl.mechanism.controller.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config=$server
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:administrator
log.dirs=$data
auto.create.topics.enable=false
default.replication.factor=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=16777216
EOF
if [ -n "${KAFKA_TLS:-}" ]; then
  grep -q 'BEGIN PRIVATE KEY' "$KAFKA_TLS/tls.key" || {
    echo "$KAFKA_TLS/tls.key is no private key in PKCS#8 without a password, which Kafka needs" >&2
    exit 1
  }
  keystore=/tmp/broker.pem
  cat "$KAFKA_TLS/tls.key" "$KAFKA_TLS/tls.crt" >$keystore
  printf '%s\n' ssl.keystore.type=PEM "ssl.keystore.location=$keystore" >>"$config"
fi
cat >/tmp/log4j2.properties <<'EOF'
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
rootLogger.level=WARN
rootLogger.appenderRef.console.ref=console
EOF
java="java -Xmx${KAFKA_HEAP:-512m} -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:+ExitOnOutOfMemoryError
  -Djava.awt.headless=true -Dlog4j2.configurationFile=/tmp/log4j2.properties"
# Tools read the password from files: what a process was called with is for all to see.
given=/tmp/administrator
if [ ! -f "$data/meta.properties" ]; then
  cluster=$($java -cp '/opt/kafka/*' kafka.tools.StorageTool random-uuid)
  printf '%s\n' --add-scram "SCRAM-SHA-512=[name=administrator,password=$KAFKA_ADMIN_PASSWORD]" >"$given"
  # It would print how the password is kept.
  $java -cp '/opt/kafka/*' kafka.tools.StorageTool format -t "$cluster" -c "$config" "@$given" >/dev/null
else
  # The password may be another one than before, and the folder of a time before there were users: it is set once the broker runs.
  printf 'SCRAM-SHA-512=password=%s\n' "$KAFKA_ADMIN_PASSWORD" >"$given"
  cat >"$given.client" <<EOF
security.protocol=SASL_PLAINTEXT
sasl.mechanism=PLAIN
sasl.jaas.config=$plain;
EOF
  (for _ in 1 2 3 4 5 6 7 8 9 10; do
    $java -cp '/opt/kafka/*' kafka.admin.ConfigCommand --bootstrap-server 127.0.0.1:9094 --command-config "$given.client" \
      --alter --entity-type users --entity-name administrator --add-config-file "$given" >/dev/null && exit
    sleep 2
  done
  echo "the password of the user administrator could not be set: whoever signs in as it needs the one of before" >&2) &
fi
exec $java -cp '/opt/kafka/*' kafka.Kafka "$config"
