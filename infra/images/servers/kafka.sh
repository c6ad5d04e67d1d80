#!/bin/sh
# One Kafka node, broker and controller. KAFKA_ADVERTISED (default: this host, port 9092) is where clients in the same network
# find it, KAFKA_ADVERTISED_OUTSIDE (default: 127.0.0.1:19092) where those outside do. KAFKA_HEAP bounds its memory.
set -eu
data=/var/lib/kafka/data
config=/tmp/server.properties
# Flushing, and what an acknowledgement means, are Kafka's defaults on purpose. One node: nothing can be replicated.
cat >"$config" <<EOF
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:9093
listeners=INSIDE://:9092,OUTSIDE://:19092,CONTROLLER://127.0.0.1:9093
advertised.listeners=INSIDE://${KAFKA_ADVERTISED:-$(hostname):9092},OUTSIDE://${KAFKA_ADVERTISED_OUTSIDE:-127.0.0.1:19092}
controller.listener.names=CONTROLLER
inter.broker.listener.name=INSIDE
listener.security.protocol.map=INSIDE:PLAINTEXT,OUTSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT
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
if [ ! -f "$data/meta.properties" ]; then
  cluster=$($java -cp '/opt/kafka/*' kafka.tools.StorageTool random-uuid)
  $java -cp '/opt/kafka/*' kafka.tools.StorageTool format -t "$cluster" -c "$config"
fi
exec $java -cp '/opt/kafka/*' kafka.Kafka "$config"
