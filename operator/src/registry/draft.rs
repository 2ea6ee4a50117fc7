//! The next entry of a party after one change.

use std::collections::BTreeSet;

use schemas::ids::KeyId;
use schemas::registry::PartyName;

use super::document::{Document, Key, State, Texts};

/// A change that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DraftError {
    /// The party is in that state, or in one that does not lead there.
    #[error("{party} is {}, so it cannot {verb}", state.as_str())]
    State {
        /// The party.
        party: String,
        /// Its state.
        state: State,
        /// What was asked.
        verb: &'static str,
    },
    /// The party has no such key.
    #[error("{party} has no key {key}")]
    KeyUnknown {
        /// The party.
        party: String,
        /// The key.
        key: KeyId,
    },
    /// The key is revoked.
    #[error("key {0} is revoked already")]
    RevokedAlready(KeyId),
    /// The party has this key.
    #[error("{0} has this key already: a key is never used again")]
    KeyKnown(String),
    /// No key was given.
    #[error("--sign or --seal is needed")]
    NoKey,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Takes no part for a while.
    Suspend,
    /// Takes part again.
    Resume,
    /// Takes no part any more.
    Leave,
    /// New keys beside the old ones.
    Rotate(Vec<Key>),
    /// A key that counts no more, and what replaces it.
    Revoke(KeyId, Vec<Key>),
    /// Other regions or texts; or the same again, with the times of revocations that were new before.
    Amend(Option<BTreeSet<String>>, Option<Texts>),
}

/// The first entry of a party.
pub fn join(party: &PartyName, regions: &BTreeSet<String>, texts: Option<Texts>, keys: Vec<Key>) -> Document {
    let regions = regions.iter().cloned().collect();
    Document { party: party.to_string(), version: 1, state: State::Active, regions, keys, texts }
}

/// The entry after `previous`.
///
/// # Errors
/// [`DraftError`].
pub fn next(previous: &Document, change: Change) -> Result<Document, DraftError> {
    let mut next = Document { version: previous.version.saturating_add(1), ..previous.clone() };
    let state = |to: State, from: &[State], verb| {
        let wrong = || DraftError::State { party: previous.party.clone(), state: previous.state, verb };
        from.contains(&previous.state).then_some(to).ok_or_else(wrong)
    };
    match change {
        Change::Suspend => next.state = state(State::Suspended, &[State::Active], "be suspended")?,
        Change::Resume => next.state = state(State::Active, &[State::Suspended, State::Left], "resume")?,
        Change::Leave => next.state = state(State::Left, &[State::Active, State::Suspended], "leave")?,
        Change::Rotate(keys) if keys.is_empty() => return Err(DraftError::NoKey),
        Change::Rotate(keys) => add(&mut next, keys)?,
        Change::Revoke(id, replacements) => {
            let party = || previous.party.clone();
            let key = next.keys.iter_mut().find(|key| key.id() == Some(id));
            let key = key.ok_or_else(|| DraftError::KeyUnknown { party: party(), key: id })?;
            if std::mem::replace(&mut key.revoked, true) {
                return Err(DraftError::RevokedAlready(id));
            }
            add(&mut next, replacements)?;
        }
        Change::Amend(regions, texts) => {
            next.regions = regions.map_or(next.regions, |regions| regions.into_iter().collect());
            next.texts = texts.or(next.texts);
        }
    }
    Ok(next)
}

/// New keys stand last: of two that count from the same time, the last one is sealed to.
fn add(document: &mut Document, keys: Vec<Key>) -> Result<(), DraftError> {
    for key in keys {
        if document.keys.iter().any(|known| known.public.eq_ignore_ascii_case(&key.public)) {
            return Err(DraftError::KeyKnown(document.party.clone()));
        }
        document.keys.push(key);
    }
    Ok(())
}

#[cfg(test)]
#[path = "draft_tests.rs"]
mod tests;
