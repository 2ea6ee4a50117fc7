//! Golden bytes of every message: what was published must be read, verified and opened for ever.

use std::sync::LazyLock;

use bytes::Bytes;
use hpke::Deserializable;
use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use prost::Message;
use schemas::batch::VerifiedRoots;
use schemas::ids::{Digest, Nonce};
use schemas::keys::OpeningKey;
use schemas::registry::{self, Applied, Registry, SeenVersions};
use schemas::reply::{self, Expected, Word};
use schemas::request::{self, Header, Opened};
use schemas::sign::{self, Tag};
use schemas::time::UnixMillis;
use schemas::wire::{self, audit_record, query_record, reply_record};
use schemas::{audit, erasure, merkle, notice, submission, view};

use crate::golden_store as store;
use crate::world::{self, ACCEPTED, DEADLINE, EXPIRES, FINAL, Query, REPLIED, REPLY_BY};

/// A golden that is made again, byte by byte, with today's code.
struct Golden {
    name: &'static str,
    bytes: Vec<u8>,
    means_the_same: MeansTheSame,
}

/// Whether bytes decode to the value that was written.
type MeansTheSame = Box<dyn Fn(&[u8]) -> bool>;

fn golden<M: Message + Default + PartialEq + 'static>(name: &'static str, value: M) -> Golden {
    let bytes = value.encode_to_vec();
    Golden {
        name,
        bytes,
        means_the_same: Box::new(move |bytes| M::decode(bytes).ok().as_ref() == Some(&value)),
    }
}

/// Goldens that hold a sealed part and were made once.
const MADE_ONCE: [&str; 4] =
    ["query-submitted", "query-released", "sealed-answer-alpha", "sealed-answer-beta"];

struct MadeOnce {
    query: Query,
    released: Query,
    /// Sealed with two cards, and with none.
    answers: [Bytes; 2],
}

static MADE: LazyLock<MadeOnce> = LazyLock::new(|| {
    let query = from_golden(store::once(MADE_ONCE[0], || {
        let submitted = world::query("wallet", 1, &world::BANKS).submitted;
        record(query_record::Message::Submitted(submitted)).encode_to_vec()
    }));
    let held = query.submission().query.content_digest();
    let released = from_golden(store::once(MADE_ONCE[1], || {
        let submission = Some(world::query_of("wallet", 1, &world::BANKS, Some(held)).submitted);
        record(query_record::Message::Released(wire::QueryReleased { submission })).encode_to_vec()
    }));
    let seal = |bank: &str, cards| {
        let Word::Answered { sealed_answer, .. } = query.answered(bank, &world::answer(cards)) else {
            unreachable!("an answer")
        };
        sealed_answer.to_vec()
    };
    let answers = [
        store::once(MADE_ONCE[2], || seal("alpha", 2)).into(),
        store::once(MADE_ONCE[3], || seal("beta", 0)).into(),
    ];
    MadeOnce { query, released, answers }
});

fn record(message: query_record::Message) -> wire::QueryRecord {
    wire::QueryRecord { message: Some(message) }
}

fn from_golden(bytes: Vec<u8>) -> Query {
    let submitted = match wire::QueryRecord::decode(bytes.as_slice()).expect("a query record").message {
        Some(query_record::Message::Submitted(submitted)) => submitted,
        Some(query_record::Message::Released(released)) => released.submission.expect("a submission"),
        other => panic!("not a submission: {other:?}"),
    };
    let reference = world::reference("wallet", 1);
    Query { reference, report_key: world::opening(61), signer: world::wallet(), submitted }
}

/// The header of a request that is answered without an identity being opened.
fn bare_header(n: u8) -> Header {
    Header {
        reference: world::reference("wallet", n),
        bank: world::bank_id("alpha"),
        statement_sha256: Digest([n; 32]),
        accepted_at: ACCEPTED,
        reply_by: REPLY_BY,
        attempt: 2,
    }
}

fn answered(bank: usize) -> Word {
    Word::answered(MADE.query.report_key.public(), MADE.answers[bank].clone())
}

fn reply_batch() -> Vec<wire::ReplyRecord> {
    let words = vec![
        (MADE.query.header("alpha"), answered(0)),
        (bare_header(2), Word::Refused(wire::Refusal::DigestMismatch)),
        (bare_header(3), Word::RetryLater),
    ];
    world::batch_of("alpha", &world::bank_signing("alpha"), REPLIED, words)
}

fn single(header: Header, word: Word) -> wire::ReplyRecord {
    let bank = header.bank.clone();
    let key = world::bank_signing(bank.as_str());
    world::batch_of(bank.as_str(), &key, REPLIED, vec![(header, word)]).remove(0)
}

fn grant() -> view::Grant {
    view::Grant {
        reference: MADE.query.reference.clone(),
        subject: "subject-1".into(),
        report_key: MADE.query.report_key.id(),
        issued_at: FINAL,
        expires_at: UnixMillis(FINAL.0 + 120_000),
        nonce: Nonce([5; 16]),
    }
}

fn rotated_entry() -> wire::RegistryEntry {
    let mut entry = world::bank_entry("alpha");
    entry.version += 1;
    entry.state = wire::PartyState::Suspended.into();
    entry.keys[0].revoked = true;
    entry.keys[0].revoked_at_ms = REPLIED.0;
    entry.keys.push(wire::PartyKey { valid_from_ms: FINAL.0, ..world::sign_key(&world::signing(99)) });
    entry
}

fn report() -> wire::Report {
    let segment = |record: wire::ReplyRecord| {
        let Some(reply_record::Message::Reply(reply)) = record.message else { unreachable!("a reply") };
        let proof = reply.proof;
        let segment = wire::Segment { header: reply.header, proof, sealed_answer: reply.sealed_answer };
        Bytes::from(segment.encode_to_vec())
    };
    let segments = [
        ("alpha", segment(reply_batch().remove(0))),
        ("beta", segment(single(MADE.query.header("beta"), answered(1)))),
    ]
    .map(|(bank, segment)| (world::bank_id(bank), segment))
    .into();
    world::report_over(&MADE.query, &segments).1
}

fn event(message: wire::event_record::Message) -> wire::EventRecord {
    wire::EventRecord { reference: Some((&world::reference("wallet", 1)).into()), message: Some(message) }
}

fn audit_record(message: audit_record::Message) -> wire::AuditRecord {
    wire::AuditRecord { message: Some(message) }
}

/// A whole small log: a withdrawal, and the receipt of a day.
fn audit_log() -> [audit::Leaf; 2] {
    let withdrawn = audit::Change::Withdrawn { at: FINAL };
    [
        audit::Leaf::Query(MADE.query.reference.clone(), withdrawn),
        audit::Leaf::Receipt(
            "2026-09-30".parse().expect("a date"),
            erasure::sign(&world::receipt(), &world::hub()),
        ),
    ]
}

fn audit_leaves() -> wire::AuditLeaves {
    wire::AuditLeaves { first: 0, leaves: audit_log().iter().map(audit::Leaf::encode).collect() }
}

fn audit_checkpoint() -> audit::Checkpoint {
    let mut frontier = audit::Frontier::default();
    audit_log().iter().for_each(|leaf| frontier.push(merkle::leaf_hash(&leaf.encode())));
    audit::Checkpoint {
        origin: "cardquery.audit.v1".into(),
        size: frontier.size(),
        root: frontier.root(),
        signed_at: FINAL,
    }
}

fn sms(message: wire::sms_record::Message) -> wire::SmsRecord {
    let reference = world::reference("wallet", 1);
    wire::SmsRecord {
        out_id: reference.message_id("sms").to_wire(),
        reference: Some((&reference).into()),
        at_ms: FINAL.0,
        message: Some(message),
        attempt: 0,
    }
}

fn made_again() -> Vec<Golden> {
    use wire::event_record::Message as Event;
    use wire::sms_record::Message as Sms;
    let MadeOnce { query, .. } = &*MADE;
    let alpha = world::bank_id("alpha");
    let [one, two, three] = <[_; 3]>::try_from(reply_batch()).expect("three replies");
    let answer =
        wire::Answer { missing_sources: vec![wire::MissingSource::Credit.into()], ..world::answer(2) };
    let code = || "BANK_NOT_ACTIVE".to_owned();
    let revoked = submission::revoke(&query.reference, ACCEPTED, &world::wallet());
    let view = wire::GrantedView::decode(view::grant(&grant(), &world::wallet())).expect("a grant");
    vec![
        golden("content-identity", world::identity()),
        golden("content-contact", world::contact()),
        golden("content-answer", answer),
        golden("query-revoked", record(query_record::Message::Revoked(revoked))),
        golden("request-card", query.request("alpha")),
        golden("request-cancelled", request::cancel(&query.reference, &alpha, &world::hub())),
        golden("reply-answered", single(query.header("beta"), answered(1))),
        golden("reply-refused", single(bare_header(2), Word::Refused(wire::Refusal::DigestMismatch))),
        golden("reply-retry-later", single(bare_header(3), Word::RetryLater)),
        golden("reply-batch-1-of-3", one),
        golden("reply-batch-2-of-3", two),
        golden("reply-batch-3-of-3", three),
        golden(
            "notice",
            notice::notify(&world::notice_header(query), &query.submission().contact, &world::hub()),
        ),
        golden("registry-bank", world::signed_entry(&world::bank_entry("alpha"))),
        golden(
            "registry-bank-rotated",
            registry::sign_entry(&rotated_entry(), &world::roots(), Some(&world::bank_signing("alpha"))),
        ),
        golden("registry-upstream", world::signed_entry(&world::upstream_entry("wallet", &world::wallet()))),
        golden("registry-hub", world::signed_entry(&world::hub_entry())),
        golden("registry-notifier", world::signed_entry(&world::notifier_entry())),
        golden("report", report()),
        golden("granted-view", view),
        golden(
            "event-accepted",
            event(Event::Accepted(wire::QueryAccepted {
                accepted_at_ms: ACCEPTED.0,
                deadline_at_ms: DEADLINE.0,
                erase_on: "2026-09-30".into(),
                banks: 3,
            })),
        ),
        golden("event-rejected", event(Event::Rejected(wire::QueryRejected { code: code() }))),
        golden(
            "event-held",
            event(Event::Held(wire::QueryHeld { code: code(), release_from_ms: ACCEPTED.0 + 1 })),
        ),
        golden("event-cancelled", event(Event::Cancelled(wire::QueryCancelled { code: code() }))),
        golden(
            "event-report-ready",
            event(Event::ReportReady(wire::ReportReady {
                state: wire::QueryState::FinalPartial.into(),
                banks: 3,
                answered: 2,
                finalised_at_ms: FINAL.0,
            })),
        ),
        golden("event-viewed", event(Event::Viewed(wire::ReportViewed { viewed_at_ms: FINAL.0 }))),
        golden("event-withdrawn", event(Event::Withdrawn(wire::QueryWithdrawn { withdrawn_at_ms: FINAL.0 }))),
        golden("event-erased", event(Event::Erased(wire::ReportErased { erased_at_ms: FINAL.0 }))),
        golden("audit-leaves", audit_record(audit_record::Message::Leaves(audit_leaves()))),
        golden(
            "audit-checkpoint",
            audit_record(audit_record::Message::Checkpoint(wire::AuditCheckpoint {
                note: audit_checkpoint().sign(&world::hub()),
            })),
        ),
        golden("erasure-receipt", erasure::sign(&world::receipt(), &world::hub())),
        golden("sms-claimed", sms(Sms::Claimed(wire::SmsClaimed {}))),
        golden("sms-claimed-again", wire::SmsRecord { attempt: 2, ..sms(Sms::Claimed(wire::SmsClaimed {})) }),
        golden("sms-accepted", sms(Sms::Accepted(wire::SmsAccepted { gateway_id: "g-1".into() }))),
        golden("sms-delivered", sms(Sms::Delivered(wire::SmsDelivered {}))),
        golden("sms-failed", sms(Sms::Failed(wire::SmsFailed { code: code() }))),
        golden("sms-unknown", sms(Sms::Unknown(wire::SmsUnknown { code: code() }))),
    ]
}

#[test]
fn every_message_has_the_bytes_that_were_published() {
    let goldens = made_again();
    if store::blessing() {
        for golden in &goldens {
            store::write(golden.name, &golden.bytes);
        }
    }
    for golden in &goldens {
        let published = store::read(golden.name);
        assert!((golden.means_the_same)(&published), "golden/{}.hex means something else", golden.name);
        assert_eq!(hex::encode(&published), hex::encode(&golden.bytes), "golden/{}.hex", golden.name);
    }
    let expected = goldens.iter().map(|golden| golden.name).chain(MADE_ONCE).map(ToOwned::to_owned).collect();
    assert_eq!(store::names(), expected, "one file per golden, and no other");
}

/// The three statements of a submission without what is random: digests of sealed parts.
fn statements(
    submitted: &wire::QuerySubmitted,
) -> (wire::HubStatement, Vec<wire::BankStatement>, wire::NotifierStatement) {
    fn body(signed: Option<&wire::Signed>) -> Bytes {
        signed.expect("signed").body.clone()
    }
    let mut hub = wire::HubStatement::decode(body(submitted.hub_statement.as_ref())).expect("a statement");
    hub.contact_sha256 = Bytes::new();
    hub.banks.iter_mut().for_each(|share| share.identity_sha256 = Bytes::new());
    let banks = submitted.banks.iter().map(|part| {
        let mut word = wire::BankStatement::decode(body(part.statement.as_ref())).expect("a statement");
        word.identity_sha256 = Bytes::new();
        word
    });
    let contact = submitted.contact.as_ref().expect("a contact");
    let mut notifier =
        wire::NotifierStatement::decode(body(contact.statement.as_ref())).expect("a statement");
    notifier.contact_sha256 = Bytes::new();
    (hub, banks.collect(), notifier)
}

#[test]
fn a_published_query_says_what_one_of_today_says_and_still_opens() {
    let held = MADE.query.submission().query.content_digest();
    for (published, releases) in [(&MADE.query, None), (&MADE.released, Some(held))] {
        let today = world::query_of("wallet", 1, &world::BANKS, releases);
        assert_eq!(statements(&published.submitted), statements(&today.submitted));
        assert_eq!(published.submitted.encoded_len(), today.submitted.encoded_len());
        let submission = published.submission();
        assert_eq!(submission.query.releases, releases);
        assert_eq!(submission.query.content_digest(), held, "a release has the content of what was held");
        for bank in world::BANKS {
            assert_eq!(published.accepted(bank).identity, world::identity());
        }
        let value = notice::notify(&world::notice_header(published), &submission.contact, &world::hub());
        let value = value.encode_to_vec().into();
        let notice =
            notice::open(published.key().as_bytes(), value, &world::registry(), FINAL).expect("verifies");
        assert_eq!(notice.contact(&[world::notifier()]), Ok(world::contact()));
    }
    assert_ne!(MADE.query.submission().query.terms.nonce, MADE.released.submission().query.terms.nonce);
}

#[test]
fn every_published_word_of_a_bank_still_verifies() {
    let registry = world::registry();
    let mut expected = Vec::new();
    for name in ["reply-answered", "reply-batch-1-of-3"] {
        expected.push((name, MADE.query.reference.clone(), wire::ReplyOutcome::Answered));
    }
    for (name, n, outcome) in [
        ("reply-refused", 2, wire::ReplyOutcome::Refused),
        ("reply-batch-2-of-3", 2, wire::ReplyOutcome::Refused),
        ("reply-retry-later", 3, wire::ReplyOutcome::RetryLater),
        ("reply-batch-3-of-3", 3, wire::ReplyOutcome::RetryLater),
    ] {
        expected.push((name, world::reference("wallet", n), outcome));
    }
    for (name, reference, outcome) in expected {
        let bank = if name == "reply-answered" { "beta" } else { "alpha" };
        let (party, key) = (world::party(&registry, bank), reference.query.to_string());
        let (value, roots) = (store::read(name).into(), &mut VerifiedRoots::default());
        let reply =
            reply::open(&world::bank_id(bank), key.as_bytes(), value, party, REPLIED, roots).expect(name);
        assert_eq!(
            (&reply.reference, reply.outcome, reply.signed_at),
            (&reference, outcome, REPLIED),
            "{name}"
        );
        let expected = match outcome {
            wire::ReplyOutcome::Answered => MADE.query.expected(bank),
            wire::ReplyOutcome::Unspecified
            | wire::ReplyOutcome::Refused
            | wire::ReplyOutcome::RetryLater => Expected {
                statement_sha256: bare(&reference),
                report_key: world::opening(0).id(),
                accepted_at: ACCEPTED,
            },
        };
        assert_eq!(reply.check(&expected, REPLIED), Ok(()), "{name}");
    }
}

fn bare(reference: &schemas::ids::Reference) -> Digest {
    Digest([reference.query.as_bytes()[15]; 32])
}

#[test]
fn every_published_word_of_hub_upstream_and_roots_still_verifies() {
    let registry = world::registry();
    let (query, alpha) = (&MADE.query, world::bank_id("alpha"));

    let (request, accepted) =
        world::accept("alpha", store::read("request-card").into(), &registry).expect("verifies");
    assert_eq!(request.header, query.header("alpha"));
    assert_eq!(accepted.identity, world::identity());
    let hub = registry.hub().expect("registered");
    let cancelled =
        request::open(&alpha, store::read("request-cancelled").into(), hub, REPLIED).expect("verifies");
    assert!(matches!(cancelled, Opened::Cancelled(reference) if reference == query.reference));

    let value = store::read("notice").into();
    let notice = notice::open(query.key().as_bytes(), value, &registry, FINAL).expect("verifies");
    assert_eq!(
        (&notice.header, notice.contact(&[world::notifier()])),
        (&world::notice_header(query), Ok(world::contact()))
    );

    let revoked = wire::QueryRecord::decode(store::read("query-revoked").as_slice()).expect("a record");
    let Some(query_record::Message::Revoked(revoked)) = revoked.message else { panic!("not a revocation") };
    let upstream = &query.reference.upstream;
    let party = registry.upstream(upstream).expect("registered");
    let reference = submission::open_revocation(upstream, query.key().as_bytes(), &revoked, party, ACCEPTED);
    assert_eq!(reference, Ok(query.reference.clone()));

    let (granted, _) = view::open(store::read("granted-view").into(), &registry, FINAL).expect("verifies");
    assert_eq!(granted, grant());

    let published = wire::AuditRecord::decode(store::read("audit-leaves").as_slice()).expect("a record");
    let Some(audit_record::Message::Leaves(leaves)) = published.message else { panic!("no leaves") };
    let decoded: Vec<_> = leaves.leaves.iter().map(|leaf| audit::Leaf::decode(leaf)).collect();
    assert_eq!(decoded, audit_log().map(Ok));
    let published = wire::AuditRecord::decode(store::read("audit-checkpoint").as_slice()).expect("a record");
    let Some(audit_record::Message::Checkpoint(checkpoint)) = published.message else { panic!("none") };
    let opened = audit::Checkpoint::open(&checkpoint.note, "cardquery.audit.v1", hub.keys());
    assert_eq!(opened, Ok(audit_checkpoint()));

    let mut fresh = Registry::new(world::pinned(), SeenVersions::default());
    for (name, key) in [
        ("registry-bank", "bank/alpha"),
        ("registry-bank-rotated", "bank/alpha"),
        ("registry-upstream", "upstream/wallet"),
        ("registry-hub", "hub/hub"),
        ("registry-notifier", "notifier/notifier"),
    ] {
        let applied = fresh.apply(key.as_bytes(), &store::read(name), FINAL);
        assert_eq!(applied, Ok(Applied::Changed), "{name}");
    }
    assert!(!world::party(&fresh, "alpha").is_active());

    let report = wire::Report::decode(store::read("report").as_slice()).expect("a report");
    let opened = world::view(query, &report).expect("verifies");
    let shown: Vec<_> =
        opened.banks.iter().map(|bank| (bank.outcome, bank.answer.clone(), bank.verified)).collect();
    assert_eq!(
        shown,
        [
            (wire::BankOutcome::Answered, Some(world::answer(2)), Some(Ok(()))),
            (wire::BankOutcome::Answered, Some(world::answer(0)), Some(Ok(()))),
            (wire::BankOutcome::NoReply, None, None),
        ]
    );
    assert!(!opened.complete);
}

/// The encoding of fields in a few lines, apart from the crate: each field after its u16-BE length.
fn fields(fields: &[&[u8]]) -> Vec<u8> {
    let length = |field: &[u8]| u16::try_from(field.len()).expect("short").to_be_bytes();
    fields.iter().flat_map(|field| [&length(field)[..], field].concat()).collect()
}

fn info(kind: &str) -> Vec<u8> {
    fields(&[kind.as_bytes(), b"PURPOSE_ANTI_FRAUD_SELF_CHECK"])
}

fn aad(party: &str, recipient: &OpeningKey, context: &[u8]) -> Vec<u8> {
    let reference = world::reference("wallet", 1);
    let expires_at = EXPIRES.0.to_be_bytes();
    let upstream = reference.upstream.as_str().as_bytes();
    fields(&[upstream, reference.query.as_bytes(), party.as_bytes(), &recipient.id().0, &expires_at, context])
}

/// Opens an envelope with nothing of this crate but its proto file.
fn open_apart(envelope: &Bytes, key: &OpeningKey, info: &[u8], aad: &[u8]) -> Vec<u8> {
    let envelope = wire::Sealed::decode(envelope.clone()).expect("an envelope");
    assert_eq!((envelope.suite, envelope.key_id.as_ref()), (1, key.id().0.as_slice()));
    let private = Deserializable::from_bytes(key.to_raw().as_slice()).expect("a key");
    let enc = Deserializable::from_bytes(&envelope.enc).expect("32 bytes");
    let mut context = hpke::setup_receiver::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &hpke::OpModeR::Base,
        &private,
        &enc,
        info,
    )
    .expect("a shared secret");
    let padded = context.open(&envelope.ciphertext, aad).expect("opens");
    let length = usize::from(u16::from_be_bytes([padded[0], padded[1]]));
    assert!(padded[2 + length..].iter().all(|byte| *byte == 0));
    padded[2..2 + length].to_vec()
}

#[test]
fn derived_values_are_those_that_were_published() {
    let query = &MADE.query;
    let reference = &query.reference;
    let submission = query.submission();
    let alpha = world::bank_id("alpha");
    let share = &submission.banks[&alpha];
    let nonce = submission.query.terms.nonce.0;

    let (bank_key, notifier_key) = (world::bank_opening("alpha"), world::notifier());
    let aad_identity = aad("alpha", &bank_key, &nonce);
    let identity = open_apart(&share.sealed_identity, &bank_key, &info("seal-identity/v1"), &aad_identity);
    assert_eq!(identity, world::identity().encode_to_vec());
    let aad_contact = aad("notifier", &notifier_key, &nonce);
    let sealed = &submission.contact.sealed_contact;
    let contact = open_apart(sealed, &notifier_key, &info("seal-contact/v1"), &aad_contact);
    assert_eq!(contact, world::contact().encode_to_vec());
    let aad_answer = aad("alpha", &query.report_key, &share.statement_sha256.0);
    let answer = open_apart(&MADE.answers[0], &query.report_key, &info("seal-answer/v1"), &aad_answer);
    assert_eq!(answer, world::answer(2).encode_to_vec());

    let leaves: Vec<_> = (0u8..3).map(|n| merkle::leaf_hash(&[n])).collect();
    let mut lines = vec![
        ("request-id".to_owned(), reference.request_id(&alpha).to_string()),
        ("message-id ReportReady".to_owned(), reference.message_id("ReportReady").to_string()),
        ("key-id ed25519".to_owned(), world::wallet().id().to_string()),
        ("key-id x25519".to_owned(), bank_key.id().to_string()),
        ("public ed25519".to_owned(), hex::encode(world::wallet().public().to_wire().raw)),
        ("public x25519".to_owned(), hex::encode(bank_key.public().to_wire().raw)),
        ("content-digest".to_owned(), submission.query.content_digest().to_string()),
        ("statement-sha256 alpha".to_owned(), share.statement_sha256.to_string()),
        ("info identity".to_owned(), hex::encode(info("seal-identity/v1"))),
        ("info contact".to_owned(), hex::encode(info("seal-contact/v1"))),
        ("info answer".to_owned(), hex::encode(info("seal-answer/v1"))),
        ("aad identity alpha".to_owned(), hex::encode(aad_identity)),
        ("aad contact".to_owned(), hex::encode(aad_contact)),
        ("aad answer alpha".to_owned(), hex::encode(aad_answer)),
        ("batch-root 00 01 02".to_owned(), merkle::root(&leaves).to_string()),
    ];
    for tag in Tag::ALL {
        let signature = sign::sign_bytes(tag, b"body", &world::wallet());
        lines.push((format!("signature {} of `body`", tag.as_str()), hex::encode(signature)));
    }
    let text: String = lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    if store::blessing() {
        store::write_text("derived.txt", &text);
    }
    assert_eq!(store::text("derived.txt"), text);
}
