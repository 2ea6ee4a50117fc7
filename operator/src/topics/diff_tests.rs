use kafka_native::{AclOperation, Pattern, Permission, ResourceKind};
use schemas::topics::Topics;

use super::*;
use crate::config::{ClusterConfig, Estate};
use crate::topics::found::FoundSetting;

fn wanted() -> Wanted {
    Wanted::new(&Estate {
        topics: Topics::default(),
        upstreams: vec!["wallet".parse().expect("an id")],
        banks: vec!["alpha".parse().expect("an id")],
        cluster: ClusterConfig { replication_factor: 3, min_insync_replicas: 2 },
    })
}

/// A cluster that is exactly as wanted.
fn matching(wanted: &Wanted) -> Found {
    let topics = wanted.topics.iter().map(|(name, topic)| {
        let settings = topic.settings.iter().map(|(key, value)| (key.clone(), on_topic(value)));
        let found = FoundTopic {
            partitions: topic.partitions,
            replicas: [topic.replicas].into(),
            led: true,
            settings: settings.collect(),
        };
        (name.clone(), found)
    });
    Found { topics: topics.collect(), acls: wanted.acls.clone(), users: wanted.users.clone() }
}

fn on_topic(value: &str) -> FoundSetting {
    FoundSetting { value: value.to_owned(), on_topic: true }
}

fn topic<'a>(found: &'a mut Found, name: &str) -> &'a mut FoundTopic {
    found.topics.get_mut(name).expect("a topic of the table")
}

fn set(found: &mut Found, name: &str, key: &str, setting: FoundSetting) {
    topic(found, name).settings.insert(key.to_owned(), setting);
}

/// An access list that no table has.
fn extra(resource: ResourceKind, pattern: Pattern, name: &str, permission: Permission) -> Acl {
    Acl {
        resource,
        name: name.to_owned(),
        pattern,
        principal: "User:bank-alpha".to_owned(),
        host: "*".to_owned(),
        operation: AclOperation::Read,
        permission,
    }
}

/// What is printed for a cluster that was changed in one way.
fn lines(change: impl FnOnce(&mut Found)) -> Vec<String> {
    let wanted = wanted();
    let mut found = matching(&wanted);
    change(&mut found);
    diff(&wanted, &found).to_string().lines().map(str::to_owned).collect()
}

const NONE: &str = "0 to create, 0 to change, 0 to remove";

#[test]
fn a_cluster_that_matches_has_no_differences() {
    assert_eq!(lines(|_| {}), [NONE]);
}

#[test]
fn an_empty_cluster_lacks_everything_topics_first() {
    let wanted = wanted();
    let plan = diff(&wanted, &Found::default());
    let summary = plan.summary();
    assert_eq!(summary.create, wanted.topics.len() + wanted.acls.len() + wanted.users.len());
    assert_eq!((summary.change, summary.remove, summary.by_hand), (0, 0, 0));
    let kinds: Vec<u8> = plan.differences.iter().map(Difference::rank).collect();
    assert!(kinds.is_sorted(), "{kinds:?}");
    let text = plan.to_string();
    let registry = "+ create topic cardquery.registry.v1 (partitions 1, replicas 3, cleanup.policy compact, \
                    max.message.bytes 64 KiB, message.timestamp.type LogAppendTime, min.insync.replicas 2, \
                    segment.ms 1d)";
    assert!(text.lines().any(|line| line == registry), "{text}");
    assert!(
        text.lines().any(|line| line == "+ acl User:auditor may Read topic cardquery.audit.v1"),
        "{text}"
    );
    assert!(text.lines().any(|line| line == "+ user upstream-wallet"), "{text}");
}

#[test]
fn settings_are_compared_by_what_holds_and_every_wrong_one_is_named() {
    let name = "cardquery.query.wallet.v1";
    let changed = lines(|found| {
        set(found, name, "retention.ms", on_topic("604800000"));
        topic(found, name).settings.remove("segment.ms");
    });
    assert_eq!(
        changed,
        [
            "~ change cardquery.query.wallet.v1 (retention.ms 7d -> 5d, segment.ms not told -> 1h)",
            "! sealed content stays in cardquery.query.wallet.v1 without an end: its report is erased after 168 h",
            "0 to create, 1 to change, 0 to remove",
        ]
    );
    // A default of the cluster that happens to be right is right.
    let by_default = FoundSetting { value: "2".to_owned(), on_topic: false };
    assert_eq!(lines(|found| set(found, name, "min.insync.replicas", by_default)), [NONE]);
}

#[test]
fn what_the_table_does_not_set_may_not_be_set_on_a_topic() {
    let name = "cardquery.reply.alpha.v1";
    let by_default = FoundSetting { value: "-1".to_owned(), on_topic: false };
    assert_eq!(lines(|found| set(found, name, "retention.bytes", by_default)), [NONE]);
    assert_eq!(
        lines(|found| set(found, name, "retention.bytes", on_topic("1048576")))[0],
        "~ change cardquery.reply.alpha.v1 (retention.bytes 1 MiB -> the broker's default)"
    );
    let throttled = "leader.replication.throttled.replicas";
    assert_eq!(lines(|found| set(found, name, throttled, on_topic("0:1"))), [NONE]);
}

#[test]
fn partitions_and_replicas_are_named_and_never_changed() {
    let name = "cardquery.reply.alpha.v1";
    let changed = lines(|found| {
        topic(found, name).partitions = 6;
        topic(found, name).replicas = [1, 3].into();
    });
    assert_eq!(
        changed,
        [
            "! cannot change cardquery.reply.alpha.v1: partitions 6 -> 3, keys would move",
            "! cannot change cardquery.reply.alpha.v1: replicas 1 or 3 -> 3, that needs a reassignment",
            "0 to create, 0 to change, 0 to remove, 2 to change by hand",
        ]
    );
    let wanted = wanted();
    let mut found = matching(&wanted);
    topic(&mut found, name).partitions = 6;
    let plan = diff(&wanted, &found);
    assert!(plan.is_applied() && !plan.is_empty());
}

#[test]
fn an_access_list_on_our_names_that_is_not_in_the_table_is_removed_whoever_it_is_for() {
    use {Pattern::*, Permission::*, ResourceKind::*};
    let other_host =
        Acl { host: "10.0.0.1".to_owned(), ..extra(Topic, Literal, "cardquery.request.alpha.v1", Allow) };
    for (acl, expected) in [
        (
            extra(Topic, Literal, "cardquery.sms.v1", Allow),
            "- acl User:bank-alpha may Read topic cardquery.sms.v1 (not in the table)",
        ),
        (
            extra(Topic, Prefixed, "cardquery.request.", Allow),
            "- acl User:bank-alpha may Read topic cardquery.request. and all that begins so (not in the table)",
        ),
        (
            extra(Topic, Literal, "cardquery.request.alpha.v1", Deny),
            "- acl User:bank-alpha may not Read topic cardquery.request.alpha.v1 (not in the table)",
        ),
        (
            extra(Cluster, Literal, "kafka-cluster", Allow),
            "- acl User:bank-alpha may Read cluster kafka-cluster (not in the table)",
        ),
        (
            other_host,
            "- acl User:bank-alpha may Read topic cardquery.request.alpha.v1 from 10.0.0.1 (not in the table)",
        ),
    ] {
        let changed = lines(|found| {
            found.acls.insert(acl);
        });
        assert_eq!(changed, [expected, "0 to create, 0 to change, 1 to remove"]);
    }
}

#[test]
fn an_access_list_that_reaches_beyond_this_prefix_is_reported_and_left_alone() {
    use {Pattern::*, Permission::*, ResourceKind::*};
    let unknown =
        Acl { operation: AclOperation::Unknown, ..extra(Topic, Literal, "cardquery.sms.v1", Allow) };
    for (acl, expected) in [
        (
            extra(Topic, Literal, "*", Allow),
            "! cannot remove acl User:bank-alpha may Read topic * (not in the table): it reaches beyond this prefix",
        ),
        (
            extra(Group, Prefixed, "card", Deny),
            "! cannot remove acl User:bank-alpha may not Read group card and all that begins so (not in the table): \
             it reaches beyond this prefix",
        ),
        (
            unknown,
            "! cannot remove acl User:bank-alpha may Unknown topic cardquery.sms.v1 (not in the table): it has a part \
             that this client does not know",
        ),
    ] {
        let changed = lines(|found| {
            found.acls.insert(acl);
        });
        assert_eq!(changed, [expected, "0 to create, 0 to change, 0 to remove, 1 to change by hand"]);
    }
}

#[test]
fn other_prefixes_are_nobodys_business_here() {
    use {Pattern::*, Permission::*, ResourceKind::*};
    let changed = lines(|found| {
        found.acls.insert(extra(Topic, Literal, "trial.reply.alpha.v1", Allow));
        found.acls.insert(extra(Topic, Prefixed, "dlq.trial.", Deny));
        found.users.insert("bank-gamma".to_owned());
        found.topics.insert("trial.reply.alpha.v1".to_owned(), FoundTopic::default());
        found.topics.insert("cardquery2.reply.alpha.v1".to_owned(), FoundTopic::default());
    });
    assert_eq!(changed, [NONE]);
}

#[test]
fn a_party_that_left_loses_its_access_lists_and_keeps_its_topics() {
    let with_alpha = wanted();
    let found = matching(&with_alpha);
    let without = Wanted::new(&Estate {
        topics: Topics::default(),
        upstreams: vec!["wallet".parse().expect("an id")],
        banks: Vec::new(),
        cluster: ClusterConfig { replication_factor: 3, min_insync_replicas: 2 },
    });

    let plan = diff(&without, &found);

    // The aggregator's and the auditor's two each, and the bank's own but for the registry, whose list is taken away as well.
    let Summary { create, change, remove, by_hand } = plan.summary();
    assert_eq!((create, change, remove, by_hand), (0, 0, 8, 2));
    let text = plan.to_string();
    assert!(text.contains("- acl User:bank-alpha may Read topic cardquery.registry.v1"), "{text}");
    assert!(text.contains("! unknown topic cardquery.reply.alpha.v1: not in the table"), "{text}");
}

#[test]
fn the_document_says_what_the_text_says() {
    let wanted = wanted();
    let mut found = matching(&wanted);
    set(&mut found, "cardquery.notice.v1", "retention.ms", on_topic("1"));
    let document = serde_json::to_value(diff(&wanted, &found).document()).expect("a document");
    let expected = serde_json::json!({
        "matches": false,
        "summary": { "create": 0, "change": 1, "remove": 0, "by_hand": 0 },
        "differences": [{
            "difference": "change_topic",
            "topic": "cardquery.notice.v1",
            "settings": [{ "key": "retention.ms", "from": "1", "to": "172800000" }],
        }],
    });
    assert_eq!(document, expected);
}

#[test]
fn a_topic_that_keeps_sealed_content_beyond_the_erase_instant_is_named() {
    const DAY_MS: u64 = 86_400_000;
    const HOUR_MS: u64 = 3_600_000;
    // Until a segment is closed, the broker looks, and the file goes.
    let slack = HOUR_MS + 6 * 60_000;
    let outlives = |name: &str, key: &str, value: &str| -> Vec<String> {
        let lines = lines(|found| set(found, name, key, on_topic(value)));
        lines.into_iter().filter(|line| line.starts_with("! sealed")).collect()
    };
    // A query's own record is there from its acceptance on, answers may come a day later.
    for (name, written) in [
        ("cardquery.query.wallet.v1", 0),
        ("cardquery.request.alpha.v1", DAY_MS),
        ("cardquery.reply.alpha.v1", DAY_MS),
        ("cardquery.notice.v1", DAY_MS),
        ("dlq.cardquery.reply.v1", 2 * DAY_MS),
    ] {
        let longest = 7 * DAY_MS - written - slack;
        assert_eq!(outlives(name, "retention.ms", &(longest - 1).to_string()), [""; 0]);
        let expected = format!(
            "! sealed content stays in {name} up to 168 h after a query: its report is erased after 168 h"
        );
        assert_eq!(outlives(name, "retention.ms", &longest.to_string()), [expected]);
        for (key, value) in [("retention.ms", "-1"), ("cleanup.policy", "compact")] {
            let expected =
                format!("! sealed content stays in {name} without an end: its report is erased after 168 h");
            assert_eq!(outlives(name, key, value), [expected]);
        }
    }
    let segment = (3 * DAY_MS).to_string();
    let expected = "! sealed content stays in cardquery.query.wallet.v1 up to 192 h 6 min after a query: \
                    its report is erased after 168 h";
    assert_eq!(outlives("cardquery.query.wallet.v1", "segment.ms", &segment), [expected]);
    for name in ["cardquery.sms.v1", "cardquery.audit.v1", "cardquery.event.wallet.v1"] {
        assert_eq!(outlives(name, "retention.ms", "-1"), [""; 0], "{name}: nothing sealed lies there");
    }
}
