//! What the registry lacks for the hub and the parties of the settings.

use plumbing::doctor::{Report, State};
use plumbing::exit::Exit;
use plumbing::kafka::KafkaConfig;
use plumbing::registry::{self, Read};
use schemas::registry::{Party, PartyName, Registry};
use schemas::time::UnixMillis;
use schemas::wire::{KeyUse, PartyKind};

use crate::config::{Config, Estate};

const CHECK: &str = "registry";

/// Reads the registry and compares it with the settings.
pub(super) async fn look(
    config: &Config,
    estate: &Estate,
    kafka: &KafkaConfig,
    now: UnixMillis,
    report: &mut Report,
) {
    let roots = config.registry.roots.len();
    if config.registry.allow_sample_roots {
        let fix = "registry.allow_sample_roots = false, and roots of your own, before a real person asks";
        report.add(CHECK, format!("{roots} roots, and the sample's are allowed"), State::warning(fix));
    } else {
        report.ok(CHECK, format!("{roots} roots, none of the sample's"));
    }
    match registry::read(kafka, estate.topics.registry(), &config.registry).await {
        Ok(read) => tell(&read, &names(estate), now, report),
        Err(error) => {
            let fix = "mend what is denied or unavailable above";
            report.add(CHECK, plumbing::cli::causes(&error), State::failed(error.exit(), fix));
        }
    }
}

/// Everybody who has to have an entry.
fn names(estate: &Estate) -> Vec<PartyName> {
    let upstreams = estate.upstreams.iter().map(PartyName::upstream);
    let banks = estate.banks.iter().map(PartyName::bank);
    [PartyName::hub(), PartyName::notifier()].into_iter().chain(upstreams).chain(banks).collect()
}

fn tell(read: &Read, names: &[PartyName], now: UnixMillis, report: &mut Report) {
    let mut well = 0;
    for name in names {
        match judged(&read.registry, name, now) {
            None => well += 1,
            Some((what, state)) => report.add(CHECK, format!("{name}: {what}"), state),
        }
    }
    if well > 0 {
        report.ok(CHECK, format!("{well} of {} parties active, with a key in force", names.len()));
    }
    for (name, code) in &read.refused {
        let fix =
            "cardquery registry show: a root that is not pinned here signed it, or an old version came again";
        report.add(CHECK, format!("{name}: a record is refused: {code}"), State::failed(Exit::BadData, fix));
    }
}

/// What is wrong with a party's entry.
fn judged(registry: &Registry, name: &PartyName, now: UnixMillis) -> Option<(String, State)> {
    let publish = "cardquery registry publish, signed by two of registry.roots";
    let Some(party) = registry.party(name) else {
        return Some(("no entry that these roots signed".to_owned(), State::failed(Exit::BadData, publish)));
    };
    if !party.is_active() {
        let fix = "cardquery registry shows since when; its queries are refused until it is ACTIVE again";
        return Some((format!("version {} is not ACTIVE", party.version()), State::warning(fix)));
    }
    let lacks = needed(name).into_iter().find(|(key_use, _)| !in_force(party, *key_use, now));
    lacks.map(|(_, word)| (format!("no {word} key in force"), State::failed(Exit::BadData, publish)))
}

fn needed(name: &PartyName) -> Vec<(KeyUse, &'static str)> {
    let (sign, seal) = ((KeyUse::Sign, "signing"), (KeyUse::Seal, "sealing"));
    match name.parts().0 {
        PartyKind::Bank => vec![sign, seal],
        PartyKind::Notifier => vec![seal],
        PartyKind::Hub | PartyKind::Upstream | PartyKind::Unspecified => vec![sign],
    }
}

fn in_force(party: &Party, key_use: KeyUse, now: UnixMillis) -> bool {
    party.keys().iter().any(|key| key.key_use() == key_use && key.counts_at(now).is_ok())
}

#[cfg(test)]
mod tests {
    use schemas::registry::SeenVersions;

    use super::*;
    use crate::sample;

    const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

    fn sample_registry() -> Registry {
        let mut registry = Registry::new(sample::keys::roots(), SeenVersions::default());
        for (name, value) in sample::registry::sample().records().expect("signed") {
            registry.apply(name.as_bytes(), &value, NOW).expect("accepted");
        }
        registry
    }

    #[test]
    fn a_party_without_an_entry_is_named_and_all_others_are_counted() {
        let known: Vec<PartyName> = sample_registry().parties().map(|(name, _)| name.clone()).collect();
        let mut names = known.clone();
        names.push("bank/nowhere".parse().expect("a name"));
        let read = Read { registry: sample_registry(), seen: SeenVersions::default(), refused: Vec::new() };
        let mut report = Report::default();
        tell(&read, &names, NOW, &mut report);
        let text = report.to_string();
        assert!(text.contains("bank/nowhere: no entry that these roots signed"), "{text}");
        assert!(text.contains(&format!("{} of {} parties", known.len(), names.len())), "{text}");
        assert_eq!(report.exit(), Exit::BadData);
    }

    #[test]
    fn keys_that_do_not_count_yet_do_not_count() {
        let before = UnixMillis(-1);
        let registry = sample_registry();
        for name in ["hub/hub", "notifier/notifier"] {
            let name = name.parse().expect("a name");
            assert!(judged(&registry, &name, NOW).is_none());
            assert!(judged(&registry, &name, before).is_some());
        }
    }
}
