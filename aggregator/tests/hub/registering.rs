//! A query comes in: once.

use std::collections::BTreeMap;
use std::sync::Arc;

use aggregator::domain::subject::SubjectKey;
use aggregator::first_line::FirstLine;
use aggregator::handler::{Hub, Registrar};
use aggregator::store::{MemoryStore, SystemClock};
use plumbing::in_force::InForce;
use plumbing::kafka::{Handler as _, Producer, RecordReader, Verdict, Watermarks, read_to_end};
use plumbing::lifecycle::Lifecycle;
use plumbing::registry;
use schemas::codes::Code;
use schemas::registry::HUB;
use schemas::time::UnixMillis;
use schemas::wire::{self, event_record::Message};
use tokio::sync::Notify;

use crate::parties::{DOCUMENT, NAME, PHONE, Query, bank, identity, opening_key, signing_key, upstream};
use crate::stand::{DAY, MAX_FACTOR_AGE, Stand, broker, message_id, text, with_long_windows};

#[test]
fn a_registered_query_is_told_to_its_upstream_and_asks_each_chosen_bank_once_and_no_other() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha", "beta"]);
        let sent = stand.submit(&query).await;

        let told = stand.until_told(&query, &["accepted"]).await.remove(0);
        let Message::Accepted(accepted) = &told.message else { panic!("{told:?}") };
        let deadline = sent.at + DAY.length;
        assert_eq!((accepted.accepted_at_ms, accepted.deadline_at_ms), (sent.at.0, deadline.0));
        assert_eq!(accepted.banks, 2);
        assert_eq!(told.id, message_id(&query, "event/accepted"));
        for id in ["alpha", "beta"] {
            let request = stand.until_asked(&query, id, 1).await.remove(0);
            assert_eq!((request.header.accepted_at, request.header.attempt), (sent.at, 1));
            assert_eq!(request.header.statement_sha256, query.statement_sha256(&bank(id)));
            let reply_by = request.header.reply_by;
            assert_eq!(reply_by, deadline.before(DAY.length / 48));
            let record = stand.asked_records(&query, id).remove(0);
            assert_eq!(text(&record, "ce_id"), message_id(&query, &format!("request/{id}/1")));
            assert_eq!(text(&record, "ce_expirytime"), reply_by.to_string());
            // The bank's own checks: the upstream's statement names it, and the identity is sealed to it.
            let accepted =
                request.accept(&stand.registry(), &[opening_key(id)], MAX_FACTOR_AGE).expect("acceptable");
            assert_eq!((accepted.query.bank, accepted.identity), (bank(id), identity()));
        }
        stand.handled(hub, &sent).await;
        assert_eq!(stand.told(&query), ["accepted"]);
        assert_eq!(["alpha", "beta", "gamma"].map(|id| stand.asked(&query, id).len()), [1, 1, 0]);
        let status = hub.status(&query).await;
        assert_eq!((status.state.as_str(), status.banks, status.answered), ("COLLECTING", 2, 0));
        assert_eq!(status.accepted_at, sent.at.to_string());
        assert_eq!(status.deadline_at, deadline.to_string());
    });
}

#[test]
fn the_hub_holds_nothing_of_the_person_in_the_clear() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha", "beta"]);
        stand.submit(&query).await;
        stand.until_asked(&query, "alpha", 1).await;
        stand.reply(&query, "alpha", query.answer("alpha")).await;
        hub.until_answered(&query, 1).await;
        let dump = hub.store.dump().await;
        assert!(dump.contains(&query.subject), "the dump shows what is stored");
        for secret in [NAME, DOCUMENT, PHONE] {
            assert!(!dump.contains(secret) && !dump.contains(&hex::encode(secret)), "{secret}");
        }
    });
}

#[test]
fn the_same_query_sent_again_asks_nobody_and_changes_nothing() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha", "beta"]);
        stand.submit(&query).await;
        stand.until_asked(&query, "beta", 1).await;
        let before = hub.status(&query).await;
        let again = query.resealed();
        let sent = stand.submit(&again).await;
        stand.handled(hub, &sent).await;
        assert_eq!(stand.told(&query), ["accepted"]);
        assert_eq!(["alpha", "beta"].map(|id| stand.asked(&query, id).len()), [1, 1]);
        assert_eq!(stand.buried(&sent), [""; 0]);
        assert_eq!(hub.status(&query).await, before);

        // A bank answers to the statement that it was asked with, not to that of the repetition.
        let wrong = stand.reply(&again, "alpha", again.answer("alpha")).await;
        assert_eq!(stand.until_buried(&wrong).await, "STATEMENT_MISMATCH");
        stand.reply(&query, "alpha", query.answer("alpha")).await;
        stand.reply(&query, "beta", query.answer("beta")).await;
        hub.until_state(&query, "FINAL_ALL_ANSWERED").await;
    });
}

#[test]
fn other_content_under_a_used_id_leaves_the_first_untouched() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha"]);
        stand.submit(&query).await;
        stand.until_asked(&query, "alpha", 1).await;
        let before = hub.status(&query).await;
        let other = Query::but(&["alpha", "beta"], |other| other.reference = query.reference.clone());
        let sent = stand.submit(&other).await;
        stand.handled(hub, &sent).await;
        assert_eq!(stand.told(&query), ["accepted"]);
        assert_eq!(["alpha", "beta"].map(|id| stand.asked(&query, id).len()), [1, 0]);
        assert_eq!(hub.status(&query).await, before);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_read_again_asks_nobody_again() {
    let cluster = broker();
    let stand = Stand::new(&cluster, DAY).await;
    let query = Query::of(&["alpha", "beta"]);
    stand.submit(&query).await;
    let (sender, receiver) = std::sync::mpsc::channel();
    let each = move |record| sender.send(record).expect("received");
    read_to_end(&stand.kafka, &[stand.topics.query(&upstream("wallet"))], each).await.expect("read");
    let record = receiver.recv().expect("the record");

    let mut lifecycle = Lifecycle::new();
    let (config, kafka) = (stand.config(), &stand.kafka);
    let followed =
        registry::follow(kafka, stand.topics.registry(), &stand.registry_config(), &mut lifecycle).await;
    let hub = Arc::new(Hub {
        store: MemoryStore::new(Arc::new(SystemClock)),
        registry: followed.expect("followed"),
        producer: Producer::new(kafka).expect("a producer"),
        records: RecordReader::new(kafka).expect("a reader"),
        watermarks: Watermarks::new(kafka).expect("a client"),
        key: signing_key(HUB),
        subjects: SubjectKey::ephemeral(),
        first_line: Arc::new(FirstLine::new(None, config.limits.rate())),
        policy: InForce::new(config.policy.policy().expect("a policy")),
        paused: InForce::new(BTreeMap::new()),
        window: config.window.window().expect("a window"),
        outbox: Arc::new(Notify::new()),
        topics: stand.topics.clone(),
    });
    let registrar = Registrar::new(hub);
    // Read before anything runs, as at every start: registered, and nobody is asked yet.
    registrar.rebuild(&record).await.expect("registered");
    assert_eq!(stand.asked(&query, "alpha").len(), 0);
    for _ in 0..3 {
        let verdicts = registrar.handle(std::slice::from_ref(&record)).await;
        assert!(matches!(verdicts[..], [Verdict::Done]), "{verdicts:?}");
    }
    let other = Query::of(&["alpha"]);
    stand.until_asked(&query, "beta", 1).await;
    // The hub's own producer keeps the order within a partition, so what it was asked to write lies before this.
    for (topic, key) in ["alpha", "beta"].map(|id| (stand.topics.request(&bank(id)), other.id())) {
        stand.send(&topic, &key, Vec::new(), None, None).await;
    }
    stand.catch_up().await;
    assert_eq!(["alpha", "beta"].map(|id| stand.asked(&query, id).len()), [1, 1]);
    lifecycle.stop(std::time::Duration::from_secs(10)).await;
}

#[test]
fn a_record_that_takes_no_id_is_a_dead_letter_and_the_honest_one_is_accepted_afterwards() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let topic = stand.topics.query(&upstream("wallet"));
        let honest = || Query::of(&["alpha", "beta"]);
        let wire = |submitted: &wire::QuerySubmitted| crate::stand::submitted(submitted);
        let mut refused = Vec::new();

        let query = honest();
        let mut forged = query.submitted.clone();
        forged.hub_statement.as_mut().expect("signed").signature = vec![7; 64].into();
        let sent = stand.send(&topic, &query.id(), wire(&forged), None, None).await;
        refused.push((query, sent, Code::SIGNATURE_INVALID));

        let query = honest();
        let mut stolen = query.clone();
        stolen.signer = signing_key("shop");
        let stolen = stolen.resealed();
        let through = stand.topics.query(&upstream("shop"));
        let sent = stand.send(&through, &query.id(), wire(&stolen.submitted), None, None).await;
        refused.push((query, sent, Code::WRONG_TOPIC));

        let query = honest();
        let sent = stand.send(&topic, &query.id(), wire(&stolen.submitted), None, None).await;
        refused.push((query, sent, Code::KEY_UNKNOWN));

        let query = honest();
        let sent = stand.send(&topic, &honest().id(), wire(&query.submitted), None, None).await;
        refused.push((query, sent, Code::WRONG_RECORD_KEY));

        let query = honest();
        let mut swapped = query.submitted.clone();
        let second = swapped.banks[1].sealed_identity.clone();
        swapped.banks[1].sealed_identity = std::mem::replace(&mut swapped.banks[0].sealed_identity, second);
        let sent = stand.send(&topic, &query.id(), wire(&swapped), None, None).await;
        refused.push((query, sent, Code::DIGEST_MISMATCH));

        let query = honest();
        let mut releasing = query.clone();
        releasing.releases = Some(schemas::ids::Digest::of(b"held"));
        let releasing = releasing.resealed();
        let sent = stand.send(&topic, &query.id(), wire(&releasing.submitted), None, None).await;
        refused.push((query, sent, Code::NOT_HELD));

        let query = honest();
        let released = wire::QueryReleased { submission: Some(query.submitted.clone()) };
        let released = wire::QueryRecord { message: Some(wire::query_record::Message::Released(released)) };
        let value = prost::Message::encode_to_vec(&released);
        let sent = stand.send(&topic, &query.id(), value, None, None).await;
        refused.push((query, sent, Code::NOT_HELD));

        for (query, sent, code) in refused {
            assert_eq!(stand.until_buried(&sent).await, code.as_str());
            assert_eq!(
                hub.get(&crate::stand::Hub::path(&query)).await.code(),
                Code::QUERY_NOT_FOUND,
                "{code}"
            );
            assert_eq!(stand.told(&query), [""; 0], "{code}");
            // Also its consent is not used up.
            stand.submit(&query).await;
            stand.until_told(&query, &["accepted"]).await;
            stand.until_asked(&query, "alpha", 1).await;
            stand.until_asked(&query, "beta", 1).await;
            assert_eq!(stand.asked(&query, "alpha").len(), 1, "{code}");
        }
    });
}

#[test]
fn a_query_that_is_registered_after_its_reply_by_asks_no_bank_and_one_before_asks() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let hours_ago = |hours: f64| {
            let at: UnixMillis =
                crate::parties::now().before(std::time::Duration::from_secs_f64(hours * 3_600.0));
            (at, Query::at(at, &["alpha"], |_| ()))
        };
        // Both consents have expired and both factors are too old by now: what counts is when they were appended.
        let (late_at, late) = hours_ago(23.75);
        let late_sent = stand.submit_at(&late, late_at).await;
        let (early_at, early) = hours_ago(23.25);
        let early_sent = stand.submit_at(&early, early_at).await;
        for (query, sent) in [(&late, late_sent), (&early, early_sent)] {
            let told = stand.until_told(query, &["accepted"]).await.remove(0);
            let Message::Accepted(accepted) = told.message else { panic!("{told:?}") };
            assert_eq!(accepted.accepted_at_ms, sent.at.0);
            stand.handled(hub, &sent).await;
        }
        assert_eq!([&late, &early].map(|query| stand.asked(query, "alpha").len()), [0, 1]);
    });
}
