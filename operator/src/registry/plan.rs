//! What an entry would change for readers, and why it must not be published.

use std::fmt;

use prost::Message;
use schemas::codes::Code;
use schemas::ids::{BankId, KeyId, UpstreamId};
use schemas::registry::{Applied, PartyName, Registry};
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use schemas::wire::{self, PartyKind};

use super::document::{Document, Key, State};

/// Why an entry must not be published.
#[derive(Debug, thiserror::Error)]
pub enum NotPublishable {
    /// Every reader would refuse it.
    #[error("readers would refuse it: {0}: {help}", help = .0.help())]
    Refused(Code),
    /// A gap in the versions makes a reader that missed none doubt its own reading.
    #[error("version {given} does not follow: the registry has {known}, so the next one is {}", known + 1)]
    Version {
        /// The registry's version, 0 for none.
        known: u64,
        /// The entry's.
        given: u64,
    },
    /// After compaction the revocation would count from this entry on.
    #[error(
        "key {key}: revoked_at must be {at}, when it was first revoked; start from `registry show --draft`"
    )]
    RevocationMoved {
        /// The key.
        key: KeyId,
        /// When it was revoked.
        at: UnixMillis,
    },
    /// A revocation counts from its own entry, not from before it.
    #[error("key {0}: revoked_at must be left out in the entry that revokes it")]
    RevocationDated(KeyId),
}

/// What an entry would change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) party: PartyName,
    /// Record key and value.
    pub(super) record: Vec<u8>,
    from: Option<Document>,
    to: Document,
}

impl Plan {
    /// Compares; `None` when the registry has this entry already.
    pub(super) fn new(
        registry: &Registry,
        record: &wire::RegistryRecord,
        to: &Document,
        now: UnixMillis,
    ) -> Result<Option<Self>, NotPublishable> {
        let party: PartyName = to.party.parse().map_err(NotPublishable::Refused)?;
        let value = record.encode_to_vec();
        let applied = registry.clone().apply(party.as_str().as_bytes(), &value, now);
        if applied.map_err(NotPublishable::Refused)? == Applied::Known {
            return Ok(None);
        }
        let known = registry.party(&party);
        let version = known.map_or(0, schemas::registry::Party::version);
        if to.version != version + 1 {
            return Err(NotPublishable::Version { known: version, given: to.version });
        }
        for key in &to.keys {
            let Some(id) = key.id() else { continue };
            let at = known
                .and_then(|party| party.keys().iter().find(|known| known.id() == id)?.revoked_at())
                .map(|at| (at, at.to_string()));
            match (at, &key.revoked_at) {
                (Some((_, text)), Some(given)) if text == *given => {}
                (Some((at, _)), _) => return Err(NotPublishable::RevocationMoved { key: id, at }),
                (None, Some(_)) => return Err(NotPublishable::RevocationDated(id)),
                (None, None) => {}
            }
        }
        let from = known.and_then(|party| Document::of_party(party).ok());
        Ok(Some(Self { party, record: value, from, to: to.clone() }))
    }

    /// The topics that the party needs to work, where this entry is what lets it begin.
    pub(super) fn topics_to_begin(&self, topics: &Topics) -> Vec<String> {
        let took_part = self.from.as_ref().is_some_and(|from| from.state != State::Left);
        if took_part || self.to.state != State::Active {
            return Vec::new();
        }
        let (kind, id) = self.party.parts();
        match kind {
            PartyKind::Bank => id
                .parse::<BankId>()
                .map(|bank| vec![topics.request(&bank), topics.reply(&bank)])
                .unwrap_or_default(),
            PartyKind::Upstream => id
                .parse::<UpstreamId>()
                .map(|upstream| vec![topics.query(&upstream), topics.event(&upstream)])
                .unwrap_or_default(),
            PartyKind::Hub | PartyKind::Notifier | PartyKind::Unspecified => Vec::new(),
        }
    }
}

/// What a person reviews.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { party, from, to, .. } = self;
        let Some(from) = from else {
            writeln!(
                f,
                "+ {party}  version {}  {}  {}",
                to.version,
                to.state.as_str(),
                to.regions.join(" ")
            )?;
            return to.keys.iter().try_for_each(|key| writeln!(f, "  + {}", Line(key)));
        };
        writeln!(f, "~ {party}  version {} → {}", from.version, to.version)?;
        if from.state != to.state {
            writeln!(f, "  ~ state {} → {}", from.state.as_str(), to.state.as_str())?;
        }
        if from.regions != to.regions {
            writeln!(f, "  ~ regions {} → {}", from.regions.join(" "), to.regions.join(" "))?;
        }
        if from.texts != to.texts {
            writeln!(f, "  ~ texts")?;
        }
        for key in &to.keys {
            match from.keys.iter().find(|known| known.id() == key.id()) {
                None => writeln!(f, "  + {}", Line(key))?,
                Some(known) if !known.revoked && key.revoked => writeln!(f, "  - {}, revoked", Line(key))?,
                Some(_) => {}
            }
        }
        Ok(())
    }
}

struct Line<'a>(&'a Key);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(key) = self;
        write!(f, "key {} {}", key.r#use.as_str(), key.id().map(|id| id.to_string()).unwrap_or_default())?;
        match &key.valid_from {
            None => Ok(()),
            Some(from) => write!(f, " valid from {from}"),
        }
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
