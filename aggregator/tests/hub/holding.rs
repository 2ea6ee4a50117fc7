//! A query is held, and released or not.

use std::time::Duration;

use aggregator::domain::audit;
use aggregator::domain::hold::{Held, HoldTimes};
use aggregator::domain::risk::Decision;
use aggregator::store::Store as _;
use schemas::audit::Leaf;
use schemas::codes::Code;
use schemas::ids::Digest;
use schemas::time::UnixMillis;
use schemas::wire::{Pretext, RiskSignals, event_record::Message};

use crate::parties::{Query, bank, now};
use crate::stand::{DAY, Hub, Told, message_id, with_long_windows};

const HOUR: Duration = Duration::from_secs(3_600);
/// By the defaults.
const HOLD: HoldTimes = HoldTimes { cooling_off: HOUR.saturating_mul(2), longest: HOUR.saturating_mul(72) };

fn hours_ago(hours: u32) -> UnixMillis {
    now().before(HOUR * hours)
}

/// Good when it is appended at `at`, by somebody who was told to ask.
fn pressed(at: UnixMillis, banks: &[&str]) -> Query {
    Query::at(at, banks, |query| query.risk.pretext = Pretext::SecurityVerification.into())
}

fn held(told: &Told) -> (&str, UnixMillis) {
    let Message::Held(held) = &told.message else { panic!("{told:?}") };
    (&held.code, UnixMillis(held.release_from_ms))
}

async fn leaves(hub: &Hub, query: &Query) -> Vec<Leaf> {
    hub.store.leaves(&query.reference).await.expect("a store in memory")
}

#[test]
fn a_held_query_asks_nobody_and_its_release_starts_the_clock_with_a_consent_of_its_own() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let at = hours_ago(3);
        let query = pressed(at, &["alpha", "beta"]);
        let sent = stand.submit_at(&query, at).await;
        let told = stand.until_told(&query, &["held"]).await;
        assert_eq!(held(&told[0]), ("HELD_FOR_RISK", at + HOLD.cooling_off));
        stand.handled(hub, &sent).await;
        assert_eq!(["alpha", "beta"].map(|id| stand.asked_records(&query, id).len()), [0, 0]);
        let status = hub.status(&query).await;
        assert_eq!((status.state.as_str(), status.code.as_deref()), ("HELD", Some("HELD_FOR_RISK")));
        let hold = status.hold.expect("a held query says until when");
        assert_eq!(hold.release_from, (at + HOLD.cooling_off).to_string());
        assert_eq!(hold.release_until, (at + HOLD.longest).to_string());
        assert_eq!(hub.store.contact(&query.reference).await.expect("stored"), None);
        assert_eq!(hub.view(&query, query.grant(|_| ())).await.code(), Code::REPORT_NOT_READY);

        let at = now();
        let release = query.release(at, |_| ());
        let sent = stand.release_at(&release, at).await;
        let told = stand.until_told(&query, &["held", "accepted"]).await;
        let Message::Accepted(accepted) = &told[1].message else { panic!("{told:?}") };
        assert_eq!(accepted.accepted_at_ms, at.0);
        assert_eq!(accepted.deadline_at_ms, (at + DAY.length).0);
        for id in ["alpha", "beta"] {
            let request = stand.until_asked(&query, id, 1).await.remove(0);
            assert_eq!((request.header.accepted_at, request.header.attempt), (at, 1));
            assert_eq!(request.header.statement_sha256, release.statement_sha256(&bank(id)));
        }
        stand.handled(hub, &sent).await;
        assert_eq!(["alpha", "beta", "gamma"].map(|id| stand.asked(&query, id).len()), [1, 1, 0]);
        assert!(hub.store.contact(&query.reference).await.expect("stored").is_some());
        let leaves = leaves(hub, &query).await;
        let registered = hub.store.query(&query.reference).await.expect("stored").expect("is there");
        assert_eq!(registered.record, sent.position);
        for id in ["held", "released"].map(|kind| message_id(&query, &format!("audit/{kind}"))) {
            assert_eq!(leaves.iter().filter(|leaf| leaf.id().to_string() == id).count(), 1);
        }
        // Two decisions, a hold and a release.
        assert_eq!(leaves.len(), 4);

        stand.reply(&release, "alpha", release.answer("alpha")).await;
        stand.reply(&release, "beta", release.answer("beta")).await;
        hub.until_state(&query, "FINAL_ALL_ANSWERED").await;
        assert_eq!(release.open(&hub.report(&release).await).coverage.accepted_at, at);
        assert_eq!(stand.until_notices(&query, 1).await.len(), 1);
    });
}

#[test]
fn a_release_that_may_not_be_is_refused_with_its_code_and_audited_and_the_query_stays_held() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let start = hours_ago(10);
        let query = pressed(start, &["alpha"]);
        stand.submit_at(&query, start).await;
        stand.until_told(&query, &["held"]).await;
        type Change = fn(&mut Query);
        let cases: [(u32, Code, Change); 6] = [
            (1, Code::HOLD_NOT_OVER, |_| ()),
            (2, Code::ID_REUSED, |release| release.banks.push(bank("beta"))),
            (2, Code::ID_REUSED, |release| release.releases = Some(Digest::of(b"another"))),
            (2, Code::WARNING_NOT_ACKNOWLEDGED, |release| release.scam_warning_acknowledged = false),
            (3, Code::HELD_FOR_RISK, |release| release.risk.screen_shared = true),
            (4, Code::HOLD_NOT_OVER, |_| ()),
        ];
        let mut names = vec!["held"];
        for (hours, code, change) in cases {
            let at = start + HOUR * hours;
            let release = query.release(at, change);
            let sent = stand.release_at(&release, at).await;
            stand.handled(hub, &sent).await;
            let status = hub.status(&query).await;
            assert_eq!(
                (status.state.as_str(), status.code.as_deref()),
                ("HELD", Some(code.as_str())),
                "{hours}"
            );
            assert_eq!(stand.buried(&sent), [""; 0], "{code}");
            let leaf = audit::release_refused(&query.reference, &sent.position, code);
            assert!(leaves(hub, &query).await.contains(&leaf), "{code}");
            names.push("held");
        }
        let told = stand.until_told(&query, &names).await;
        assert_eq!(held(&told[5]), ("HELD_FOR_RISK", start + HOUR * 5), "the time to think starts again");
        assert_eq!(held(&told[6]), ("HOLD_NOT_OVER", start + HOUR * 5));
        assert_eq!(stand.asked_records(&query, "alpha").len(), 0);

        // A consent of another query, and then the release that may be.
        let at = start + HOUR * 5;
        let used = query.release(at, |release| release.terms.nonce = query.terms.nonce);
        let sent = stand.release_at(&used, at).await;
        stand.handled(hub, &sent).await;
        assert_eq!(hub.status(&query).await.code.as_deref(), Some("CONSENT_ALREADY_USED"));
        let release = query.release(at, |_| ());
        stand.release_at(&release, at).await;
        stand.until_asked(&query, "alpha", 1).await;

        // Nothing is held any more.
        let at = start + HOUR * 6;
        let again = query.release(at, |_| ());
        let sent = stand.release_at(&again, at).await;
        stand.handled(hub, &sent).await;
        let leaf = audit::release_refused(&query.reference, &sent.position, Code::NOT_HELD);
        assert!(leaves(hub, &query).await.contains(&leaf));
        assert_eq!(stand.asked(&query, "alpha").len(), 1);
        assert_eq!(hub.status(&query).await.state, "COLLECTING");
    });
}

#[test]
fn a_release_of_a_query_that_nobody_has_is_a_dead_letter() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = pressed(now(), &["alpha"]);
        let release = query.release(now(), |_| ());
        let sent = stand.release_at(&release, now()).await;
        assert_eq!(stand.until_buried(&sent).await, "NOT_HELD");
        assert_eq!(hub.get(&Hub::path(&query)).await.code(), Code::QUERY_NOT_FOUND);
        assert_eq!(stand.told(&query), [""; 0]);
    });
}

#[test]
fn a_held_query_that_is_not_released_in_time_is_cancelled_and_asked_nobody() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let at = now().before(HOLD.longest + DAY.grace + Duration::from_secs(1));
        let query = pressed(at, &["alpha"]);
        stand.submit_at(&query, at).await;
        let told = stand.until_told(&query, &["held", "cancelled"]).await;
        let Message::Cancelled(cancelled) = &told[1].message else { panic!("{told:?}") };
        assert_eq!(cancelled.code, "HOLD_EXPIRED");
        let status = hub.status(&query).await;
        assert_eq!((status.state.as_str(), status.code.as_deref()), ("CANCELLED", Some("HOLD_EXPIRED")));
        assert_eq!(status.hold, None);
        assert_eq!(hub.view(&query, query.grant(|_| ())).await.code(), Code::HOLD_EXPIRED);
        let ids: Vec<String> = leaves(hub, &query).await.iter().map(|leaf| leaf.id().to_string()).collect();
        assert!(ids.contains(&message_id(&query, "audit/cancelled")));

        // Its person may ask anew; the cancelled one is not released.
        let at = now();
        let sent = stand.release_at(&query.release(at, |_| ()), at).await;
        stand.handled(hub, &sent).await;
        assert_eq!(hub.status(&query).await.state, "CANCELLED");
        let next = Query::but(&["alpha"], |next| next.subject = query.subject.clone());
        stand.submit(&next).await;
        stand.until_told(&next, &["accepted"]).await;
        assert_eq!(stand.asked_records(&query, "alpha").len(), 0);
    });
}

#[test]
fn a_held_query_is_withdrawn_and_one_that_was_withdrawn_before_is_never_held() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let at = hours_ago(3);
        let query = pressed(at, &["alpha"]);
        stand.submit_at(&query, at).await;
        stand.until_told(&query, &["held"]).await;
        stand.revoke(&query).await;
        stand.until_told(&query, &["held", "withdrawn"]).await;
        let sent = stand.release_at(&query.release(now(), |_| ()), now()).await;
        stand.handled(hub, &sent).await;
        assert_eq!(hub.status(&query).await.state, "WITHDRAWN");

        let first = pressed(at, &["alpha"]);
        stand.revoke(&first).await;
        let sent = stand.submit_at(&first, at).await;
        stand.until_told(&first, &["withdrawn"]).await;
        stand.handled(hub, &sent).await;
        assert_eq!(stand.told(&first), ["withdrawn"]);
        for query in [&query, &first] {
            assert_eq!(stand.asked_records(query, "alpha").len(), 0);
            assert_eq!(stand.cancelled(query, "alpha"), 0);
        }
    });
}

/// The rule in words, written without looking at the table: whoever is told to ask, watched or steered waits; so does
/// whoever shows two of the weaker signs, of which a missing answer is one.
fn expected(risk: &RiskSignals) -> Decision {
    let answer = risk.pretext();
    let somebody = !matches!(answer, Pretext::None | Pretext::Unspecified);
    let signs = [risk.on_call, risk.new_device, answer == Pretext::Unspecified];
    let signs = signs.iter().filter(|sign| **sign).count();
    match (somebody || risk.screen_shared || risk.remote_control, signs) {
        (true, _) | (false, 2..) => Decision::Hold,
        (false, 1) => Decision::Warn,
        (false, 0) => Decision::Allow,
    }
}

#[test]
fn every_pretext_with_every_combination_of_signals_is_decided_by_the_hub_and_audited() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let each = (0..12 * 16).map(|number| async move {
            let bit = |bit: i32| (number / 12) & (1 << bit) != 0;
            let risk = RiskSignals {
                screen_shared: bit(0),
                on_call: bit(1),
                remote_control: bit(2),
                new_device: bit(3),
                pretext: number % 12,
            };
            let decision = expected(&risk);
            let at = now();
            let query = Query::at(at, &["alpha"], |query| query.risk = risk);
            let sent = stand.submit_at(&query, at).await;
            let told = if decision == Decision::Hold { "held" } else { "accepted" };
            stand.until_told(&query, &[told]).await;
            let leaf = audit::risk(&query.reference, &sent.position, &risk, decision);
            let leaves = leaves(hub, &query).await;
            assert!(leaves.contains(&leaf), "{risk:?}");
            let stored = hub.store.query(&query.reference).await.expect("stored").expect("is there");
            if decision == Decision::Hold {
                assert!(leaves.contains(&audit::held(&stored, &Held::new(at, &HOLD, 1))), "{risk:?}");
                assert_eq!(stand.asked_records(&query, "alpha").len(), 0);
            } else {
                stand.until_asked(&query, "alpha", 1).await;
            }
        });
        futures::future::join_all(each).await;
    });
}
