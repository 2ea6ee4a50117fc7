//! Status and report over HTTP.

use std::time::Duration;

use aggregator::domain::refusals::Hour;
use aggregator::store::Store as _;
use schemas::audit::Leaf;
use schemas::codes::Code;
use schemas::ids::{Nonce, Reference};
use schemas::keys::OpeningKey;

use crate::parties::{Query, now, signing_key, upstream};
use crate::stand::{DAY, Hub, Stand, broker, with_long_windows};

#[test]
fn what_is_missing_and_what_is_another_upstreams_look_alike() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha"]);
        stand.submit(&query).await;
        stand.until_asked(&query, "alpha", 1).await;
        stand.reply(&query, "alpha", query.answer("alpha")).await;
        hub.until_state(&query, "FINAL_ALL_ANSWERED").await;
        let mut foreign = query.clone();
        foreign.reference = Reference { upstream: upstream("shop"), ..query.reference.clone() };
        foreign.signer = signing_key("shop");
        let missing = Query::of(&["alpha"]);
        let mut bodies = Vec::new();
        for other in [&missing, &foreign] {
            let status = hub.get(&Hub::path(other)).await;
            let report = hub.view(other, other.grant(|_| ())).await;
            assert_eq!((status.code(), report.code()), (Code::QUERY_NOT_FOUND, Code::QUERY_NOT_FOUND));
            bodies.push((status.body, report.body));
        }
        assert_eq!(bodies[0], bodies[1]);
        let other_person = query.grant(|grant| grant.subject = "subject-2".into());
        assert_eq!(hub.view(&query, other_person).await.code(), Code::QUERY_NOT_FOUND);
        for path in [
            "/v1/upstreams/wallet/queries/nonsense",
            "/v1/upstreams/No%20Name/queries/nonsense",
            "/v1/upstreams/%ff/queries/nonsense",
        ] {
            assert_eq!(hub.get(path).await.code(), Code::QUERY_NOT_FOUND, "{path}");
            let report = hub.post(&format!("{path}/report"), query.grant(|_| ())).await;
            assert_eq!(report.code(), Code::QUERY_NOT_FOUND, "{path}");
        }
    });
}

#[test]
fn a_report_is_shown_for_a_good_grant_only_and_the_same_grant_counts_as_one_view() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha", "beta"]);
        stand.submit(&query).await;
        stand.until_asked(&query, "beta", 1).await;
        stand.reply(&query, "alpha", query.answer("alpha")).await;
        hub.until_answered(&query, 1).await;
        let grant = query.grant(|_| ());
        assert_eq!(hub.view(&query, grant.clone()).await.code(), Code::REPORT_NOT_READY);
        let last = stand.reply(&query, "beta", query.answer("beta")).await;
        hub.until_state(&query, "FINAL_ALL_ANSWERED").await;

        let other = Query::of(&["alpha"]);
        let mut forged = query.clone();
        forged.signer = signing_key("shop");
        let bad = [
            (query.grant(|grant| grant.report_key = OpeningKey::generate().id()), Code::DEVICE_MISMATCH),
            (
                query.grant(|grant| grant.expires_at = now().before(Duration::from_millis(1))),
                Code::GRANT_EXPIRED,
            ),
            (query.grant(|grant| grant.expires_at = now() + Duration::from_secs(600)), Code::GRANT_INVALID),
            (other.grant(|_| ()), Code::GRANT_INVALID),
            (forged.grant(|_| ()), Code::KEY_UNKNOWN),
            (b"nonsense".as_slice().into(), Code::MESSAGE_MALFORMED),
        ];
        for (grant, code) in bad {
            assert_eq!(hub.view(&query, grant).await.code(), code);
        }
        assert!(!stand.told(&query).contains(&"viewed"));

        // The grant that came too early was not used up.
        let first = hub.view(&query, grant.clone()).await;
        assert_eq!((first.status, first.media.as_str()), (200, "application/protobuf"));
        assert!(query.open(&first.body).complete);
        let again = hub.view(&query, grant).await;
        assert_eq!(again.body, first.body);
        let nonce = Nonce([9; 16]);
        assert_eq!(hub.view(&query, query.grant(|grant| grant.nonce = nonce)).await.status, 200);
        let reused = query.grant(|grant| {
            grant.nonce = nonce;
            grant.expires_at = grant.expires_at + Duration::from_millis(1);
        });
        assert_eq!(hub.view(&query, reused).await.code(), Code::GRANT_USED);
        stand.handled(hub, &last).await;
        assert_eq!(stand.told(&query), ["accepted", "report-ready", "viewed", "viewed"]);
    });
}

#[test]
fn whatever_is_refused_is_a_problem_document() {
    with_long_windows(async |shared| {
        let hub = &shared.hub;
        let path = Hub::path(&Query::of(&["alpha"]));
        let huge = hub.post(&format!("{path}/report"), vec![0; 5_000].into()).await;
        assert_eq!((huge.status, huge.code()), (413, Code::BODY_TOO_LARGE));
        assert_eq!(hub.get("/v1/nothing").await.code(), Code::ROUTE_UNKNOWN);
        assert_eq!(hub.delete(&path).await.code(), Code::METHOD_NOT_ALLOWED);
        assert_eq!(hub.get(&format!("{path}/report")).await.code(), Code::METHOD_NOT_ALLOWED);
    });
}

#[test]
fn five_refused_grants_lock_the_views_of_their_person_alone_and_bad_signatures_do_not_count() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha"]);
        let neighbour = Query::of(&["alpha"]);
        let left = Hour::of(now()).left(now());
        if left < Duration::from_secs(60) {
            // The count is one hour's, and the hours are those of the machine's clock.
            tokio::time::sleep(left).await;
        }
        for query in [&query, &neighbour] {
            stand.submit(query).await;
            stand.until_asked(query, "alpha", 1).await;
            stand.reply(query, "alpha", query.answer("alpha")).await;
            hub.until_state(query, "FINAL_ALL_ANSWERED").await;
        }
        let mut forged = query.clone();
        forged.signer = signing_key("shop");
        for _ in 0..10 {
            assert_eq!(hub.view(&query, forged.grant(|_| ())).await.code(), Code::KEY_UNKNOWN);
        }
        let other_device = || query.grant(|grant| grant.report_key = OpeningKey::generate().id());
        let refused = other_device();
        for _ in 0..10 {
            let again = hub.view(&query, refused.clone()).await;
            assert_eq!(again.code(), Code::DEVICE_MISMATCH, "a grant is counted once");
        }
        let expired = |grant: &mut schemas::view::Grant| grant.expires_at = grant.issued_at;
        for _ in 0..2 {
            assert_eq!(hub.view(&query, query.grant(expired)).await.code(), Code::GRANT_EXPIRED);
            assert_eq!(hub.view(&query, other_device()).await.code(), Code::DEVICE_MISMATCH);
        }
        for grant in [query.grant(|_| ()), other_device(), query.grant(expired), refused] {
            let locked = hub.view(&query, grant).await;
            assert_eq!((locked.status, locked.code()), (429, Code::VIEW_LOCKED));
            assert!(locked.retry_after.is_some_and(|seconds| seconds <= 3_600), "{locked:?}");
        }
        let leaves = hub.store.leaves(&query.reference).await.expect("a store in memory");
        let refused = |leaf: &&Leaf| leaf.kind() == "grant-refused";
        assert_eq!(leaves.iter().filter(refused).count(), 5, "each counted refusal is in the log");
        assert_eq!(hub.view(&neighbour, neighbour.grant(|_| ())).await.status, 200);
        assert_eq!(hub.status(&query).await.state, "FINAL_ALL_ANSWERED", "only views are locked");
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_over_its_limit_is_told_when_to_come_back_and_the_others_are_served() {
    let cluster = broker();
    let stand = Stand::new(&cluster, DAY).await;
    let hub = stand
        .start_with(|config| {
            config.limits.requests_per_minute = 1;
            config.limits.burst = 3;
        })
        .await;
    let query = Query::of(&["alpha"]);
    let path = Hub::path(&query);
    for _ in 0..3 {
        assert_eq!(hub.get(&path).await.code(), Code::QUERY_NOT_FOUND);
    }
    for limited in [hub.get(&path).await, hub.view(&query, query.grant(|_| ())).await] {
        assert_eq!((limited.status, limited.code()), (429, Code::RATE_LIMITED));
        assert!(limited.retry_after.is_some_and(|seconds| (1..=60).contains(&seconds)), "{limited:?}");
    }
    let mut other = query.clone();
    other.reference.upstream = upstream("shop");
    assert_eq!(hub.get(&Hub::path(&other)).await.code(), Code::QUERY_NOT_FOUND);
    // Whoever invents names shares one limit.
    let unknown = ["nobody", "noone", "none", "nil"].map(upstream);
    let mut codes = Vec::new();
    for id in unknown {
        other.reference.upstream = id;
        codes.push(hub.get(&Hub::path(&other)).await.code());
    }
    assert_eq!(codes[..3], [Code::QUERY_NOT_FOUND; 3]);
    assert_eq!(codes[3], Code::RATE_LIMITED);
    hub.stop().await;
}
