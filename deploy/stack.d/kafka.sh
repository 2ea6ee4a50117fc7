# shellcheck shell=bash
# Apache Kafka in KRaft mode: every node is broker and controller, from the jars that deploy/kafka/pom.xml lists.

# The name in the brokers' certificate, and so their principal.
readonly BROKER_NAME=broker
readonly KAFKA=kafka-4.3.1

# The tests' harness keeps the jars in the same place, by the same lock (tests/src/kafka/jars.rs).
kafka_jars() { echo "$target/$KAFKA"; }

kafka_has_jars() { cmp -s "$root/deploy/kafka/pom.xml" "$(kafka_jars)/pom.xml"; }

kafka_has_java() {
  local release
  command -v java >/dev/null || return 1
  # A virtual machine takes long to say its own version; a JDK without this file is taken at its word.
  release=$(dirname "$(dirname "$(realpath "$(command -v java)")")")/release
  [[ ! -r $release ]] || at_least 17 "$(sed -nE 's/^JAVA_VERSION="(.*)"/\1/p' "$release")"
}

kafka_ensure_jars() {
  ! kafka_has_jars || return 0
  create_target
  local lock scratch
  exec {lock}>>"$target/$KAFKA.lock"
  flock "$lock"
  if ! kafka_has_jars; then
    say "fetching the jars of $KAFKA with Maven"
    scratch=$(mktemp -d "$target/kafka-fetch-XXXXXXXX")
    # shellcheck disable=SC2064 # the name is this one
    trap "rm -rf '$scratch'" EXIT
    mvn -q -B -C -f "$root/deploy/kafka/pom.xml" dependency:copy-dependencies \
      -DoutputDirectory="$scratch/new" -DincludeScope=runtime >&2 ||
      fail "$UNAVAILABLE" "Maven cannot fetch Kafka's jars; the first run needs the network"
    cp "$root/deploy/kafka/pom.xml" "$scratch/new/"
    # It appears by a rename, so it is complete or absent.
    [[ ! -e $(kafka_jars) ]] || mv "$(kafka_jars)" "$scratch/old"
    mv "$scratch/new" "$(kafka_jars)"
    rm -rf "$scratch"
    trap - EXIT
  fi
  exec {lock}>&-
}

# Cargo marks its target directory only when it creates it, and the tests' harness looks for the mark.
create_target() {
  mkdir -p "$target"
  [[ -e $target/CACHEDIR.TAG ]] || cat >"$target/CACHEDIR.TAG" <<'TAG'
Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by cargo.
# For information about cache directory tags see https://bford.info/cachedir/
TAG
}

# For clients, between brokers, between controllers.
kafka_ports() {
  local node=${1#kafka-}
  echo "kafka-$node $((19091 + node))"
  echo "kafka-$node.internal $((19191 + node))"
  echo "kafka-$node.controller $((19291 + node))"
}

# KafkaRaftServer says it once the broker is registered, has caught up and takes requests.
kafka_ready() { grep -qsF 'Kafka Server started' "$dir/log/$1.log"; }

kafka_stop_signal() { echo TERM; }

kafka_serve() {
  local home=$dir/kafka/$1
  mkdir -p "$home"
  kafka_settings "$1" >"$home/server.properties"
  # Formatting writes the mark last of all.
  [[ -s $home/formatted ]] || kafka_format "$home"
  become java -cp "$(kafka_jars)/*" -Dlog4j2.configurationFile="$root/deploy/kafka/log4j2.xml" \
    -Xms128m -Xmx512m -XX:-UsePerfData -XX:+ExitOnOutOfMemoryError kafka.Kafka "$home/server.properties"
}

# The arguments come from a file, because anybody can read those of a process.
kafka_format() { # home
  rm -rf "$1/data"
  cat >"$1/format.arguments" <<ARGUMENTS
-cp "$(kafka_jars)/*"
"-Dlog4j2.configurationFile=$root/deploy/kafka/log4j2.xml"
-XX:TieredStopAtLevel=1 -XX:-UsePerfData
kafka.tools.StorageTool format --cluster-id $(recall kafka.cluster) --config "$1/server.properties"
--add-scram "SCRAM-SHA-512=[name=admin,password=$(cat "$dir/passwords/admin.password")]"
ARGUMENTS
  java "@$1/format.arguments"
  rm "$1/format.arguments"
  echo yes >"$1/formatted"
}

kafka_voters() {
  local node voters=()
  for ((node = 1; node <= brokers; node++)); do voters+=("$node@127.0.0.1:$(port "kafka-$node.controller")"); done
  joined "${voters[@]}"
}

# Whatever is not named here keeps Kafka's default, so that tests meet the broker that production meets.
kafka_settings() { # server
  local majority=$((brokers / 2 + 1))
  cat <<PROPERTIES
process.roles=broker,controller
node.id=${1#kafka-}
controller.quorum.voters=$(kafka_voters)
log.dirs=$dir/kafka/$1/data

# Clients have one way in: TLS and a password. Brokers and controllers know each other by the certificate that only
# they have; a plaintext controller listener would make everybody a super user.
listeners=CLIENT://127.0.0.1:$(port "$1"),INTERNAL://127.0.0.1:$(port "$1.internal"),CONTROLLER://127.0.0.1:$(port "$1.controller")
advertised.listeners=CLIENT://localhost:$(port "$1"),INTERNAL://127.0.0.1:$(port "$1.internal")
listener.security.protocol.map=CLIENT:SASL_SSL,INTERNAL:SSL,CONTROLLER:SSL
inter.broker.listener.name=INTERNAL
controller.listener.names=CONTROLLER
ssl.keystore.type=PEM
ssl.keystore.location=$dir/tls/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location=$dir/tls/ca.pem
listener.name.internal.ssl.client.auth=required
listener.name.controller.ssl.client.auth=required
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
connections.max.reauth.ms=3600000

# What no access list allows is denied.
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:CN=$BROKER_NAME

# A misspelt topic has to be an error.
auto.create.topics.enable=false
default.replication.factor=$brokers
min.insync.replicas=$majority
offsets.topic.replication.factor=$brokers
transaction.state.log.replication.factor=$brokers
transaction.state.log.min.isr=$majority
share.coordinator.state.topic.replication.factor=$brokers
share.coordinator.state.topic.min.isr=$majority

# A bank that is away for weeks finds its place again: 30 days.
offsets.retention.minutes=43200

# One machine: a first member need not wait for others, few groups, a small heap.
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=12
log.cleaner.dedupe.buffer.size=16777216
PROPERTIES
}
