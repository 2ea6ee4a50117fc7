//! What differs between what is wanted and what was found.

use std::collections::BTreeMap;

use kafka_native::Acl;
use serde::Serialize;

use super::found::{Found, FoundTopic};
use super::lifetime;
use super::scope::Reach;
use super::wanted::{Wanted, WantedTopic};

/// Settings that reassignment tools put on a topic for a while.
const PASSING: [&str; 2] =
    ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];

/// Everything that differs, in the order in which it is changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The differences.
    pub differences: Vec<Difference>,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "difference", rename_all = "snake_case")]
pub enum Difference {
    /// A topic is missing.
    CreateTopic {
        /// Its name.
        topic: String,
        /// How many partitions it gets.
        partitions: usize,
        /// How many replicas each.
        replicas: usize,
        /// What is set on it.
        settings: BTreeMap<String, String>,
    },
    /// Settings of a topic differ.
    ChangeTopic {
        /// Its name.
        topic: String,
        /// The settings.
        settings: Vec<SettingChange>,
    },
    /// An access list is missing.
    CreateAcl {
        /// The list.
        acl: Acl,
    },
    /// An access list of this prefix is not in the table.
    RemoveAcl {
        /// The list.
        acl: Acl,
    },
    /// A user is missing.
    CreateUser {
        /// Its name.
        user: String,
    },
    /// A topic has another shape, which cannot be changed in place.
    Unchangeable {
        /// Its name.
        topic: String,
        /// What differs.
        shape: Shape,
        /// What was found.
        from: String,
        /// What is wanted.
        to: usize,
    },
    /// An access list that is not in the table, and that this command does not remove.
    UnremovableAcl {
        /// The list.
        acl: Acl,
        /// Why not.
        why: Unremovable,
    },
    /// A topic keeps sealed content longer than until the earliest erase instant. Its wrong settings are differences, too.
    OutlivesErasure {
        /// Its name.
        topic: String,
        /// For how long, in milliseconds after a query's acceptance; nothing when for ever.
        kept_ms: Option<u64>,
    },
    /// A topic of this prefix is not in the table.
    UnknownTopic {
        /// Its name.
        topic: String,
    },
}

/// One setting of a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SettingChange {
    /// Its key.
    pub key: String,
    /// What holds; nothing when the broker did not say.
    pub from: Option<String>,
    /// What is wanted; nothing when the topic is to have the broker's default.
    pub to: Option<String>,
}

/// What a topic cannot change in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Its partitions: keys would move.
    Partitions,
    /// Its replicas: that takes a reassignment.
    Replicas,
}

/// Why an access list is not removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unremovable {
    /// It is about names of others, too.
    ReachesBeyond,
    /// It has a part that this client does not know.
    Inexpressible,
}

/// How many differences of which kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Topics, access lists and users that are missing.
    pub create: usize,
    /// Topics whose settings differ.
    pub change: usize,
    /// Access lists to remove.
    pub remove: usize,
    /// What has to be changed by hand.
    pub by_hand: usize,
}

/// A plan as a JSON document.
#[derive(Clone, Debug, Serialize)]
pub struct Document<'a> {
    matches: bool,
    summary: Summary,
    differences: &'a [Difference],
}

/// What differs. The order is that of applying: topics before what is allowed on them.
pub fn diff(wanted: &Wanted, found: &Found) -> Plan {
    let mut differences = topics(wanted, found);
    let missing = wanted.acls.difference(&found.acls);
    differences.extend(missing.map(|acl| Difference::CreateAcl { acl: acl.clone() }));
    for acl in found.acls.difference(&wanted.acls) {
        let acl = acl.clone();
        match wanted.scope.reach(&acl) {
            Reach::Within if acl.is_expressible() => differences.push(Difference::RemoveAcl { acl }),
            Reach::Within => {
                differences.push(Difference::UnremovableAcl { acl, why: Unremovable::Inexpressible });
            }
            Reach::Beyond => {
                differences.push(Difference::UnremovableAcl { acl, why: Unremovable::ReachesBeyond });
            }
            Reach::Elsewhere => {}
        }
    }
    let missing = wanted.users.difference(&found.users);
    differences.extend(missing.map(|user| Difference::CreateUser { user: user.clone() }));
    let unknown =
        found.topics.keys().filter(|name| wanted.scope.holds(name) && !wanted.topics.contains_key(*name));
    differences.extend(unknown.map(|topic| Difference::UnknownTopic { topic: topic.clone() }));
    differences.extend(lifetime::outliving(wanted, found));
    // What has to be done by hand comes last, so that it is what a reader sees last.
    differences.sort_by_key(Difference::rank);
    Plan { differences }
}

fn topics(wanted: &Wanted, found: &Found) -> Vec<Difference> {
    let mut differences = Vec::new();
    for (name, topic) in &wanted.topics {
        let Some(found) = found.topics.get(name) else {
            differences.push(Difference::CreateTopic {
                topic: name.clone(),
                partitions: topic.partitions,
                replicas: topic.replicas,
                settings: topic.settings.clone(),
            });
            continue;
        };
        let settings = settings(topic, found);
        if !settings.is_empty() {
            differences.push(Difference::ChangeTopic { topic: name.clone(), settings });
        }
        if found.partitions != topic.partitions {
            differences.push(Difference::Unchangeable {
                topic: name.clone(),
                shape: Shape::Partitions,
                from: found.partitions.to_string(),
                to: topic.partitions,
            });
        }
        if found.replicas != [topic.replicas].into() {
            let counts: Vec<String> = found.replicas.iter().map(usize::to_string).collect();
            differences.push(Difference::Unchangeable {
                topic: name.clone(),
                shape: Shape::Replicas,
                from: counts.join(" or "),
                to: topic.replicas,
            });
        }
    }
    differences
}

/// What the table sets must hold, wherever it is set; nothing else may be set on the topic itself: a forgotten
/// `retention.bytes` deletes as surely as a wrong `retention.ms`.
fn settings(wanted: &WantedTopic, found: &FoundTopic) -> Vec<SettingChange> {
    let wrong = wanted.settings.iter().filter_map(|(key, value)| {
        let held = found.settings.get(key).map(|setting| setting.value.clone());
        (held.as_ref() != Some(value)).then(|| SettingChange {
            key: key.clone(),
            from: held,
            to: Some(value.clone()),
        })
    });
    let surplus = found.settings.iter().filter(|(key, setting)| {
        setting.on_topic && !wanted.settings.contains_key(*key) && !PASSING.contains(&key.as_str())
    });
    let surplus = surplus.map(|(key, setting)| SettingChange {
        key: key.clone(),
        from: Some(setting.value.clone()),
        to: None,
    });
    wrong.chain(surplus).collect()
}

impl Plan {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.differences.is_empty()
    }

    /// Whether nothing differs that apply would change.
    pub fn is_applied(&self) -> bool {
        self.differences.iter().all(Difference::is_by_hand)
    }

    /// How many differences of which kind.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for difference in &self.differences {
            match difference {
                Difference::CreateTopic { .. }
                | Difference::CreateAcl { .. }
                | Difference::CreateUser { .. } => summary.create += 1,
                Difference::ChangeTopic { .. } => summary.change += 1,
                Difference::RemoveAcl { .. } => summary.remove += 1,
                // The changes of its settings count.
                Difference::OutlivesErasure { .. } => {}
                Difference::Unchangeable { .. }
                | Difference::UnremovableAcl { .. }
                | Difference::UnknownTopic { .. } => summary.by_hand += 1,
            }
        }
        summary
    }

    /// The plan as a JSON document.
    pub fn document(&self) -> Document<'_> {
        Document { matches: self.is_empty(), summary: self.summary(), differences: &self.differences }
    }
}

impl Difference {
    fn rank(&self) -> u8 {
        match self {
            Self::CreateTopic { .. } => 0,
            Self::ChangeTopic { .. } => 1,
            Self::OutlivesErasure { .. } => 2,
            Self::CreateAcl { .. } => 3,
            Self::RemoveAcl { .. } => 4,
            Self::CreateUser { .. } => 5,
            Self::Unchangeable { .. } | Self::UnremovableAcl { .. } | Self::UnknownTopic { .. } => 6,
        }
    }

    fn is_by_hand(&self) -> bool {
        matches!(
            self,
            Self::Unchangeable { .. }
                | Self::UnremovableAcl { .. }
                | Self::UnknownTopic { .. }
                | Self::OutlivesErasure { .. }
        )
    }
}

#[cfg(test)]
#[path = "diff_tests.rs"]
mod tests;
