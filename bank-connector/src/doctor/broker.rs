//! The way to the brokers, and what they allow.

use std::collections::BTreeSet;

use plumbing::doctor::{self, AclOperation, Need, Report, Session, State};
use plumbing::exit::Exit;
use plumbing::kafka::KafkaConfig;
use schemas::acls::User;
use schemas::ids::BankId;
use schemas::topics::{Family, Topics};

use crate::config::Config;
use crate::edge::clock::Clock;

/// Reaches the brokers and logs in.
pub(super) async fn enter(kafka: &KafkaConfig, now_ms: i64, report: &mut Report) -> Option<Session> {
    let reached = doctor::reach(&kafka.brokers, report).await;
    if reached.is_empty() {
        report.skip_all(&["tls", "sasl"], "dns/tcp");
        return None;
    }
    if !doctor::tls(kafka, &reached, now_ms, report).await {
        report.skip("sasl", "not looked at", "tls");
        return None;
    }
    doctor::log_in(kafka, report).await
}

/// Access lists, topics and clock.
pub(super) async fn look(
    config: &Config,
    kafka: &KafkaConfig,
    session: &Session,
    clock: &Clock,
    report: &mut Report,
) {
    let topics = Topics::new(&config.prefix);
    let needs = needs(config, &topics);
    if let Some((what, state)) = stranger(&config.bank, session.user.as_deref()) {
        report.add("sasl", what, state);
    }
    let partitions = doctor::access(session, &needs, report).await;
    doctor::overreach(session, topics.prefix(), &needs, report);
    for (family, name) in families(config, &topics) {
        let (what, state) = shape(&name, partitions.get(&name).copied(), family);
        report.add("topics", what, state);
    }
    let readable = [topics.request(&config.bank), topics.registry()];
    let readable: Vec<String> = readable.into_iter().filter(|name| partitions.contains_key(name)).collect();
    let now_ms = || clock().0;
    doctor::clock(kafka, &readable, now_ms, report).await;
}

/// A user who is not this bank's, though the brokers let it in: access lists are spelled for users by this name.
fn stranger(bank: &BankId, user: Option<&str>) -> Option<(String, State)> {
    let own = User::Bank(bank.clone()).to_string();
    let user = user.filter(|user| *user != own)?;
    let fix =
        format!("correct bank, or kafka.properties: sasl.username is {own} unless the operator gave another");
    Some((format!("{user} is not the user of bank {bank}"), State::warning(fix)))
}

fn families(config: &Config, topics: &Topics) -> [(Family, String); 3] {
    [
        (Family::Request, topics.request(&config.bank)),
        (Family::Reply, topics.reply(&config.bank)),
        (Family::Registry, topics.registry()),
    ]
}

fn needs(config: &Config, topics: &Topics) -> BTreeSet<Need> {
    BTreeSet::from([
        Need::topic(topics.request(&config.bank), AclOperation::Read),
        Need::topic(topics.registry(), AclOperation::Read),
        Need::topic(topics.reply(&config.bank), AclOperation::Write),
        Need::group(topics.connector_group(&config.bank)),
    ])
}

/// What a bank is shown of a topic is its partitions; what is kept how long only the operator sees.
fn shape(name: &str, partitions: Option<usize>, family: Family) -> (String, State) {
    let wanted = usize::try_from(family.spec().partitions).unwrap_or_default();
    match partitions {
        None => (name.to_owned(), State::Skipped { needs: "acl".to_owned() }),
        Some(found) if found == wanted => (format!("{name}  partitions {found}"), State::Ok),
        // Everything is folded from it in one order.
        Some(found) if family == Family::Registry => {
            let fix = "ask the operator for: cardquery topics plan";
            (format!("{name}  partitions {found}, not {wanted}"), State::failed(Exit::BadData, fix))
        }
        Some(found) => {
            let fix = "ask the operator for: cardquery topics plan";
            (format!("{name}  partitions {found}, not {wanted}"), State::warning(fix))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_a_bank_needs_is_what_the_table_gives_it() {
        let bank: BankId = "alpha".parse().expect("an id");
        let config = Config::defaults(&bank);
        let topics = Topics::new(&config.prefix);
        let user = User::Bank(bank.clone());
        assert!(stranger(&bank, Some(&user.to_string())).is_none() && stranger(&bank, None).is_none());
        assert!(stranger(&bank, Some("bank-beta")).is_some());
        let given = schemas::acls::bindings(&topics, &[], &[bank]);
        let given: BTreeMap<String, String> = given
            .into_iter()
            .filter(|binding| binding.user == user)
            .map(|binding| (binding.name, binding.operation.to_string()))
            .collect();
        let needed: BTreeMap<String, String> = needs(&config, &topics)
            .into_iter()
            .map(|need| (need.name, format!("{:?}", need.operation)))
            .collect();
        assert_eq!(given, needed);
    }

    #[test]
    fn a_registry_of_several_partitions_fails_and_a_mailbox_of_another_width_warns() {
        assert_eq!(shape("r", Some(1), Family::Registry).1, State::Ok);
        assert!(matches!(shape("r", Some(2), Family::Registry).1, State::Failed { exit: Exit::BadData, .. }));
        assert!(matches!(shape("q", Some(6), Family::Request).1, State::Warning { .. }));
        assert!(matches!(shape("q", None, Family::Request).1, State::Skipped { .. }));
    }
}
