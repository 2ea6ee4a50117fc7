//! The one table of topics. Topics, ACLs and every rendered form are printed from it.

use std::time::Duration;

use crate::ids::{BankId, UpstreamId, is_party_id};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long after its acceptance a query may be erased at the earliest: one that was accepted in the last moment of a day.
/// Sealed content must be gone from every topic before.
pub const EARLIEST_ERASURE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A family of topics: one row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Family {
    Query,
    Event,
    Request,
    Reply,
    Notice,
    Sms,
    Registry,
    Audit,
    DeadQuery,
    DeadReply,
    DeadNotice,
}

/// Who may write or read a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The upstream whose topic it is.
    Upstream,
    /// The bank whose topic it is.
    Bank,
    /// The aggregator.
    Aggregator,
    /// The notifier.
    Notifier,
    /// The operator.
    Operator,
    /// An auditor.
    Auditor,
    /// Every party and service.
    Everyone,
}

/// What happens to old records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Deleted after this time.
    Delete(Duration),
    /// The newest record of every key is kept.
    Compact,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Partitions; never changed, because keys would move.
    pub partitions: i32,
    /// What happens to old records.
    pub cleanup: Cleanup,
    /// `segment.ms`; 1 h wherever sealed content lies, so that it dies in time.
    pub segment: Duration,
    /// Where sealed content lies: how long after a query's acceptance it may still be written.
    pub sealed_until: Option<Duration>,
    /// `max.message.bytes`.
    pub max_message_bytes: usize,
    /// Who writes.
    pub writers: &'static [Role],
    /// Who reads.
    pub readers: &'static [Role],
}

const KIB: usize = 1024;
/// What a dead letter may have above its source: the headers that say why.
const DEAD_LETTER_ROOM: usize = 16 * KIB;

impl Family {
    /// Every row.
    pub const ALL: [Family; 11] = [
        Family::Query,
        Family::Event,
        Family::Request,
        Family::Reply,
        Family::Notice,
        Family::Sms,
        Family::Registry,
        Family::Audit,
        Family::DeadQuery,
        Family::DeadReply,
        Family::DeadNotice,
    ];

    /// The row.
    pub fn spec(self) -> Spec {
        let spec = |partitions, days: u32, segment, kib: usize, writers, readers| Spec {
            partitions,
            cleanup: Cleanup::Delete(DAY * days),
            segment,
            sealed_until: self.sealed_until(),
            max_message_bytes: kib * KIB,
            writers,
            readers,
        };
        let dead = |source: Family, writers| Spec {
            partitions: 3,
            cleanup: Cleanup::Delete(DAY),
            segment: HOUR,
            sealed_until: self.sealed_until(),
            max_message_bytes: source.spec().max_message_bytes + DEAD_LETTER_ROOM,
            writers,
            readers: &[Role::Operator],
        };
        match self {
            Family::Query => spec(12, 5, HOUR, 512, &[Role::Upstream], &[Role::Aggregator, Role::Auditor]),
            Family::Event => spec(12, 5, HOUR, 64, &[Role::Aggregator], &[Role::Upstream, Role::Auditor]),
            Family::Request => spec(3, 2, HOUR, 64, &[Role::Aggregator], &[Role::Bank, Role::Auditor]),
            Family::Reply => spec(3, 3, HOUR, 64, &[Role::Bank], &[Role::Aggregator, Role::Auditor]),
            Family::Notice => spec(12, 2, HOUR, 64, &[Role::Aggregator], &[Role::Notifier, Role::Auditor]),
            Family::Sms => {
                spec(12, 30, DAY, 64, &[Role::Notifier], &[Role::Operator, Role::Notifier, Role::Auditor])
            }
            Family::Registry => Spec {
                cleanup: Cleanup::Compact,
                ..spec(1, 0, DAY, 64, &[Role::Operator], &[Role::Everyone])
            },
            // Three years of records are kept, and a month of slack.
            Family::Audit => {
                spec(1, 3 * 366 + 31, DAY, 64, &[Role::Aggregator], &[Role::Auditor, Role::Aggregator])
            }
            Family::DeadQuery => dead(Family::Query, &[Role::Aggregator]),
            Family::DeadReply => dead(Family::Reply, &[Role::Aggregator]),
            Family::DeadNotice => dead(Family::Notice, &[Role::Notifier]),
        }
    }

    fn sealed_until(self) -> Option<Duration> {
        match self {
            Family::Query => Some(Duration::ZERO),
            // Until the window is over.
            Family::Request | Family::Reply | Family::Notice => Some(DAY),
            // Older records are counted, not copied.
            Family::DeadQuery | Family::DeadReply | Family::DeadNotice => Some(DAY * 2),
            Family::Event | Family::Sms | Family::Registry | Family::Audit => None,
        }
    }

    /// Whether every party has one of its own.
    fn is_of_parties(self) -> bool {
        match self {
            Family::Query | Family::Event | Family::Request | Family::Reply => true,
            Family::Notice
            | Family::Sms
            | Family::Registry
            | Family::Audit
            | Family::DeadQuery
            | Family::DeadReply
            | Family::DeadNotice => false,
        }
    }

    /// Whether it holds dead letters.
    fn is_dead(self) -> bool {
        match self {
            Family::DeadQuery | Family::DeadReply | Family::DeadNotice => true,
            Family::Query
            | Family::Event
            | Family::Request
            | Family::Reply
            | Family::Notice
            | Family::Sms
            | Family::Registry
            | Family::Audit => false,
        }
    }

    /// What a person calls it: the noun in its topics' names, with `dlq.` in front where they have that.
    pub fn name(self) -> String {
        format!("{}{}", if self.is_dead() { "dlq." } else { "" }, self.noun())
    }

    fn noun(self) -> &'static str {
        match self {
            Family::Query | Family::DeadQuery => "query",
            Family::Event => "event",
            Family::Request => "request",
            Family::Reply | Family::DeadReply => "reply",
            Family::Notice | Family::DeadNotice => "notice",
            Family::Sms => "sms",
            Family::Registry => "registry",
            Family::Audit => "audit",
        }
    }
}

impl Spec {
    /// The topic's configuration as the broker spells it. All topics use LogAppendTime: deadlines rest on it.
    pub fn config(&self) -> Vec<(&'static str, String)> {
        let mut config = vec![
            ("message.timestamp.type", "LogAppendTime".to_owned()),
            ("segment.ms", self.segment.as_millis().to_string()),
            ("max.message.bytes", self.max_message_bytes.to_string()),
        ];
        match self.cleanup {
            Cleanup::Delete(after) => {
                config.push(("cleanup.policy", "delete".to_owned()));
                config.push(("retention.ms", after.as_millis().to_string()));
            }
            Cleanup::Compact => config.push(("cleanup.policy", "compact".to_owned())),
        }
        config
    }
}

/// Names of topics and groups under one prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
}

impl Default for Topics {
    fn default() -> Self {
        Self::new("cardquery")
    }
}

impl Topics {
    /// Names under `prefix`, `cardquery` in production.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into() }
    }

    /// First part of all names.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The query topic of an upstream.
    pub fn query(&self, upstream: &UpstreamId) -> String {
        self.of_party(Family::Query, upstream.as_str())
    }

    /// The event topic of an upstream.
    pub fn event(&self, upstream: &UpstreamId) -> String {
        self.of_party(Family::Event, upstream.as_str())
    }

    /// The request topic of a bank.
    pub fn request(&self, bank: &BankId) -> String {
        self.of_party(Family::Request, bank.as_str())
    }

    /// The reply topic of a bank.
    pub fn reply(&self, bank: &BankId) -> String {
        self.of_party(Family::Reply, bank.as_str())
    }

    /// The notice topic.
    pub fn notice(&self) -> String {
        self.shared(Family::Notice)
    }

    /// The SMS topic.
    pub fn sms(&self) -> String {
        self.shared(Family::Sms)
    }

    /// The registry topic.
    pub fn registry(&self) -> String {
        self.shared(Family::Registry)
    }

    /// The audit topic.
    pub fn audit(&self) -> String {
        self.shared(Family::Audit)
    }

    /// The dead-letter topic for records of `topic`, if its family has one.
    pub fn dead_letter(&self, topic: &str) -> Option<String> {
        match self.owner(topic)? {
            Owner::Query(_) => Some(format!("dlq.{}", self.shared(Family::DeadQuery))),
            Owner::Reply(_) => Some(format!("dlq.{}", self.shared(Family::DeadReply))),
            Owner::Notice => Some(format!("dlq.{}", self.shared(Family::DeadNotice))),
        }
    }

    /// Whose topic a consumed record came through.
    pub fn owner(&self, topic: &str) -> Option<Owner> {
        if topic == self.notice() {
            return Some(Owner::Notice);
        }
        let rest = topic.strip_prefix(&self.prefix)?.strip_prefix('.')?.strip_suffix(".v1")?;
        let (noun, party) = rest.split_once('.')?;
        match noun {
            "query" => party.parse().ok().map(Owner::Query),
            "reply" => party.parse().ok().map(Owner::Reply),
            _ => None,
        }
    }

    /// The family of a topic with this name.
    pub fn family(&self, topic: &str) -> Option<Family> {
        let (dead, name) = topic.strip_prefix("dlq.").map_or((false, topic), |name| (true, name));
        let rest = name.strip_prefix(&self.prefix)?.strip_prefix('.')?.strip_suffix(".v1")?;
        let (noun, party) = rest.split_once('.').map_or((rest, None), |(noun, party)| (noun, Some(party)));
        let family =
            Family::ALL.into_iter().find(|family| family.noun() == noun && family.is_dead() == dead)?;
        (party.is_some() == family.is_of_parties() && party.is_none_or(is_party_id)).then_some(family)
    }

    /// Every topic that exists for these parties, with its row.
    pub fn all(&self, upstreams: &[UpstreamId], banks: &[BankId]) -> Vec<(String, Spec)> {
        Family::ALL
            .into_iter()
            .flat_map(|family| {
                let named = self.of_family(family, upstreams, banks).into_iter();
                named.map(move |(name, _)| (name, family.spec()))
            })
            .collect()
    }

    /// The topics of one family, and whose each is.
    pub(crate) fn of_family<'a>(
        &self,
        family: Family,
        upstreams: &'a [UpstreamId],
        banks: &'a [BankId],
    ) -> Vec<(String, Holder<'a>)> {
        let of_upstreams = |name: fn(&Self, &UpstreamId) -> String| {
            upstreams.iter().map(|id| (name(self, id), Holder::Upstream(id))).collect()
        };
        let of_banks = |name: fn(&Self, &BankId) -> String| {
            banks.iter().map(|id| (name(self, id), Holder::Bank(id))).collect()
        };
        match family {
            Family::Query => of_upstreams(Self::query),
            Family::Event => of_upstreams(Self::event),
            Family::Request => of_banks(Self::request),
            Family::Reply => of_banks(Self::reply),
            Family::Notice | Family::Sms | Family::Registry | Family::Audit => {
                vec![(self.shared(family), Holder::Hub)]
            }
            Family::DeadQuery | Family::DeadReply | Family::DeadNotice => {
                vec![(format!("dlq.{}", self.shared(family)), Holder::Hub)]
            }
        }
    }

    /// Consumer group of a service, for example `cardquery.aggregator`.
    pub fn group(&self, service: &str) -> String {
        format!("{}.{service}", self.prefix)
    }

    /// Consumer group of a bank's connector.
    pub fn connector_group(&self, bank: &BankId) -> String {
        format!("{}.connector.{bank}", self.prefix)
    }

    fn shared(&self, family: Family) -> String {
        format!("{}.{}.v1", self.prefix, family.noun())
    }

    fn of_party(&self, family: Family, party: &str) -> String {
        format!("{}.{}.{party}.v1", self.prefix, family.noun())
    }
}

/// Whose mailbox a topic is; the hub's own topics are nobody's.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holder<'a> {
    Upstream(&'a UpstreamId),
    Bank(&'a BankId),
    Hub,
}

/// Whose topic it is, for the topics that the hub consumes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// An upstream's query topic.
    Query(UpstreamId),
    /// A bank's reply topic.
    Reply(BankId),
    /// The notice topic.
    Notice,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids<T: std::str::FromStr>(names: &[&str]) -> Vec<T> {
        names.iter().map(|name| name.parse().ok().expect("an id")).collect()
    }

    #[test]
    fn one_upstream_and_fourteen_banks_have_37_topics() {
        let banks: Vec<String> = (0..14).map(|n| format!("bank{n}")).collect();
        let banks: Vec<BankId> = banks.iter().map(|name| name.parse().expect("an id")).collect();
        let all = Topics::default().all(&ids(&["wallet"]), &banks);
        assert_eq!(all.len(), 37);
        assert_eq!(all.iter().map(|(name, _)| name).collect::<std::collections::BTreeSet<_>>().len(), 37);
    }

    #[test]
    fn the_table_is_the_one_of_the_design() {
        let rows: Vec<String> = Topics::default()
            .all(&ids(&["wallet"]), &ids(&["alpha"]))
            .into_iter()
            .map(|(name, spec)| {
                let config: Vec<String> =
                    spec.config().into_iter().map(|(key, value)| format!("{key}={value}")).collect();
                format!("{name} {} {}", spec.partitions, config.join(" "))
            })
            .collect();
        let expected = include_str!("../golden/topics.txt");
        assert_eq!(rows.join("\n"), expected.trim_end(), "golden/topics.txt is part of the contract");
    }

    #[test]
    fn a_topic_leads_back_to_its_owner_and_a_foreign_one_to_nobody() {
        let topics = Topics::default();
        let wallet: UpstreamId = "wallet".parse().expect("an id");
        let alpha: BankId = "alpha".parse().expect("an id");
        assert_eq!(topics.owner(&topics.query(&wallet)), Some(Owner::Query(wallet.clone())));
        assert_eq!(topics.owner(&topics.reply(&alpha)), Some(Owner::Reply(alpha.clone())));
        assert_eq!(topics.owner(&topics.notice()), Some(Owner::Notice));
        for foreign in ["cardquery.request.alpha.v1", "other.reply.alpha.v1", "cardquery.reply.al.pha.v1", ""]
        {
            assert_eq!(topics.owner(foreign), None, "{foreign}");
        }
        assert_eq!(topics.dead_letter(&topics.reply(&alpha)).as_deref(), Some("dlq.cardquery.reply.v1"));
        assert_eq!(topics.dead_letter(&topics.request(&alpha)), None);
    }

    #[test]
    fn sealed_content_dies_before_the_erase_instant() {
        // The broker deletes whole segments, looks every five minutes and waits a minute more: an hour covers it.
        for family in Family::ALL {
            let spec = family.spec();
            if let (Some(written), Cleanup::Delete(retention)) = (spec.sealed_until, spec.cleanup) {
                assert!(written + retention + spec.segment + HOUR <= EARLIEST_ERASURE, "{family:?}");
            }
        }
    }

    #[test]
    fn every_topic_is_one_of_its_family_and_no_other_name_is() {
        let (topics, upstreams, banks) =
            (Topics::default(), ["wallet".parse().expect("an id")], ["alpha".parse().expect("an id")]);
        for family in Family::ALL {
            for (name, _) in topics.of_family(family, &upstreams, &banks) {
                assert_eq!(topics.family(&name), Some(family), "{name}");
            }
        }
        for other in [
            "cardquery.query.v1",
            "cardquery.notice.alpha.v1",
            "dlq.cardquery.sms.v1",
            "cardquery.reply.No Bank.v1",
            "other.notice.v1",
            "cardquery.notice.v2",
        ] {
            assert_eq!(topics.family(other), None, "{other}");
        }
    }
}
