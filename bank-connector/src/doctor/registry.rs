//! What the registry says about this bank and its keys.

use plumbing::doctor::{Report, State};
use plumbing::exit::Exit;
use plumbing::kafka::KafkaConfig;
use plumbing::registry::{self, Read};
use schemas::codes::Code;
use schemas::ids::KeyId;
use schemas::registry::{Party, PartyName, Registry};
use schemas::time::UnixMillis;
use schemas::topics::Topics;
use schemas::wire::{KeyUse, PartyState};

use crate::config::Config;
use crate::secrets::Secrets;

const CHECK: &str = "registry";

/// Reads the registry and compares.
pub(super) async fn look(
    config: &Config,
    kafka: &KafkaConfig,
    secrets: Option<&Secrets>,
    now: UnixMillis,
    report: &mut Report,
) {
    let roots = config.registry.roots.len();
    if config.registry.allow_sample_roots {
        let fix =
            "registry.allow_sample_roots = false, and the operator's roots, before anything real is asked";
        report.add(CHECK, format!("{roots} roots, and the sample's are allowed"), State::warning(fix));
    } else {
        report.ok(CHECK, format!("{roots} roots, none of the sample's"));
    }
    match registry::read(kafka, Topics::new(&config.prefix).registry(), &config.registry).await {
        Ok(read) => {
            let name = PartyName::bank(&config.bank);
            entries(&read, &name, report);
            if let Some(party) = read.registry.party(&name) {
                report_keys(party, secrets, now, report);
            }
        }
        Err(error) => {
            let fix = "mend what is denied or unavailable above; a damaged registry.seen_file is asked for from the operator";
            report.add(CHECK, plumbing::cli::causes(&error), State::failed(error.exit(), fix));
        }
    }
}

/// Lines about the entries of bank and hub.
fn entries(read: &Read, name: &PartyName, report: &mut Report) {
    for party in [name.clone(), PartyName::hub()] {
        let (what, state) = entry(&read.registry, &party, &read.refused);
        report.add(CHECK, what, state);
    }
}

fn entry(registry: &Registry, name: &PartyName, refused: &[(String, Code)]) -> (String, State) {
    let Some(party) = registry.party(name) else {
        let why = refused.iter().rev().find(|(key, _)| key == name.as_str()).map(|(_, code)| *code);
        return match why {
            Some(Code::REGISTRY_VERSION_OLD) => (
                format!("{name}: the topic is older than what was seen before"),
                State::failed(
                    Exit::BadData,
                    "stop the connector and ask the operator who replayed the registry",
                ),
            ),
            Some(code) => (
                format!("{name}: its entry is refused: {code}"),
                State::failed(Exit::BadData, "compare registry.roots with those that the operator published"),
            ),
            None => (
                format!("{name}: no entry"),
                State::failed(
                    Exit::BadData,
                    "correct bank and prefix, or ask the operator for: cardquery registry publish",
                ),
            ),
        };
    };
    let what = format!("{name}: version {}, {}", party.version(), state_name(party.state));
    let state = if party.is_active() {
        State::Ok
    } else {
        State::failed(Exit::Denied, "it takes no part: ask the operator why and for how long")
    };
    (what, state)
}

fn state_name(state: PartyState) -> &'static str {
    state.as_str_name().trim_start_matches("PARTY_STATE_")
}

fn report_keys(party: &Party, secrets: Option<&Secrets>, now: UnixMillis, report: &mut Report) {
    let Some(secrets) = secrets else {
        report.skip(CHECK, "this bank's keys", "keys");
        return;
    };
    let (what, state) = signing(party, secrets.signing_key.id(), now);
    report.add(CHECK, what, state);
    let held: Vec<KeyId> = secrets.opening_keys.iter().map(|key| key.id()).collect();
    let (what, state) = opening(party, &held, now);
    report.add(CHECK, what, state);
}

fn signing(party: &Party, held: KeyId, now: UnixMillis) -> (String, State) {
    let fault = match party.verifying_key(held, now) {
        Ok(_) => return (format!("signing key {held} is in force"), State::Ok),
        Err(code) => code,
    };
    let in_force: Vec<String> = party
        .keys()
        .iter()
        .filter(|key| key.key_use() == KeyUse::Sign && key.counts_at(now).is_ok())
        .map(|key| key.id().to_string())
        .collect();
    let in_force = if in_force.is_empty() { "none".to_owned() } else { in_force.join(", ") };
    let (word, fix) = if fault == Code::KEY_REVOKED {
        ("is revoked", "name the file of a key in force in signing_key_file")
    } else if fault == Code::KEY_NOT_YET_VALID {
        ("is not in force yet", "go on with the key before it until it is")
    } else {
        (
            "is not this bank's",
            "name the file of a key in force in signing_key_file, or publish its public half",
        )
    };
    (format!("signing key {held} {word}; in force: {in_force}"), State::failed(Exit::Config, fix))
}

fn opening(party: &Party, held: &[KeyId], now: UnixMillis) -> (String, State) {
    match party.sealing_key(now).map(|key| key.id()) {
        Ok(sealed_to) if held.contains(&sealed_to) => {
            (format!("identities are sealed to {sealed_to}, which is held"), State::Ok)
        }
        Ok(sealed_to) => (
            format!("identities are sealed to {sealed_to}, which is not held"),
            State::failed(Exit::Config, "name its file in opening_key_files, before any retired one"),
        ),
        Err(_) => (
            "no key that identities are sealed to is in force".to_owned(),
            State::failed(
                Exit::BadData,
                "ask the operator for: cardquery registry publish, with an opening key",
            ),
        ),
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
