//! A gate is closed.

use std::time::Duration;

use aggregator::domain::risk::Decision;
use schemas::codes::Code;
use schemas::ids::Digest;
use schemas::time::UnixMillis;
use schemas::wire::{Assurance, Purpose, event_record::Message};

use crate::parties::{Query, REGION, now};
use crate::stand::{DAY, Hub, MAX_FACTOR_AGE, Stand, broker, message_id, with_long_windows};

/// Submits and expects the rejection with `code`: told once, asking nobody, shown in the status.
async fn is_rejected(stand: &Stand, hub: &Hub, query: &Query, code: Code) {
    let sent = stand.submit(query).await;
    let told = stand.until_told(query, &["rejected"]).await.remove(0);
    let Message::Rejected(rejected) = &told.message else { panic!("{told:?}") };
    assert_eq!(rejected.code, code.as_str());
    assert_eq!(told.id, message_id(query, "event/rejected"));
    stand.handled(hub, &sent).await;
    assert_eq!(stand.told(query), ["rejected"]);
    for bank in ["alpha", "beta", "gamma", "asleep", "far", "omega"] {
        assert_eq!(stand.asked_records(query, bank).len(), 0, "{code} {bank}");
    }
    let status = hub.status(query).await;
    assert_eq!((status.state.as_str(), status.code.as_deref()), ("REJECTED", Some(code.as_str())));
    assert_eq!(stand.notices(query).len(), 0);
    assert_eq!(hub.view(query, query.grant(|_| ())).await.code(), Code::QUERY_REJECTED);
}

#[test]
fn a_query_at_a_closed_gate_is_told_so_with_the_code_and_asks_nobody() {
    type Change = fn(&mut Query);
    let cases: [(Code, &[&str], Change); 11] = [
        (Code::REGION_NOT_OPEN, &["alpha"], |query| query.region = "440300".into()),
        (Code::BANK_UNKNOWN, &["alpha", "omega"], |_| ()),
        (Code::BANK_NOT_ACTIVE, &["alpha", "asleep"], |_| ()),
        (Code::BANK_NOT_IN_REGION, &["alpha", "far"], |_| ()),
        (Code::FACTORS_TOO_FEW, &["alpha"], |query| {
            query.terms.factors.pop();
        }),
        (Code::FACTOR_TOO_OLD, &["alpha"], |query| {
            query.terms.factors[0].at_ms = now().before(MAX_FACTOR_AGE).0 - 1
        }),
        (Code::ASSURANCE_TOO_LOW, &["alpha"], |query| query.terms.assurance = Assurance::SelfDeclared),
        (Code::CONSENT_TEXT_UNKNOWN, &["alpha"], |query| query.terms.consent_text = Digest::of(b"other")),
        (Code::WARNING_NOT_ACKNOWLEDGED, &["alpha"], |query| query.scam_warning_acknowledged = false),
        (Code::CONSENT_EXPIRED, &["alpha"], |query| {
            query.terms.expires_at = now().before(Duration::from_secs(1))
        }),
        (Code::CONSENT_NOT_YET_VALID, &["alpha"], |query| {
            query.terms.issued_at = now() + Duration::from_secs(60);
        }),
    ];
    with_long_windows(async |shared| {
        let each = cases.map(|(code, banks, change)| async move {
            is_rejected(&shared.stand, &shared.hub, &Query::but(banks, change), code).await;
        });
        futures::future::join_all(each).await;
    });
}

#[test]
fn a_consent_serves_one_query_and_a_rejected_query_uses_up_none() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let closed = Query::but(&["alpha"], |query| query.region = "440300".into());
        is_rejected(stand, hub, &closed, Code::REGION_NOT_OPEN).await;
        let nonce = closed.terms.nonce;
        let first = Query::but(&["alpha"], |query| query.terms.nonce = nonce);
        stand.submit(&first).await;
        stand.until_told(&first, &["accepted"]).await;
        let second = Query::but(&["beta"], |query| query.terms.nonce = nonce);
        is_rejected(stand, hub, &second, Code::CONSENT_ALREADY_USED).await;
        assert_eq!(hub.status(&first).await.state, "COLLECTING");
    });
}

#[test]
fn expiry_and_age_are_judged_at_the_append_time_to_the_millisecond() {
    with_long_windows(async |shared| {
        let stand = &shared.stand;
        // An hour ago everything was in order; read today, consent and factors are long out of date.
        let at = now().before(Duration::from_secs(3_600));
        let last = |query: &mut Query| {
            query.terms.expires_at = at;
            query.terms.factors[0].at_ms = at.before(MAX_FACTOR_AGE).0;
        };
        let on_time = Query::at(at, &["alpha"], last);
        stand.submit_at(&on_time, at).await;
        stand.until_told(&on_time, &["accepted"]).await;

        for (code, late) in [
            (Code::CONSENT_EXPIRED, Query::at(at, &["alpha"], |query| query.terms.expires_at = at)),
            (
                Code::FACTOR_TOO_OLD,
                Query::at(at, &["alpha"], |query| query.terms.factors[0].at_ms = at.before(MAX_FACTOR_AGE).0),
            ),
        ] {
            stand.submit_at(&late, UnixMillis(at.0 + 1)).await;
            let told = stand.until_told(&late, &["rejected"]).await.remove(0);
            let Message::Rejected(rejected) = &told.message else { panic!("{told:?}") };
            assert_eq!(rejected.code, code.as_str());
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_is_replaced_counts_for_the_next_record() {
    let cluster = broker();
    let stand = Stand::new(&cluster, DAY).await;
    let hub = stand.start().await;
    let call = |query: &mut Query| query.risk.on_call = true;
    let before = Query::but(&["alpha"], call);
    stand.submit(&before).await;
    stand.until_told(&before, &["accepted"]).await;
    let mut config = stand.config();
    config.policy.risk.signals.on_call = Decision::Hold;
    hub.policy.replace(config.policy.policy().expect("a policy"));
    let after = Query::but(&["alpha"], call);
    stand.submit(&after).await;
    stand.until_told(&after, &["held"]).await;
    config.policy.cohorts.insert(REGION.into(), 0);
    hub.policy.replace(config.policy.policy().expect("a policy"));
    is_rejected(&stand, &hub, &Query::of(&["alpha"]), Code::COHORT_NOT_OPEN).await;
    config.policy.open_regions.clear();
    hub.policy.replace(config.policy.policy().expect("a policy"));
    is_rejected(&stand, &hub, &Query::of(&["alpha"]), Code::REGION_NOT_OPEN).await;
    hub.stop().await;
}

#[test]
fn a_query_for_no_purpose_or_another_one_is_rejected_before_any_bank_is_asked() {
    with_long_windows(async |shared| {
        let query = Query::but(&["alpha", "beta"], |query| query.terms.purpose = Purpose::Unspecified);
        is_rejected(&shared.stand, &shared.hub, &query, Code::PURPOSE_NOT_ALLOWED).await;
    });
}
