use std::time::{Duration, Instant};

use plumbing::exit::Exit;
use prost::Message as _;
use schemas::codes::Code;
use schemas::ids::Digest;
use schemas::seal::{self, Binding, Kind};
use schemas::submission;
use schemas::time::UnixMillis;
use schemas::wire::{self, PartyKind, PartyState, query_record};

use crate::stand::{
    SECRETS_OF_A_PERSON, Stand, bank, opening_key, person, reference, request, soon, upstream,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_query_becomes_one_record_that_verifies_and_of_which_each_bank_opens_its_own_part() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let request = request(&["alpha", "beta"]);
    let answer = service.submit(&request).await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.headers["location"], format!("/v1/queries/{}", request.query));
    assert_eq!(
        answer.json(),
        serde_json::json!({"query_id": request.query.to_string(), "state": "SUBMITTED"})
    );

    let records = stand.records().await;
    let [record] = records.as_slice() else { panic!("{} records", records.len()) };
    let key = record.key.clone().expect("a key");
    assert_eq!(&key[..], request.query.to_string().as_bytes());
    let header = |name: &str| String::from_utf8(record.header(name).expect(name).to_vec()).expect("UTF-8");
    assert_eq!(header("ce_type"), "cardquery.QuerySubmitted.v1");
    assert_eq!(header("ce_id"), reference(&request).message_id("QuerySubmitted").to_string());
    assert_eq!(header("ce_correlationid"), request.query.to_string());
    assert_eq!(header("ce_expirytime"), request.consent.expires_at.to_string());

    let message = wire::QueryRecord::decode(record.value.clone()).expect("a record").message;
    let Some(query_record::Message::Submitted(submitted)) = message else { panic!("not a submission") };
    let registry = stand.registry().await;
    let party = registry.upstream(&upstream()).expect("registered");
    let appended_at = UnixMillis(record.append_time_ms);
    let opened = submission::open(&upstream(), &key, &submitted, party, appended_at).expect("verifies");
    assert_eq!(opened.query.content_digest(), request.content_digest());
    assert_eq!(opened.query.terms, request.terms());
    assert_eq!(opened.query.subject, person().subject);

    let reference = reference(&request);
    let (expires_at, nonce) = (request.consent.expires_at, request.consent.nonce);
    let open = |kind, party: &str, with: &str, sealed| {
        let binding = Binding { reference: &reference, party, expires_at, context: &nonce.0 };
        seal::open(kind, &opening_key(with), &binding, sealed)
    };
    for (own, foreign) in [("alpha", "beta"), ("beta", "alpha")] {
        let sealed = &opened.banks[&bank(own)].sealed_identity;
        let identity =
            wire::Identity::decode(open(Kind::Identity, own, own, sealed).expect("opens").as_slice());
        let identity = identity.expect("an identity");
        assert_eq!(
            [identity.name.as_str(), identity.document_number.as_str(), &identity.phone[3..]],
            SECRETS_OF_A_PERSON
        );
        assert_eq!(open(Kind::Identity, own, foreign, sealed).err(), Some(Code::KEY_UNKNOWN));
        // Another bank's part does not open in this bank's name, even with the key it was sealed to.
        let moved = &opened.banks[&bank(foreign)].sealed_identity;
        assert_eq!(open(Kind::Identity, own, foreign, moved).err(), Some(Code::SEAL_BROKEN));
    }
    let contact = open(Kind::Contact, "notifier", "notifier", &opened.contact.sealed_contact).expect("opens");
    let contact = wire::Contact::decode(contact.as_slice()).expect("a contact");
    assert_eq!((contact.phone, contact.language), (person().phone, request.consent.language.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_an_identity_is_in_the_record_in_a_log_or_in_an_answer() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let accepted = request(&["alpha"]);
    let refused = request(&["gamma"]);
    let mut seen = Vec::new();
    for request in [&accepted, &refused] {
        let answer = service.submit(request).await;
        seen.push(format!("{answer:?} {} {request:?}", String::from_utf8_lossy(&answer.body)));
    }
    for record in stand.records().await {
        let headers: Vec<_> = record
            .headers
            .iter()
            .map(|(name, value)| format!("{name}{}", String::from_utf8_lossy(value)))
            .collect();
        seen.push(format!("{}{}", String::from_utf8_lossy(&record.value), headers.join(" ")));
    }
    let logs = stand.logs.text();
    assert!(logs.contains(&accepted.query.to_string()), "the logs are read at all");
    assert!(logs.contains("TRACE"), "at every level");
    seen.push(logs);
    for text in seen {
        for secret in SECRETS_OF_A_PERSON {
            assert!(!text.contains(secret), "{secret} in {}", &text[..text.len().min(2000)]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_202_before_the_broker_has_acknowledged() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    // The first query opens connections, which may hide the delay of the second.
    assert_eq!(service.submit(&request(&["alpha"])).await.status, 202);
    let delay = Duration::from_secs(2);
    stand.cluster.broker_round_trip_time(1, delay).expect("slow");
    let asked = Instant::now();
    assert_eq!(service.submit(&request(&["alpha"])).await.status, 202);
    assert!(asked.elapsed() >= delay, "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_is_published_and_verifies_whether_or_not_the_query_is_known() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let request = request(&["alpha"]);
    let path = format!("/v1/queries/{}/revocation", request.query);
    assert_eq!(service.post(&path, &serde_json::json!({})).await.status, 202);
    assert_eq!(service.post(&path, &serde_json::json!({"reason": "x"})).await.code(), "UNKNOWN_FIELD");
    assert_eq!(service.post(&path, &serde_json::json!([])).await.code(), "FIELD_INVALID");
    let records = stand.records().await;
    let [record] = records.as_slice() else { panic!("{} records", records.len()) };
    let key = record.key.clone().expect("a key");
    let message = wire::QueryRecord::decode(record.value.clone()).expect("a record").message;
    let Some(query_record::Message::Revoked(revoked)) = message else { panic!("not a withdrawal") };
    let registry = stand.registry().await;
    let party = registry.upstream(&upstream()).expect("registered");
    let opened =
        submission::open_revocation(&upstream(), &key, &revoked, party, UnixMillis(record.append_time_ms));
    assert_eq!(opened, Ok(reference(&request)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_joined_a_moment_ago_is_asked_without_a_restart() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    for name in ["omega1", "omega2", "omega3"] {
        assert_eq!(service.submit(&request(&[name])).await.code(), "BANK_UNKNOWN");
        stand.register(PartyKind::Bank, name, PartyState::Active, "310000").await;
        assert_eq!(service.submit(&request(&[name])).await.status, 202, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_takes_queries_without_http_and_the_service_ends_with_its_lifecycle() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let submitted = service.running.intake.submit(request(&["alpha"])).await.expect("submitted");
    let records = stand.records().await;
    assert_eq!(records.iter().map(|record| &record.position).collect::<Vec<_>>(), [&submitted.position]);
    assert_ne!(Digest::of(&records[0].value), Digest::of(b""));
    let address = service.running.addr;
    let exit = soon("the end", service.lifecycle.stop(Duration::from_secs(30))).await;
    assert_eq!(exit, Exit::Ok);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
