//! A report becomes final: once, and not too early.

use std::time::Duration;

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use schemas::notice;
use schemas::registry::NOTIFIER;
use schemas::reply::Word;
use schemas::time::UnixMillis;
use schemas::wire::{BankOutcome, PartyKind, PartyState, QueryState, Refusal, event_record::Message};

use crate::parties::{PHONE, Query, REGION, now, opening_key};
use crate::stand::{DAY, Stand, Window, broker, message_id, text, with_long_windows, with_short_windows};

async fn until_clock(instant: UnixMillis) {
    while now() < instant {
        tokio::time::sleep(instant.since(now())).await;
    }
}

#[test]
fn the_last_reply_makes_the_report_final_at_once_with_one_event_and_one_notice() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha", "beta"]);
        let sent = stand.submit(&query).await;
        stand.until_asked(&query, "beta", 1).await;
        stand.reply(&query, "alpha", query.answer("alpha")).await;
        hub.until_answered(&query, 1).await;
        assert_eq!(stand.told(&query), ["accepted"]);
        let last = stand.reply(&query, "beta", query.answer("beta")).await;

        let told = stand.until_told(&query, &["accepted", "report-ready"]).await.remove(1);
        let Message::ReportReady(ready) = &told.message else { panic!("{told:?}") };
        assert_eq!(ready.state(), QueryState::FinalAllAnswered);
        assert_eq!((ready.banks, ready.answered, ready.finalised_at_ms), (2, 2, last.at.0));
        assert_eq!(told.id, message_id(&query, "event/report-ready"));

        let record = stand.until_notices(&query, 1).await.remove(0);
        assert_eq!(text(&record, "ce_id"), message_id(&query, "notice"));
        assert_eq!(text(&record, "ce_type"), "cardquery.ReportNotice.v1");
        let key = record.key.clone().expect("a key");
        let at = UnixMillis(record.append_time_ms);
        let notice = notice::open(&key, record.value, &stand.registry(), at).expect("the hub's word");
        assert_eq!(notice.header.reference, query.reference);
        assert_eq!(notice.header.state, QueryState::FinalAllAnswered);
        assert_eq!((notice.header.banks, notice.header.answered), (2, 2));
        assert_eq!(notice.header.accepted_at, sent.at);
        assert_eq!(notice.contact(&[opening_key(NOTIFIER)]).expect("opens").phone, PHONE);

        let status = hub.status(&query).await;
        assert_eq!(status.state, "FINAL_ALL_ANSWERED");
        assert_eq!(status.finalised_at, Some(last.at.to_string()));
        let report = query.open(&hub.report(&query).await);
        assert!(report.complete);
        assert_eq!((report.coverage.accepted_at, report.coverage.finalised_at), (sent.at, last.at));

        // Whatever comes now changes nothing: the same again, another word, the next bank's.
        let again = stand.reply(&query, "alpha", query.answer("alpha")).await;
        let other = stand.reply(&query, "beta", Word::Refused(Refusal::ConsentNotValid)).await;
        stand.handled(hub, &again).await;
        stand.handled(hub, &other).await;
        assert_eq!(stand.told(&query), ["accepted", "report-ready", "viewed"]);
        assert_eq!(stand.notices(&query).len(), 1);
        assert_eq!(query.open(&hub.report(&query).await).coverage, report.coverage);
        assert_eq!(["alpha", "beta"].map(|bank| stand.cancelled(&query, bank)), [0, 0]);
    });
}

#[test]
fn a_refusal_closes_its_pair_and_the_first_word_stands() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha", "beta"]);
        stand.submit(&query).await;
        stand.until_asked(&query, "beta", 1).await;
        let first = stand.reply(&query, "alpha", Word::Refused(Refusal::ConsentNotValid)).await;
        let second = stand.reply(&query, "alpha", query.answer("alpha")).await;
        assert_eq!(first.position.partition, second.position.partition);
        stand.handled(hub, &second).await;
        stand.reply(&query, "beta", Word::Refused(Refusal::ConsentNotValid)).await;
        hub.until_state(&query, "FINAL_EMPTY").await;
        stand.until_notices(&query, 1).await;
        let report = query.open(&hub.report(&query).await);
        assert!(
            report.banks.iter().all(|bank| bank.outcome == BankOutcome::Refused && bank.answer.is_none())
        );
        assert!(report.banks.iter().all(|bank| bank.verified == Some(Ok(()))));
    });
}

#[test]
fn a_deadline_makes_the_report_final_and_a_late_reply_is_counted_and_dropped() {
    with_short_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let query = Query::of(&["alpha", "beta", "gamma"]);
        let sent = stand.submit(&query).await;
        let deadline = sent.at + stand.window.length;
        stand.until_asked(&query, "gamma", 1).await;
        // In time to the millisecond, and one millisecond late, both read while the query collects.
        stand.reply_at(&query, "alpha", query.answer("alpha"), deadline).await;
        let late = UnixMillis(deadline.0 + 1);
        let too_late = stand.reply_at(&query, "beta", query.answer("beta"), late).await;
        stand.handled(hub, &too_late).await;
        assert_eq!(hub.status(&query).await.state, "COLLECTING");
        assert_eq!(stand.buried(&too_late), [""; 0]);

        let told = stand.until_told(&query, &["accepted", "report-ready"]).await.remove(1);
        let Message::ReportReady(ready) = &told.message else { panic!("{told:?}") };
        assert_eq!((ready.state(), ready.banks, ready.answered), (QueryState::FinalPartial, 3, 1));
        assert!(UnixMillis(ready.finalised_at_ms) >= deadline + stand.window.grace);
        stand.until_notices(&query, 1).await;
        let before = query.open(&hub.report(&query).await);
        let outcomes: Vec<BankOutcome> = before.banks.iter().map(|bank| bank.outcome).collect();
        assert_eq!(outcomes, [BankOutcome::Answered, BankOutcome::NoReply, BankOutcome::NoReply]);

        let after = stand.reply(&query, "gamma", query.answer("gamma")).await;
        stand.handled(hub, &after).await;
        assert_eq!(stand.buried(&after), [""; 0]);
        assert_eq!(query.open(&hub.report(&query).await).coverage, before.coverage);
        assert_eq!(stand.notices(&query).len(), 1);
        assert_eq!(stand.told(&query).iter().filter(|name| **name == "report-ready").count(), 1);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_closes_nothing_before_the_topics_were_read_past_it() {
    let cluster = broker();
    let window = Window { length: DAY.length, grace: Duration::from_millis(300) };
    let stand = Stand::new(&cluster, window).await;
    let hub = stand.start().await;
    // Its reply_by has passed and its deadline comes soon: nothing but the deadline is due.
    let accepted_at = now().before(window.length - Duration::from_secs(3));
    let query = Query::at(accepted_at, &["alpha", "beta"], |_| ());
    let sent = stand.submit_at(&query, accepted_at).await;
    stand.until_told(&query, &["accepted"]).await;
    stand.register(PartyKind::Bank, "beta", PartyState::Suspended, REGION).await;
    let rejected = async || {
        let probe = Query::of(&["beta"]);
        stand.submit(&probe).await;
        hub.until_known(&probe).await.state == "REJECTED"
    };
    while !rejected().await {}

    // Nothing can be read from now on, while end offsets can still be asked.
    cluster.request_errors(
        RDKafkaApiKey::Fetch,
        &[RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION; 20_000],
    );
    // A fetch that was under way ends after `fetch.wait.max.ms`, and would bring the reply.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let reply = stand.reply(&query, "alpha", query.answer("alpha")).await;
    let deadline = sent.at + window.length;
    assert!(reply.at <= deadline);
    until_clock(deadline + window.grace + Duration::from_millis(1_200)).await;
    let status = hub.status(&query).await;
    assert_eq!((status.state.as_str(), status.answered), ("COLLECTING", 0));

    cluster.clear_request_errors(RDKafkaApiKey::Fetch);
    hub.until_state(&query, "FINAL_PARTIAL").await;
    let report = query.open(&hub.report(&query).await);
    let outcomes: Vec<BankOutcome> = report.banks.iter().map(|bank| bank.outcome).collect();
    assert_eq!(outcomes, [BankOutcome::Answered, BankOutcome::Suspended]);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_was_down_at_the_deadline_calls_no_punctual_bank_silent() {
    let cluster = broker();
    let stand = Stand::new(&cluster, DAY).await;
    let accepted_at = now().before(DAY.length + DAY.grace + Duration::from_secs(1));
    let deadline = accepted_at + DAY.length;
    let query = Query::at(accepted_at, &["alpha", "beta", "gamma"], |_| ());
    stand.submit_at(&query, accepted_at).await;
    stand.reply_at(&query, "alpha", query.answer("alpha"), deadline).await;
    stand.reply_at(&query, "beta", query.answer("beta"), UnixMillis(deadline.0 + 1)).await;
    let hub = stand.start().await;
    hub.until_state(&query, "FINAL_PARTIAL").await;
    let report = query.open(&hub.report(&query).await);
    let outcomes: Vec<BankOutcome> = report.banks.iter().map(|bank| bank.outcome).collect();
    assert_eq!(outcomes, [BankOutcome::Answered, BankOutcome::NoReply, BankOutcome::NoReply]);
    stand.until_notices(&query, 1).await;
    assert_eq!(["alpha", "beta", "gamma"].map(|bank| stand.asked_records(&query, bank).len()), [0, 0, 0]);
    hub.stop().await;
}
