//! How the cluster differs from the table of topics, access lists and users: the plan of `cardquery topics`, by line.

use std::path::Path;
use std::time::Duration;

use plumbing::doctor::{Report, State};
use plumbing::exit::Exit;
use plumbing::kafka::KafkaConfig;
use tokio::time::timeout;

use crate::config::{Config, Estate};
use crate::topics::cluster::{ApplyError, Cluster};
use crate::topics::diff::{Difference, Plan};
use crate::topics::wanted::Wanted;

const READ_WITHIN: Duration = Duration::from_secs(20);
/// A cluster that was never applied differs in every line.
const SHOWN: usize = 12;

/// Compares.
pub(super) async fn look(
    config: &Config,
    estate: &Estate,
    kafka: &KafkaConfig,
    path: Option<&Path>,
    report: &mut Report,
) {
    let wanted = Wanted::new(estate);
    let read = async {
        let cluster = Cluster::new(kafka, &config.users.passwords_dir)?;
        cluster.plan(&wanted).await
    };
    match timeout(READ_WITHIN, read).await {
        Ok(Ok(plan)) => tell(&plan, &wanted, path, report),
        Ok(Err(error)) => {
            let fix = if matches!(error, ApplyError::Disagree) {
                "wait until the brokers agree with their controller, and look again"
            } else if error.exit() == Exit::Denied {
                "kafka.properties: use a user who may describe the cluster, its access lists and its users"
            } else {
                "try again; if it stays so, look at the brokers' logs"
            };
            report.add("topics", error.to_string(), State::failed(error.exit(), fix));
        }
        Err(_) => {
            let what = format!("not read in {READ_WITHIN:?}");
            let fix = "try again; if it stays so, look at the brokers' logs";
            report.add("topics", what, State::failed(Exit::Unavailable, fix));
        }
    }
}

fn tell(plan: &Plan, wanted: &Wanted, path: Option<&Path>, report: &mut Report) {
    let apply = apply_command(path);
    for (check, kind, count) in [
        ("topics", Kind::Topic, wanted.topics.len()),
        ("acl", Kind::Acl, wanted.acls.len()),
        ("users", Kind::User, wanted.users.len()),
    ] {
        let differing: Vec<_> =
            plan.differences.iter().filter(|difference| kind_of(difference) == kind).collect();
        if differing.is_empty() {
            report.ok(check, format!("{count} as the table has them"));
        }
        for difference in differing.iter().take(SHOWN) {
            report.add(check, difference.to_string(), judged(difference, &apply));
        }
        if let Some(more) = differing.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            report.add(check, format!("and {more} more"), judged(differing[SHOWN], &apply));
        }
    }
}

fn apply_command(path: Option<&Path>) -> String {
    let config = path.map_or_else(String::new, |path| format!(" -c {}", path.display()));
    format!("cardquery topics apply{config} --execute")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Topic,
    Acl,
    User,
}

fn kind_of(difference: &Difference) -> Kind {
    match difference {
        Difference::CreateTopic { .. }
        | Difference::ChangeTopic { .. }
        | Difference::OutlivesErasure { .. }
        | Difference::Unchangeable { .. }
        | Difference::UnknownTopic { .. } => Kind::Topic,
        Difference::CreateAcl { .. } | Difference::RemoveAcl { .. } | Difference::UnremovableAcl { .. } => {
            Kind::Acl
        }
        Difference::CreateUser { .. } => Kind::User,
    }
}

fn judged(difference: &Difference, apply: &str) -> State {
    match difference {
        Difference::CreateTopic { .. }
        | Difference::ChangeTopic { .. }
        | Difference::OutlivesErasure { .. } => State::failed(Exit::BadData, apply),
        Difference::Unchangeable { .. } => {
            State::failed(Exit::BadData, "by hand: README.md, Topics, access lists and users of a cluster")
        }
        Difference::UnknownTopic { .. } => State::warning("delete it by hand, or say whose it is"),
        Difference::CreateAcl { .. } | Difference::RemoveAcl { .. } | Difference::CreateUser { .. } => {
            State::failed(Exit::Denied, apply)
        }
        Difference::UnremovableAcl { .. } => State::failed(
            Exit::Denied,
            "by hand, with kafka-acls --remove: it may be about others' topics, too",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_that_was_never_applied_is_told_in_a_few_lines() {
        let estate = Config::load(None).expect("the defaults").estate().expect("right");
        let wanted = Wanted::new(&estate);
        let plan = crate::topics::diff::diff(&wanted, &crate::topics::found::Found::default());
        let mut report = Report::default();
        tell(&plan, &wanted, Some(Path::new("etc")), &mut report);
        assert!(report.findings().len() <= 3 * (SHOWN + 1), "{report}");
        assert!(report.to_string().contains("→ cardquery topics apply -c etc --execute"), "{report}");
        assert_eq!(report.exit(), Exit::Denied);
        let mut report = Report::default();
        tell(&Plan { differences: Vec::new() }, &wanted, None, &mut report);
        assert_eq!((report.exit(), report.findings().len()), (Exit::Ok, 3));
    }
}
