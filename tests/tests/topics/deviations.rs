//! `cardquery topics verify` finds every planted deviation, and names it.

use std::time::{Duration, Instant};

use cardquery::config::{ClusterConfig, Estate};
use cardquery::topics::wanted::Wanted;
use kafka_native::{Acl, AclOperation, Pattern, Permission, ResourceKind};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use schemas::topics::Topics;

use crate::lines;
use crate::operator::{Operator, replication};
use cardquery_tests::stack::Stack;

const WITHIN: Duration = Duration::from_secs(30);
const UPSTREAM: &str = "wallet";
const BANK: &str = "alpha";
/// Listed, and made by hand but for its user, whom no other test makes.
const FORGOTTEN: &str = "forgotten9";

/// What was done to the cluster by hand.
enum Planted {
    /// Partitions of a topic, more than it had.
    Partitions(&'static str, usize),
    /// A setting of a topic.
    Setting(&'static str, &'static str, &'static str),
    /// An access list that somebody made.
    Extra(Acl),
    /// An access list that somebody took away.
    Missing(Acl),
    /// A topic that somebody deleted.
    Deleted(&'static str),
    /// A topic that somebody made.
    Forged(&'static str),
    /// A bank whose user was forgotten.
    NoUser,
}

#[tokio::test]
async fn verify_finds_every_planted_deviation_alone_and_names_it() {
    let operator = Operator::new(&[UPSTREAM], &[BANK]);
    operator.apply().await;
    let hand = Hand::new(operator.prefix());
    let prefix = operator.prefix();
    let in_sync = replication(Stack::get()).1;
    use {AclOperation::*, Pattern::*, Permission::*};

    let wrong_in_sync = format!("~ change {prefix}.notice.v1 (min.insync.replicas 7 -> {in_sync})");
    let deviations = [
        (
            Planted::Partitions("reply.alpha.v1", 5),
            "! cannot change P.reply.alpha.v1: partitions 5 -> 3, keys would move",
        ),
        (
            Planted::Setting("query.wallet.v1", "retention.ms", "604800000"),
            "~ change P.query.wallet.v1 (retention.ms 7d -> 5d)\n\
             ! sealed content stays in P.query.wallet.v1 up to 169 h 6 min after a query: \
             its report is erased after 168 h",
        ),
        (
            Planted::Setting("request.alpha.v1", "segment.ms", "604800000"),
            "~ change P.request.alpha.v1 (segment.ms 7d -> 1h)\n\
             ! sealed content stays in P.request.alpha.v1 up to 240 h 6 min after a query: \
             its report is erased after 168 h",
        ),
        (
            Planted::Setting("registry.v1", "cleanup.policy", "delete"),
            "~ change P.registry.v1 (cleanup.policy delete -> compact)",
        ),
        (
            Planted::Setting("event.wallet.v1", "message.timestamp.type", "CreateTime"),
            "~ change P.event.wallet.v1 (message.timestamp.type CreateTime -> LogAppendTime)",
        ),
        (
            Planted::Setting("sms.v1", "max.message.bytes", "1048576"),
            "~ change P.sms.v1 (max.message.bytes 1 MiB -> 64 KiB)",
        ),
        (Planted::Setting("notice.v1", "min.insync.replicas", "7"), wrong_in_sync.as_str()),
        (
            Planted::Setting("audit.v1", "retention.bytes", "1048576"),
            "~ change P.audit.v1 (retention.bytes 1 MiB -> the broker's default)",
        ),
        (
            Planted::Missing(hand.acl("aggregator", "reply.alpha.v1", Literal, Read, Allow)),
            "+ acl User:aggregator may Read topic P.reply.alpha.v1",
        ),
        (
            Planted::Extra(hand.acl("bank-beta", "request.alpha.v1", Literal, Read, Allow)),
            "- acl User:bank-beta may Read topic P.request.alpha.v1 (not in the table)",
        ),
        (
            Planted::Extra(hand.acl("*", "reply.", Prefixed, Write, Allow)),
            "- acl User:* may Write topic P.reply. and all that begins so (not in the table)",
        ),
        (
            Planted::Extra(hand.acl("bank-alpha", "request.alpha.v1", Literal, Read, Deny)),
            "- acl User:bank-alpha may not Read topic P.request.alpha.v1 (not in the table)",
        ),
        (
            Planted::Forged("reply.al.v1"),
            "! unknown topic P.reply.al.v1: not in the table, and never deleted",
        ),
        (Planted::NoUser, "+ user bank-forgotten9"),
    ];
    for (planted, expected) in &deviations {
        hand.plant(planted).await;
        operator.set_parties(&[UPSTREAM], planted.banks());

        let expected = expected.replace("P.", &format!("{prefix}."));
        assert_eq!(verified_until_it_differs(&operator, &expected).await, (65, expected));

        hand.take_back(planted).await;
        operator.set_parties(&[UPSTREAM], &[BANK]);
        operator.apply().await;
    }

    hand.plant(&Planted::Deleted("sms.v1")).await;
    let verified = operator.run(&["topics", "verify", "--json"]).await;
    assert_eq!(verified.exit, 65);
    let document: serde_json::Value = serde_json::from_str(&verified.stdout).expect("one document");
    assert_eq!(document["matches"], false);
    assert_eq!(document["summary"]["create"], 1);
    assert_eq!(document["differences"][0]["difference"], "create_topic");
    assert_eq!(document["differences"][0]["topic"], format!("{prefix}.sms.v1"));
}

/// The exit code, and what is said when it is that one thing; the brokers may show what was done by hand a moment later.
async fn verified_until_it_differs(operator: &Operator, expected: &str) -> (i32, String) {
    let deadline = Instant::now() + WITHIN;
    loop {
        let verified = operator.run(&["topics", "verify"]).await;
        let lines = lines(&verified);
        let differences = lines.split_last().map(|(_summary, differences)| differences.join("\n"));
        let differences = differences.unwrap_or_else(|| verified.stderr.clone());
        if differences == expected || Instant::now() > deadline {
            return (verified.exit, differences);
        }
    }
}

impl Planted {
    /// The banks that are in the settings while it is looked for.
    fn banks(&self) -> &'static [&'static str] {
        if matches!(self, Self::NoUser) { &[BANK, FORGOTTEN] } else { &[BANK] }
    }
}

/// The administrator's own hand, beside the command.
struct Hand {
    topics: Topics,
    admin: AdminClient<DefaultClientContext>,
}

impl Hand {
    fn new(prefix: &str) -> Self {
        let admin =
            Stack::get().client("admin", "cardquery.test").create().expect("these settings are valid");
        Self { topics: Topics::new(prefix), admin }
    }

    fn name(&self, rest: &str) -> String {
        format!("{}.{rest}", self.topics.prefix())
    }

    fn acl(
        &self,
        user: &str,
        topic: &str,
        pattern: Pattern,
        operation: AclOperation,
        permission: Permission,
    ) -> Acl {
        Acl {
            resource: ResourceKind::Topic,
            name: self.name(topic),
            pattern,
            principal: format!("User:{user}"),
            host: "*".to_owned(),
            operation,
            permission,
        }
    }

    /// What the table has for the forgotten bank, and only for it.
    fn forgotten(&self) -> (Vec<String>, Vec<Acl>, Wanted) {
        let estate = |banks: &[&str]| Estate {
            topics: self.topics.clone(),
            upstreams: vec![UPSTREAM.parse().expect("an id")],
            banks: banks.iter().map(|bank| bank.parse().expect("an id")).collect(),
            cluster: {
                let (replicas, in_sync) = replication(Stack::get());
                ClusterConfig {
                    replication_factor: u16::try_from(replicas).expect("few"),
                    min_insync_replicas: u16::try_from(in_sync).expect("few"),
                }
            },
        };
        let (with, without) = (Wanted::new(&estate(&[BANK, FORGOTTEN])), Wanted::new(&estate(&[BANK])));
        let topics = with.topics.keys().filter(|name| !without.topics.contains_key(*name)).cloned().collect();
        let acls = with.acls.difference(&without.acls).cloned().collect();
        (topics, acls, with)
    }

    async fn plant(&self, planted: &Planted) {
        match planted {
            Planted::Partitions(topic, count) => {
                let name = self.name(topic);
                let new = [NewPartitions::new(&name, *count)];
                let done = self.admin.create_partitions(&new, &options()).await.expect("an answer");
                assert!(done.iter().all(Result::is_ok), "{done:?}");
            }
            Planted::Setting(topic, key, value) => {
                let settings = [((*key).to_owned(), Some((*value).to_owned()))];
                let topic = self.name(topic);
                let change = [(topic.as_str(), settings.as_slice())];
                kafka_native::alter_topic_settings(self.admin.inner(), change, WITHIN).expect("changed");
            }
            Planted::Extra(acl) => {
                kafka_native::create_acls(self.admin.inner(), std::slice::from_ref(acl), WITHIN)
                    .expect("made");
            }
            Planted::Missing(acl) => {
                kafka_native::delete_acls(self.admin.inner(), std::slice::from_ref(acl), WITHIN)
                    .expect("gone");
            }
            Planted::Deleted(topic) => self.delete(&[topic]).await,
            Planted::Forged(topic) => {
                let name = self.name(topic);
                let new = [NewTopic::new(&name, 1, TopicReplication::Fixed(1))];
                let done = self.admin.create_topics(&new, &options()).await.expect("an answer");
                assert!(done.iter().all(Result::is_ok), "{done:?}");
            }
            Planted::NoUser => {
                let (topics, acls, wanted) = self.forgotten();
                for name in &topics {
                    let topic = &wanted.topics[name];
                    let replicas = i32::try_from(topic.replicas).expect("few");
                    let partitions = i32::try_from(topic.partitions).expect("few");
                    let new = NewTopic::new(name, partitions, TopicReplication::Fixed(replicas));
                    let new = topic.settings.iter().fold(new, |new, (key, value)| new.set(key, value));
                    let done = self.admin.create_topics([&new], &options()).await.expect("an answer");
                    assert!(done.iter().all(Result::is_ok), "{done:?}");
                }
                kafka_native::create_acls(self.admin.inner(), &acls, WITHIN).expect("made");
            }
        }
    }

    /// Takes back what the command does not change.
    async fn take_back(&self, planted: &Planted) {
        match planted {
            Planted::Partitions(topic, _) | Planted::Forged(topic) => self.delete(&[topic]).await,
            Planted::NoUser => {
                let mailboxes = ["request", "reply"].map(|noun| format!("{noun}.{FORGOTTEN}.v1"));
                self.delete(&mailboxes.each_ref().map(String::as_str)).await;
            }
            Planted::Setting(..) | Planted::Extra(_) | Planted::Missing(_) | Planted::Deleted(_) => {}
        }
    }

    async fn delete(&self, topics: &[&str]) {
        let names: Vec<String> = topics.iter().map(|topic| self.name(topic)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let done = self.admin.delete_topics(&names, &options()).await.expect("an answer");
        assert!(done.iter().all(Result::is_ok), "{done:?}");
        self.until_gone(&names).await;
    }

    /// Waits until no broker that is asked shows these topics.
    async fn until_gone(&self, names: &[&str]) {
        let deadline = Instant::now() + WITHIN;
        loop {
            let metadata = self.admin.inner().fetch_metadata(None, WITHIN).expect("an answer");
            if !metadata.topics().iter().any(|topic| names.contains(&topic.name())) {
                return;
            }
            assert!(Instant::now() < deadline, "the brokers still show {names:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(WITHIN)).operation_timeout(Some(WITHIN))
}
