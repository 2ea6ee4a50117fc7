//! The registry as a person and as a program read it.

use std::fmt::Write;

use schemas::registry::{Key, Party, PartyName};
use schemas::time::UnixMillis;
use schemas::wire::KeyUse;
use serde::Serialize;

use super::RegistryCommandError;
use super::topic::{Refused, Topic};

#[derive(Serialize)]
struct TopicForm<'a> {
    parties: Vec<PartyForm<'a>>,
    refused: Vec<RefusedForm<'a>>,
}

#[derive(Serialize)]
struct PartyForm<'a> {
    party: &'a str,
    version: u64,
    state: &'static str,
    state_since: String,
    regions: &'a [String],
    keys: Vec<KeyForm>,
}

#[derive(Serialize)]
struct KeyForm {
    id: String,
    r#use: &'static str,
    public: String,
    valid_from: Option<String>,
    revoked_at: Option<String>,
    counts: bool,
}

#[derive(Serialize)]
struct RefusedForm<'a> {
    position: String,
    key: &'a str,
    code: &'static str,
}

/// Every party, or one, and what readers refuse.
pub(super) fn topic(
    topic: &Topic,
    only: Option<&PartyName>,
    json: bool,
    now: UnixMillis,
) -> Result<String, RegistryCommandError> {
    let parties: Vec<(&PartyName, &Party)> = match only {
        Some(name) => vec![(name, topic.party(name)?)],
        None => topic.registry.parties().collect(),
    };
    let refused = topic.refused.iter().filter(|refused| only.is_none_or(|name| refused.key == name.as_str()));
    let form = TopicForm {
        parties: parties.into_iter().map(|(name, party)| PartyForm::of(name, party, now)).collect(),
        refused: refused.map(RefusedForm::of).collect(),
    };
    if json {
        return serde_json::to_string_pretty(&form)
            .map_err(|error| RegistryCommandError::Form(error.to_string()));
    }
    Ok(form.lines())
}

impl TopicForm<'_> {
    fn lines(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let mut line = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").unwrap_or_default();
        for PartyForm { party, version, state, state_since, regions, keys } in &self.parties {
            line(format_args!(
                "{party}  version {version}  {state} since {state_since}  {}",
                regions.join(" ")
            ));
            for KeyForm { id, r#use, valid_from, revoked_at, counts, .. } in keys {
                let counts = if *counts { "counts" } else { "counts not" };
                let from = valid_from.as_ref().map_or(String::new(), |at| format!(", valid from {at}"));
                let until = revoked_at.as_ref().map_or(String::new(), |at| format!(", revoked at {at}"));
                line(format_args!("  key {use} {id}  {counts}{from}{until}"));
            }
        }
        for RefusedForm { position, key, code } in &self.refused {
            line(format_args!("refused  {position}  {key}  {code}"));
        }
        if text.is_empty() { "the registry is empty".to_owned() } else { text }
    }
}

impl<'a> PartyForm<'a> {
    fn of(name: &'a PartyName, party: &'a Party, now: UnixMillis) -> Self {
        let state = party.state.as_str_name();
        Self {
            party: name.as_str(),
            version: party.version(),
            state: state.strip_prefix("PARTY_STATE_").unwrap_or(state),
            state_since: party.state_since.to_string(),
            regions: &party.regions,
            keys: party.keys().iter().map(|key| KeyForm::of(key, now)).collect(),
        }
    }
}

impl KeyForm {
    fn of(key: &Key, now: UnixMillis) -> Self {
        let from = key.valid_from();
        Self {
            id: key.id().to_string(),
            r#use: match key.key_use() {
                KeyUse::Sign => "sign",
                KeyUse::Seal => "seal",
                KeyUse::Unspecified => "unknown",
            },
            public: hex::encode(&key.public().raw),
            valid_from: (from != UnixMillis::default()).then(|| from.to_string()),
            revoked_at: key.revoked_at().map(|at| at.to_string()),
            counts: key.counts_at(now).is_ok(),
        }
    }
}

impl<'a> RefusedForm<'a> {
    fn of(refused: &'a Refused) -> Self {
        Self { position: refused.position.to_string(), key: &refused.key, code: refused.code.as_str() }
    }
}
