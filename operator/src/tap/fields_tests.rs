//! Every message with a canary in every field. The literals name every field, so a new one does not compile until it has a
//! canary.

use std::collections::BTreeSet;
use std::sync::Arc;

use plumbing::kafka::{Position, Record};
use schemas::audit::{Change, leaf};
use schemas::ids::{Digest, KeyId, Nonce, Reference};
use schemas::time::UnixMillis;
use schemas::topics::Topics;

use super::super::line::{KINDS, Line};
use super::*;

/// What a phone number is like: as text also a party's id.
const PHONE: &str = "13800138000";
const NAME: &str = "CANARY-张三";
const NUMBER: u32 = 1_380_013_800;
const MILLIS: i64 = 13_800_138_000;
const ID: &str = "0192f0c1-2d3e-7000-8000-000000000001";

/// The fields of one kind of canary.
#[derive(Clone, Copy)]
struct Canary(&'static str);

impl Canary {
    fn text(self) -> String {
        self.0.to_owned()
    }

    fn bytes(self) -> Bytes {
        Bytes::from_static(self.0.as_bytes())
    }

    /// As long as ids and digests are.
    fn raw(self, length: usize) -> Bytes {
        self.0.bytes().cycle().take(length).collect::<Vec<_>>().into()
    }

    fn reference(self) -> Option<wire::Reference> {
        let id: QueryId = ID.parse().expect("an id");
        Some(wire::Reference { upstream: self.text(), query_id: Bytes::copy_from_slice(id.as_bytes()) })
    }

    fn signed(self, body: &impl prost::Message) -> Option<wire::Signed> {
        let body = body.encode_to_vec().into();
        Some(wire::Signed { body, key_id: self.raw(15), signature: self.raw(64) })
    }

    fn sealed(self) -> Bytes {
        let sealed = wire::Sealed {
            suite: i32::MAX,
            key_id: self.raw(15),
            enc: self.raw(32),
            ciphertext: self.raw(512),
        };
        sealed.encode_to_vec().into()
    }

    fn key(self) -> Option<wire::PublicKey> {
        Some(wire::PublicKey { algorithm: 1, raw: self.raw(32) })
    }

    fn factors(self) -> Vec<wire::Factor> {
        vec![wire::Factor { kind: 1, at_ms: MILLIS }]
    }

    fn submission(self) -> wire::QuerySubmitted {
        let statement = wire::HubStatement {
            reference: self.reference(),
            purpose: i32::MAX,
            issued_at_ms: MILLIS,
            expires_at_ms: MILLIS,
            nonce: self.raw(16),
            consent_text_sha256: self.raw(32),
            scam_warning_acknowledged: true,
            assurance: i32::MAX,
            factors: self.factors(),
            report_key: self.key(),
            subject: self.text(),
            region: self.text(),
            banks: vec![wire::BankShare { bank_id: self.text(), identity_sha256: self.raw(32) }],
            contact_sha256: self.raw(32),
            risk: Some(wire::RiskSignals {
                screen_shared: true,
                on_call: true,
                remote_control: true,
                new_device: true,
                pretext: i32::MAX,
            }),
            releases_sha256: self.raw(32),
        };
        let to_bank = wire::BankStatement {
            reference: self.reference(),
            bank_id: self.text(),
            purpose: 1,
            issued_at_ms: MILLIS,
            expires_at_ms: MILLIS,
            nonce: self.raw(16),
            consent_text_sha256: self.raw(32),
            assurance: 1,
            factors: self.factors(),
            report_key: self.key(),
            identity_sha256: self.raw(32),
        };
        wire::QuerySubmitted {
            hub_statement: self.signed(&statement),
            banks: vec![wire::BankPart { statement: self.signed(&to_bank), sealed_identity: self.sealed() }],
            contact: Some(wire::ContactPart {
                statement: self.signed(&self.to_notifier()),
                sealed_contact: self.sealed(),
            }),
        }
    }

    fn to_notifier(self) -> wire::NotifierStatement {
        wire::NotifierStatement {
            reference: self.reference(),
            purpose: 1,
            issued_at_ms: MILLIS,
            expires_at_ms: MILLIS,
            nonce: self.raw(16),
            contact_sha256: self.raw(32),
        }
    }

    fn queries(self) -> Vec<query_record::Message> {
        let revocation = wire::Revocation { reference: self.reference(), issued_at_ms: MILLIS };
        vec![
            query_record::Message::Submitted(self.submission()),
            query_record::Message::Released(wire::QueryReleased { submission: Some(self.submission()) }),
            query_record::Message::Revoked(wire::ConsentRevoked { revocation: self.signed(&revocation) }),
        ]
    }

    fn events(self) -> Vec<event_record::Message> {
        use event_record::Message;
        vec![
            Message::Accepted(wire::QueryAccepted {
                accepted_at_ms: MILLIS,
                deadline_at_ms: MILLIS,
                erase_on: self.text(),
                banks: NUMBER,
            }),
            Message::Rejected(wire::QueryRejected { code: self.text() }),
            Message::Held(wire::QueryHeld { code: self.text(), release_from_ms: MILLIS }),
            Message::Cancelled(wire::QueryCancelled { code: self.text() }),
            Message::ReportReady(wire::ReportReady {
                state: i32::MAX,
                banks: NUMBER,
                answered: NUMBER,
                finalised_at_ms: MILLIS,
            }),
            Message::Viewed(wire::ReportViewed { viewed_at_ms: MILLIS }),
            Message::Withdrawn(wire::QueryWithdrawn { withdrawn_at_ms: MILLIS }),
            Message::Erased(wire::ReportErased { erased_at_ms: MILLIS }),
        ]
    }

    fn requests(self) -> Vec<request_record::Message> {
        let header = wire::RequestHeader {
            reference: self.reference(),
            bank_id: self.text(),
            request_id: self.raw(16),
            statement_sha256: self.raw(32),
            accepted_at_ms: MILLIS,
            reply_by_ms: MILLIS,
            attempt: NUMBER,
        };
        let cancelled = wire::RequestCancellation {
            reference: self.reference(),
            bank_id: self.text(),
            request_id: self.raw(16),
        };
        vec![
            request_record::Message::Request(wire::CardRequest {
                header: self.signed(&header),
                statement: self.signed(&self.to_notifier()),
                sealed_identity: self.sealed(),
            }),
            request_record::Message::Cancelled(wire::RequestCancelled {
                cancellation: self.signed(&cancelled),
            }),
        ]
    }

    fn reply(self) -> reply_record::Message {
        let header = wire::ReplyHeader {
            reference: self.reference(),
            request_id: self.raw(16),
            bank_id: self.text(),
            outcome: i32::MAX,
            refusal: i32::MAX,
            statement_sha256: self.raw(32),
            report_key_id: self.raw(16),
            sealed_sha256: self.raw(32),
        };
        let batch = wire::BatchStatement {
            bank_id: self.text(),
            key_id: self.raw(16),
            batch_id: self.raw(16),
            tree_size: NUMBER,
            root: self.raw(32),
            signed_at_ms: MILLIS,
        };
        reply_record::Message::Reply(wire::CardReply {
            header: header.encode_to_vec().into(),
            proof: Some(wire::BatchProof {
                statement: self.signed(&batch),
                index: NUMBER,
                path: vec![self.raw(32)],
            }),
            sealed_answer: self.sealed(),
        })
    }

    fn notice(self) -> notice_record::Message {
        let header = wire::NoticeHeader {
            reference: self.reference(),
            state: i32::MAX,
            banks: NUMBER,
            answered: NUMBER,
            statement_sha256: self.raw(32),
            accepted_at_ms: MILLIS,
        };
        notice_record::Message::ReportReady(wire::ReportNotice {
            header: self.signed(&header),
            statement: self.signed(&self.to_notifier()),
            sealed_contact: self.sealed(),
        })
    }

    fn sms(self) -> Vec<sms_record::Message> {
        use sms_record::Message;
        vec![
            Message::Claimed(wire::SmsClaimed {}),
            Message::Accepted(wire::SmsAccepted { gateway_id: self.text() }),
            Message::Delivered(wire::SmsDelivered {}),
            Message::Failed(wire::SmsFailed { code: self.text() }),
            Message::Unknown(wire::SmsUnknown { code: self.text() }),
        ]
    }

    fn entry(self) -> wire::RegistryRecord {
        let text = || Some(wire::Text { zh_cn: self.text(), en: self.text() });
        let entry = wire::RegistryEntry {
            kind: i32::MAX,
            id: self.text(),
            version: u64::from(NUMBER),
            state: i32::MAX,
            keys: vec![wire::PartyKey {
                r#use: 1,
                key: self.key(),
                valid_from_ms: MILLIS,
                revoked: true,
                revoked_at_ms: MILLIS,
            }],
            regions: vec![self.text()],
            bank_texts: Some(wire::BankTexts {
                name: text(),
                products: vec![wire::ProductText { product_code: self.text(), name: text() }],
                phone: self.text(),
                closing: text(),
            }),
        };
        let signature = || wire::EntrySignature { key_id: self.raw(15), signature: self.raw(64) };
        wire::RegistryRecord {
            body: entry.encode_to_vec().into(),
            root_signatures: vec![signature()],
            rotation_signature: Some(signature()),
        }
    }

    fn audits(self) -> Vec<audit_record::Message> {
        let digest = || Digest(self.raw(32)[..].try_into().expect("32 bytes"));
        let id = || self.raw(16)[..].try_into().expect("16 bytes");
        let record = || leaf::Place { topic: self.text(), partition: i32::MAX, offset: MILLIS };
        let at = UnixMillis(MILLIS);
        let changes = [
            Change::Held {
                content_digest: digest(),
                report_key: KeyId(id()),
                record: record(),
                accepted_at: at,
                release_from: at,
                release_until: at,
                code: self.text(),
            },
            Change::Risk {
                record: record(),
                decision: self.text(),
                pretext: 2,
                screen_shared: true,
                on_call: true,
                remote_control: true,
                new_device: true,
            },
            Change::GrantRefused { grant: digest(), code: self.text(), at },
            Change::Viewed { nonce: Nonce(id()), grant: digest(), at },
        ];
        let reference =
            Reference { upstream: "wallet".parse().expect("an id"), query: ID.parse().expect("an id") };
        let leaves = changes.map(|change| Leaf::Query(reference.clone(), change).encode());
        let note = format!("{}\n{MILLIS}\n{}\ntime {MILLIS}\n\n— {}", self.0, self.0, self.0);
        vec![
            audit_record::Message::Leaves(wire::AuditLeaves {
                first: MILLIS.cast_unsigned(),
                leaves: leaves.into_iter().chain([self.bytes()]).collect(),
            }),
            audit_record::Message::Checkpoint(wire::AuditCheckpoint { note }),
        ]
    }

    /// Every message there is, with its family.
    fn all(self) -> Vec<(Family, Bytes)> {
        let encoded = |message: &dyn Fn() -> Vec<u8>| Bytes::from(message());
        let mut all = Vec::new();
        for family in [Family::Query, Family::DeadQuery] {
            for message in self.queries() {
                let record = wire::QueryRecord { message: Some(message) };
                all.push((family, encoded(&|| record.encode_to_vec())));
            }
        }
        for message in self.events() {
            let record = wire::EventRecord { reference: self.reference(), message: Some(message) };
            all.push((Family::Event, encoded(&|| record.encode_to_vec())));
        }
        for message in self.requests() {
            let record = wire::RequestRecord { message: Some(message) };
            all.push((Family::Request, encoded(&|| record.encode_to_vec())));
        }
        for family in [Family::Reply, Family::DeadReply] {
            let record = wire::ReplyRecord { message: Some(self.reply()) };
            all.push((family, encoded(&|| record.encode_to_vec())));
        }
        for family in [Family::Notice, Family::DeadNotice] {
            let record = wire::NoticeRecord { message: Some(self.notice()) };
            all.push((family, encoded(&|| record.encode_to_vec())));
        }
        for message in self.sms() {
            let record = wire::SmsRecord {
                reference: self.reference(),
                out_id: self.raw(16),
                at_ms: MILLIS,
                attempt: NUMBER,
                message: Some(message),
            };
            all.push((Family::Sms, encoded(&|| record.encode_to_vec())));
        }
        let entry = self.entry();
        all.push((Family::Registry, encoded(&|| entry.encode_to_vec())));
        for message in self.audits() {
            let record = wire::AuditRecord { message: Some(message) };
            all.push((Family::Audit, encoded(&|| record.encode_to_vec())));
        }
        all
    }
}

fn known() -> Known {
    Known { parties: ["wallet", "alpha", "hub"].map(str::to_owned).into() }
}

/// A record whose key and headers are canaries, too.
fn record(topic: &str, canary: Canary, value: Bytes) -> Record {
    let names = [
        "ce_id",
        "ce_type",
        "ce_source",
        "ce_time",
        "ce_expirytime",
        "ce_correlationid",
        "ce_subject",
        "traceparent",
        "tracestate",
        "content-type",
        "cardquery-error-code",
        "cardquery-error-class",
        "__dlq.errors.topic",
        "__dlq.errors.partition",
        "__dlq.errors.offset",
        "__dlq.errors.group",
        "__dlq.errors.delivery.count",
        "__dlq.errors.message",
        PHONE,
    ];
    let source = format!("/cardquery/bank/{}", canary.0);
    let kind = format!("cardquery.{}.v1", canary.0);
    let mut headers: Vec<(String, Bytes)> =
        names.into_iter().map(|name| (name.to_owned(), canary.bytes())).collect();
    headers.extend([("ce_source".to_owned(), source.into()), ("ce_type".to_owned(), kind.into())]);
    Record {
        position: Position { topic: Arc::from(topic), partition: 1, offset: 7 },
        append_time_ms: 1_795_420_800_000,
        key: Some(canary.bytes()),
        value,
        headers,
    }
}

#[test]
fn a_canary_in_any_field_of_any_message_key_or_header_is_shown_nowhere() {
    let topics = Topics::default();
    let mut kinds = BTreeSet::new();
    for canary in [Canary(PHONE), Canary(NAME)] {
        for (family, value) in canary.all() {
            let line = Line::of(&record("cardquery.sms.v1", canary, value), family, &topics, &known());
            kinds.insert(line.r#type);
            let printed = format!("{line}\n{}", serde_json::to_string(&line).expect("JSON"));
            let secrets = [
                PHONE.to_owned(),
                NUMBER.to_string(),
                "CANARY".to_owned(),
                "张三".to_owned(),
                hex::encode(&canary.0[..6]),
                i32::MAX.to_string(),
                "screen".to_owned(),
                "INVESTMENT".to_owned(),
            ];
            for secret in secrets {
                assert!(!printed.contains(&secret), "{}: `{secret}` in {printed}", line.r#type);
            }
        }
    }
    let all: BTreeSet<&str> = KINDS.into_iter().chain(["AuditLeaves", "AuditCheckpoint"]).collect();
    assert_eq!(kinds, all, "every message there is was read, and none was unreadable");
}

#[test]
fn what_is_asked_for_is_shown() {
    let alpha = Canary("alpha");
    let reply = wire::ReplyRecord { message: Some(alpha.reply()) };
    let shown = shown(Family::Reply, &reply.encode_to_vec().into(), &known());
    assert_eq!(shown.field("bank"), Some("alpha"));
    assert_eq!(shown.query.map(|query| query.to_string()).as_deref(), Some(ID));
    let answer = shown.field("answer").expect("an answer");
    assert!(answer.starts_with("sealed(512 B"), "{answer}");
    let header = wire::ReplyHeader { outcome: wire::ReplyOutcome::Refused.into(), ..Default::default() };
    let header = wire::ReplyHeader { refusal: wire::Refusal::DigestMismatch.into(), ..header };
    let refused = wire::CardReply { header: header.encode_to_vec().into(), ..Default::default() };
    let record = wire::ReplyRecord { message: Some(reply_record::Message::Reply(refused)) };
    let shown = super::shown(Family::Reply, &record.encode_to_vec().into(), &known());
    assert_eq!((shown.field("outcome"), shown.field("refusal")), (Some("REFUSED"), Some("DIGEST_MISMATCH")));
    let held = wire::QueryHeld { code: "HELD_FOR_RISK".to_owned(), release_from_ms: 1_795_420_800_000 };
    let record = wire::EventRecord { reference: None, message: Some(event_record::Message::Held(held)) };
    let shown = super::shown(Family::Event, &record.encode_to_vec().into(), &known());
    assert_eq!(shown.field("code"), Some("HELD_FOR_RISK"));
    assert_eq!(shown.field("release_from"), Some("2026-11-23T08:00:00.000Z"));
}

#[test]
fn what_cannot_be_read_is_unreadable_and_shown_by_its_size() {
    for family in Family::ALL {
        let value = Bytes::from_static(b"\xff\xff13800138000");
        assert_eq!(shown(family, &value, &known()), Shown::new(UNREADABLE), "{family:?}");
    }
}
