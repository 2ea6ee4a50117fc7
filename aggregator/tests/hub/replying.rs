//! Replies that are not to be believed.

use prost::Message as _;
use schemas::codes::Code;
use schemas::ids::Digest;
use schemas::keys::OpeningKey;
use schemas::reply::{Unsigned, Word};
use schemas::wire::{self, BankOutcome};

use crate::parties::{Query, bank, now, reply_at, signed, signing_key};
use crate::stand::{with_long_windows, with_short_windows};

/// An honest reply with another header.
fn altered(query: &Query, from: &str, change: impl FnOnce(&mut wire::ReplyHeader)) -> Vec<u8> {
    let mut reply = Unsigned::new(&query.header(from), Word::RetryLater);
    let mut header = wire::ReplyHeader::decode(reply.header.clone()).expect("a header");
    change(&mut header);
    reply.header = header.encode_to_vec().into();
    signed(reply, from, &signing_key(from), now())
}

fn honest(query: &Query) -> Vec<u8> {
    reply_at(query, "alpha", query.answer("alpha"), now())
}

type Forge = fn(&Query) -> Vec<u8>;

/// What is forged, the code of its dead letter, and what the report says of the bank.
const FORGERIES: [(Code, BankOutcome, Forge); 9] = [
    (Code::MESSAGE_MALFORMED, BankOutcome::NoReply, |_| b"\xff\xff".to_vec()),
    (Code::REQUEST_ID_WRONG, BankOutcome::NoReply, |query| {
        altered(query, "alpha", |header| header.request_id = vec![7; 16].into())
    }),
    (Code::WRONG_TOPIC, BankOutcome::NoReply, |query| {
        altered(query, "alpha", |header| header.bank_id = "beta".into())
    }),
    (Code::STATEMENT_MISMATCH, BankOutcome::InvalidReply, |query| {
        altered(query, "alpha", |header| header.statement_sha256 = Digest::of(b"other").to_wire())
    }),
    (Code::OUTCOME_INVALID, BankOutcome::InvalidReply, |query| {
        altered(query, "alpha", |header| header.outcome = 0)
    }),
    (Code::REPORT_KEY_MISMATCH, BankOutcome::InvalidReply, |query| {
        let word = query.answer_to("alpha", &OpeningKey::generate());
        reply_at(query, "alpha", word, now())
    }),
    (Code::KEY_UNKNOWN, BankOutcome::InvalidReply, |query| {
        let reply = Unsigned::new(&query.header("alpha"), query.answer("alpha"));
        signed(reply, "alpha", &signing_key("beta"), now())
    }),
    (Code::BATCH_PROOF_INVALID, BankOutcome::InvalidReply, |query| {
        let mut one = wire::ReplyRecord::decode(&*honest(query)).expect("a reply");
        let other = wire::ReplyRecord::decode(&*altered(query, "alpha", |_| ())).expect("a reply");
        let Some(wire::reply_record::Message::Reply(other)) = other.message else { panic!("a reply") };
        if let Some(wire::reply_record::Message::Reply(reply)) = &mut one.message {
            reply.proof = other.proof;
        }
        one.encode_to_vec()
    }),
    (Code::BATCH_TIME_IMPOSSIBLE, BankOutcome::InvalidReply, |query| {
        let hour = std::time::Duration::from_secs(3_600);
        reply_at(query, "alpha", query.answer("alpha"), now() + hour)
    }),
];

#[test]
fn a_forged_reply_is_a_dead_letter_and_an_invalid_reply_only_where_it_is_about_this_banks_request() {
    with_short_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let each = FORGERIES.map(|(code, outcome, forge)| async move {
            let query = Query::of(&["alpha", "beta"]);
            stand.submit(&query).await;
            stand.until_asked(&query, "beta", 1).await;
            stand.reply(&query, "beta", query.answer("beta")).await;
            let sent = stand.reply_raw(&query, "alpha", forge(&query), None).await;
            assert_eq!(stand.until_buried(&sent).await, code.as_str());
            hub.until_state(&query, "FINAL_PARTIAL").await;
            let report = query.open(&hub.report(&query).await);
            assert_eq!(report.banks[0].outcome, outcome, "{code}");
            assert_eq!(stand.buried(&sent).len(), 1, "{code}");
        });
        futures::future::join_all(each).await;
    });
}

#[test]
fn after_a_forged_reply_the_honest_one_still_counts() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let each = FORGERIES.map(|(code, _, forge)| async move {
            let query = Query::of(&["alpha"]);
            stand.submit(&query).await;
            stand.until_asked(&query, "alpha", 1).await;
            let sent = stand.reply_raw(&query, "alpha", forge(&query), None).await;
            assert_eq!(stand.until_buried(&sent).await, code.as_str());
            assert_eq!(hub.status(&query).await.state, "COLLECTING", "{code}");
            stand.reply_raw(&query, "alpha", honest(&query), None).await;
            hub.until_state(&query, "FINAL_ALL_ANSWERED").await;
        });
        futures::future::join_all(each).await;
    });
}

#[test]
fn a_reply_to_an_unknown_query_or_from_a_bank_not_asked_is_a_dead_letter() {
    with_long_windows(async |shared| {
        let (stand, hub) = (&shared.stand, &shared.hub);
        let unknown = Query::of(&["alpha"]);
        let sent = stand.reply(&unknown, "alpha", unknown.answer("alpha")).await;
        assert_eq!(stand.until_buried(&sent).await, Code::QUERY_UNKNOWN.as_str());

        let query = Query::of(&["alpha"]);
        stand.submit(&query).await;
        stand.until_asked(&query, "alpha", 1).await;
        let before = hub.status(&query).await;
        let sent = stand.reply(&query, "beta", query.answer("beta")).await;
        assert_eq!(stand.until_buried(&sent).await, Code::BANK_NOT_ASKED.as_str());
        assert_eq!(hub.status(&query).await, before);

        stand.reply(&query, "alpha", query.answer("alpha")).await;
        hub.until_state(&query, "FINAL_ALL_ANSWERED").await;
        let sent = stand.reply(&query, "beta", query.answer("beta")).await;
        assert_eq!(stand.until_buried(&sent).await, Code::BANK_NOT_ASKED.as_str());
        assert_eq!(query.open(&hub.report(&query).await).banks[0].bank, bank("alpha"));
    });
}
