#!/bin/bash
# Formats the data directory when it is new, with the operator's user in it, and becomes the broker.
set -eu
settings=/etc/cardquery/server.properties
# The password stands in a file, because anybody can read the arguments of a process; what is printed would show a
# verifier of it.
/opt/kafka/bin/kafka-storage.sh format --ignore-formatted --config "$settings" @/run/secrets/kafka-admin.arguments >/dev/null
exec /opt/kafka/bin/kafka-server-start.sh "$settings"
