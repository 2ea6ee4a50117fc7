use aggregator::domain::query::Closing;
use prost::Message as _;
use schemas::batch;
use schemas::codes::Code;
use schemas::ids::{Digest, KeyId, Nonce};
use schemas::keys::SigningKey;
use schemas::reply::{Unsigned, Word};
use schemas::request::Header;
use schemas::wire::{PartyState, Refusal};

use super::*;
use crate::audit::replay::history::{History, tests::record};
use crate::sample;

fn bank() -> BankId {
    "alpha".parse().expect("an id")
}

fn reference(n: u8) -> Reference {
    let query = format!("0192f0c1-2d3e-7000-8000-0000000000{n:02x}").parse().expect("a version 7 id");
    Reference { upstream: "wallet".parse().expect("an id"), query }
}

const ASKED: Expected =
    Expected { statement_sha256: Digest([6; 32]), report_key: KeyId([2; 16]), accepted_at: UnixMillis(100) };

/// A refusal of the bank, signed with its `n`-th key.
fn refusal(n: u8, statement: u8) -> Bytes {
    let header = Header {
        reference: reference(1),
        bank: bank(),
        statement_sha256: Digest([statement; 32]),
        accepted_at: UnixMillis(100),
        reply_by: UnixMillis(900),
        attempt: 1,
    };
    let unsigned = Unsigned::new(&header, Word::Refused(Refusal::ConsentNotValid));
    let key = SigningKey::from_seed(&[n; 32]);
    let headers = std::slice::from_ref(&unsigned.header);
    let proof =
        batch::sign_batch(&bank(), &key, Nonce([1; 16]), headers, UnixMillis(200)).expect("one").remove(0);
    unsigned.with_proof(proof).encode_to_vec().into()
}

fn heard(value: &Bytes, reference: &Reference, before: i64) -> Option<(Said, Option<Said>)> {
    // The bank's second key comes with the entry at offset 4, at 400 ms.
    let history = History::new(
        sample::keys::roots(),
        &[record(1, PartyState::Active, &[1], 1), record(2, PartyState::Active, &[1, 2], 4)],
    );
    let key = reference.query.to_string();
    let sent = Sent { bank: &bank(), key: key.as_bytes(), value, at: (2, 7), appended_at: UnixMillis(300) };
    let parties = history.of_bank(sent.bank, sent.appended_at, before);
    let heard = judge(sent, reference, &ASKED, &parties, &mut VerifiedRoots::default())?;
    assert_eq!((heard.at, heard.appended_at), ((2, 7), UnixMillis(300)));
    Some((heard.said, heard.otherwise))
}

#[test]
fn a_reply_closes_its_pair_and_one_to_another_question_or_query_does_not() {
    let Some((Said::Closing(Closing::Refused, _), None)) = heard(&refusal(1, 6), &reference(1), 9) else {
        panic!("a valid refusal")
    };
    let mismatch = Said::Invalid(Code::STATEMENT_MISMATCH);
    assert_eq!(heard(&refusal(1, 7), &reference(1), 9), Some((mismatch, None)));
    assert_eq!(heard(&refusal(1, 6), &reference(2), 9), None, "its key is another query's");
    assert_eq!(heard(&Bytes::from_static(b"\xff"), &reference(1), 9), None, "it is about nothing");
}

#[test]
fn a_key_that_came_between_reply_and_report_leaves_two_judgements() {
    let unknown = Said::Invalid(Code::KEY_UNKNOWN);
    assert_eq!(heard(&refusal(2, 6), &reference(1), 4), Some((unknown, None)), "the report came before it");
    let Some((Said::Closing(Closing::Refused, _), otherwise)) = heard(&refusal(2, 6), &reference(1), 9)
    else {
        panic!("by the entry of the report it is valid")
    };
    assert_eq!(otherwise, Some(unknown));
    assert_eq!(heard(&refusal(3, 6), &reference(1), 9), Some((unknown, None)), "nobody ever had this key");
}
