//! `cardquery topics` as a process, on a real cluster with an authorizer.

mod deviations;
mod operator;

use cardquery_tests::stack::Stack;
use operator::{Operator, Said, login};

fn lines(said: &Said) -> Vec<&str> {
    said.stdout.lines().collect()
}

const NOTHING: &str = "0 to create, 0 to change, 0 to remove";

#[tokio::test]
async fn what_is_planned_is_applied_once_and_then_verified() {
    let operator = Operator::new(&["wallet"], &["alpha", "beta"]);

    let plan = operator.run(&["topics", "plan"]).await;
    assert_eq!(plan.exit, 0, "{}", plan.stderr);
    let topics = lines(&plan).into_iter().filter(|line| line.starts_with("+ create topic ")).count();
    assert_eq!(topics, 13, "{}", plan.stdout);
    let unexpected = lines(&plan).into_iter().rev().skip(1).find(|line| !line.starts_with("+ "));
    assert_eq!(unexpected, None, "an empty cluster needs nothing changed or removed");

    let unapplied = operator.run(&["topics", "apply"]).await;
    assert_eq!(
        (unapplied.exit, lines(&unapplied).last()),
        (0, Some(&"nothing was changed: say --execute to apply"))
    );
    assert_eq!(operator.run(&["topics", "plan"]).await.stdout, plan.stdout);

    let applied = operator.apply().await;
    assert!(applied.stdout.starts_with(&plan.stdout), "it says what it does: {}", applied.stdout);
    assert_eq!(lines(&applied).last(), Some(&"applied: the cluster matches"));

    let verified = operator.run(&["topics", "verify"]).await;
    assert_eq!((verified.exit, lines(&verified)), (0, vec![NOTHING]));
    let again = operator.apply().await;
    assert_eq!(lines(&again), [NOTHING, "applied: the cluster matches"]);
}

#[tokio::test]
async fn a_new_bank_adds_only_its_own_and_one_that_leaves_loses_only_its_rights() {
    let operator = Operator::new(&["wallet"], &["alpha"]);
    operator.apply().await;

    operator.set_parties(&["wallet"], &["alpha", "gamma"]);
    let plan = operator.run(&["topics", "plan"]).await;
    let planned = lines(&plan);
    let (summary, changes) = planned.split_last().expect("a summary");
    assert!(changes.iter().all(|line| line.starts_with("+ ") && line.contains("gamma")), "{}", plan.stdout);
    // Two topics, the access lists of both of their ends, of the auditor who reads both, of whoever puts dead letters back
    // into one, of the registry and of its group; its user may be there.
    assert!(["11 to create", "12 to create"].iter().any(|start| summary.starts_with(start)), "{summary}");
    operator.apply().await;

    operator.set_parties(&["wallet"], &["alpha"]);
    let left = operator.run(&["topics", "apply", "--execute"]).await;
    assert_eq!(left.exit, 65, "its topics are still there: {}", left.stdout);
    assert!(
        left.stdout.contains("0 to create, 0 to change, 9 to remove, 2 to change by hand"),
        "{}",
        left.stdout
    );
    let unknown: Vec<String> = ["reply", "request"]
        .map(|noun| {
            let prefix = operator.prefix();
            format!("! unknown topic {prefix}.{noun}.gamma.v1: not in the table, and never deleted")
        })
        .into();
    let verified = operator.run(&["topics", "verify"]).await;
    assert_eq!(verified.exit, 65);
    assert_eq!(lines(&verified)[..2], unknown);
}

#[tokio::test]
async fn two_prefixes_on_one_cluster_do_not_see_each_other() {
    let (one, other) = (Operator::new(&["wallet"], &["alpha"]), Operator::new(&["wallet"], &["alpha"]));
    one.apply().await;
    other.apply().await;
    for operator in [&one, &other] {
        let verified = operator.run(&["topics", "verify"]).await;
        assert_eq!((verified.exit, lines(&verified)), (0, vec![NOTHING]));
    }
}

#[tokio::test]
async fn who_may_not_alter_the_cluster_is_told_so() {
    let operator = Operator::new(&["wallet"], &["alpha"]);
    operator.apply().await;
    let stack = Stack::get();

    let wrong = operator.run_with(&["topics", "verify"], &login("admin", "wrong")).await;
    assert_eq!(wrong.exit, 77, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("invalid credentials"), "{}", wrong.stderr);

    let bank =
        operator.run_with(&["topics", "verify"], &login("bank-alpha", &stack.password("bank-alpha"))).await;
    assert_eq!((bank.exit, bank.stdout.as_str()), (77, ""), "{}", bank.stderr);
    assert!(bank.stderr.contains("ClusterAuthorizationFailed"), "{}", bank.stderr);
}
