//! The registry as it was: every entry that the topic still has, in the order in which it came into force.

use std::collections::BTreeMap;

use plumbing::kafka::Record;
use schemas::ids::{BankId, UpstreamId};
use schemas::keys::VerifyingKey;
use schemas::registry::{Applied, Party, PartyName, Registry, SeenVersions};
use schemas::time::UnixMillis;

/// Every version of every party.
#[derive(Debug)]
pub struct History {
    versions: BTreeMap<PartyName, Vec<Version>>,
    newest: Registry,
}

#[derive(Debug)]
struct Version {
    offset: i64,
    appended_at: UnixMillis,
    party: Party,
}

/// Whether a bank took part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It did, or the registry did not have it.
    Active,
    /// It was suspended, or had left.
    Suspended,
    /// Compaction removed an entry that would tell.
    Unknown,
}

impl History {
    /// From the records of the registry topic, in their order. What readers refuse is passed over, as they do.
    pub fn new(roots: Vec<VerifyingKey>, records: &[Record]) -> Self {
        let mut history =
            Self { versions: BTreeMap::new(), newest: Registry::new(roots, SeenVersions::default()) };
        // Once more from the beginning when versions may have been compacted away; what is known is not taken twice.
        while history.read(records) {}
        history
    }

    fn read(&mut self, records: &[Record]) -> bool {
        for record in records {
            let (key, at) = (record.key.as_deref().unwrap_or_default(), UnixMillis(record.append_time_ms));
            match self.newest.apply(key, &record.value, at) {
                Ok(Applied::Changed) => self.note(key, record.position.offset, at),
                Ok(Applied::Known) => {}
                Err(_) if self.newest.begins_again() => return true,
                Err(_) => {}
            }
        }
        false
    }

    fn note(&mut self, key: &[u8], offset: i64, appended_at: UnixMillis) {
        let name = std::str::from_utf8(key).ok().and_then(|text| text.parse::<PartyName>().ok());
        let Some(name) = name else { return };
        if let Some(party) = self.newest.party(&name) {
            let version = Version { offset, appended_at, party: party.clone() };
            self.versions.entry(name).or_default().push(version);
        }
    }

    /// The newest registry.
    pub fn newest(&self) -> &Registry {
        &self.newest
    }

    /// The versions of a bank by which the hub may have judged a record that was appended at `appended_at`, for a report that
    /// was judged with the registry before the offset `before`; the last is that of the report.
    pub fn of_bank(&self, bank: &BankId, appended_at: UnixMillis, before: i64) -> Vec<&Party> {
        self.between(&PartyName::bank(bank), appended_at, before)
    }

    /// Every version of an upstream.
    pub fn of_upstream(&self, upstream: &UpstreamId) -> impl DoubleEndedIterator<Item = &Party> {
        let versions = self.versions.get(&PartyName::upstream(upstream));
        versions.into_iter().flatten().map(|version| &version.party)
    }

    fn between(&self, name: &PartyName, appended_at: UnixMillis, before: i64) -> Vec<&Party> {
        let Some(versions) = self.versions.get(name) else { return Vec::new() };
        // Keys are never dropped and never moved: an entry that came later says of them what a removed one said.
        let last = |found: Option<usize>| found.unwrap_or(0);
        let then = last(versions.iter().rposition(|version| version.appended_at <= appended_at));
        let judged = last(versions.iter().rposition(|version| version.offset < before));
        let range = then.min(judged)..=judged;
        versions[range].iter().map(|version| &version.party).collect()
    }

    /// Whether a bank took part for a report that was judged with the registry before the offset `before`.
    pub fn standing(&self, bank: &BankId, before: i64) -> Standing {
        let versions = self.versions.get(&PartyName::bank(bank)).map_or(&[][..], Vec::as_slice);
        let judged = versions.iter().rposition(|version| version.offset < before);
        let number = |index: usize| versions.get(index).map(|version| version.party.version());
        let (party, next) = match judged {
            Some(judged) => (Some(&versions[judged].party), number(judged + 1)),
            None => (None, number(0)),
        };
        let known = party.map_or(0, Party::version);
        match party {
            _ if next.is_some_and(|next| next > known + 1) => Standing::Unknown,
            Some(party) if !party.is_active() => Standing::Suspended,
            Some(_) | None => Standing::Active,
        }
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
pub(super) mod tests;
