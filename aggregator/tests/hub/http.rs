//! Status and report over HTTP.

use std::time::Duration;

use schemas::codes::Code;
use schemas::ids::{Nonce, Reference};
use schemas::keys::OpeningKey;

use crate::parties::{Query, now, signing_key, upstream};
use crate::stand::{Hub, with_long_windows};

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
