//! The settings of the one broker that tests run on.

use std::path::Path;

/// One combined broker and controller, plaintext, reachable from this machine only.
///
/// Whatever is not named here keeps Kafka's default, so that tests meet the broker that production meets; the
/// exceptions make one node possible, or make a thing that takes minutes take a second.
pub(super) fn render(broker_port: u16, controller_port: u16, data: &Path) -> String {
    format!(
        "\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{broker_port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker_port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:{controller_port}
log.dirs={data}

# A misspelt topic has to be an error.
auto.create.topics.enable=false

# One node.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1

# A first member is served at once, and retention acts within seconds (defaults: 3 s, 5 min, 30 s, 1 min).
group.initial.rebalance.delay.ms=0
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=500
log.segment.delete.delay.ms=1000

# A broker that was killed may come back once its old session has expired (defaults: 9 s, 2 s).
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500

# A small heap; the default takes 128 MiB of it for compaction alone.
log.cleaner.dedupe.buffer.size=4194304
",
        data = data.display(),
    )
}
