//! A small world with fixed keys and times: two upstreams, three banks, a hub, a notifier, one report key per query.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use schemas::batch::{self, VerifiedRoots};
use schemas::codes::Code;
use schemas::ids::{BankId, Digest, Nonce, QueryId, Reference, UpstreamId};
use schemas::keys::{OpeningKey, SigningKey, VerifyingKey};
use schemas::registry::{self, Party, Registry, SeenVersions};
use schemas::reply::{self, BadReply, Reply, Unsigned, Word};
use schemas::report::{self, Coverage, Device, OpenedReport};
use schemas::request::{self, Accepted, Header, NotAccepted, Opened, Request};
use schemas::submission::{self, Draft, Submission, Terms};
use schemas::time::UnixMillis;
use schemas::wire::{self, KeyUse, PartyKind, PartyState};
use schemas::{erasure, notice};

/// When every query of this world is accepted.
pub(crate) const ACCEPTED: UnixMillis = UnixMillis(1_790_000_000_000);
pub(crate) const ISSUED: UnixMillis = UnixMillis(ACCEPTED.0 - 30_000);
pub(crate) const EXPIRES: UnixMillis = UnixMillis(ISSUED.0 + 3_600_000);
pub(crate) const REPLIED: UnixMillis = UnixMillis(ACCEPTED.0 + 5_000);
pub(crate) const FINAL: UnixMillis = UnixMillis(ACCEPTED.0 + 60_000);
pub(crate) const DEADLINE: UnixMillis = UnixMillis(ACCEPTED.0 + 86_400_000);
pub(crate) const REPLY_BY: UnixMillis = UnixMillis(DEADLINE.0 - 1_800_000);
pub(crate) const FACTOR_AGE: Duration = Duration::from_secs(600);
pub(crate) const BANKS: [&str; 3] = ["alpha", "beta", "gamma"];
/// When every key starts to count.
pub(crate) const VALID_FROM: i64 = 1_700_000_000_000;

pub(crate) fn signing(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

pub(crate) fn opening(n: u8) -> OpeningKey {
    OpeningKey::derive(&[n; 32])
}

pub(crate) fn roots() -> Vec<SigningKey> {
    vec![signing(1), signing(2)]
}

pub(crate) fn pinned() -> Vec<VerifyingKey> {
    roots().iter().map(SigningKey::public).collect()
}

pub(crate) fn hub() -> SigningKey {
    signing(10)
}

pub(crate) fn wallet() -> SigningKey {
    signing(20)
}

/// The second upstream.
pub(crate) fn purse() -> SigningKey {
    signing(21)
}

pub(crate) fn notifier() -> OpeningKey {
    opening(50)
}

pub(crate) fn bank_signing(bank: &str) -> SigningKey {
    signing(30 + place(bank))
}

pub(crate) fn bank_opening(bank: &str) -> OpeningKey {
    opening(40 + place(bank))
}

fn place(bank: &str) -> u8 {
    let at = BANKS.iter().position(|known| *known == bank).expect("a bank of this world");
    u8::try_from(at).expect("few banks")
}

pub(crate) fn bank_id(bank: &str) -> BankId {
    bank.parse().expect("an id")
}

pub(crate) fn upstream_id(upstream: &str) -> UpstreamId {
    upstream.parse().expect("an id")
}

pub(crate) fn reference(upstream: &str, n: u8) -> Reference {
    let mut id = [n; 16];
    id[..7].copy_from_slice(&[0x01, 0xa0, 0xc4, 0x1f, 0x00, 0x00, 0x7a]);
    id[8] = 0x9c;
    Reference { upstream: upstream_id(upstream), query: QueryId::from_bytes(&id).expect("a version 7 id") }
}

pub(crate) fn sign_key(key: &SigningKey) -> wire::PartyKey {
    wire::PartyKey {
        r#use: KeyUse::Sign.into(),
        key: Some(key.public().to_wire()),
        valid_from_ms: VALID_FROM,
        ..Default::default()
    }
}

pub(crate) fn seal_key(key: &OpeningKey) -> wire::PartyKey {
    wire::PartyKey {
        r#use: KeyUse::Seal.into(),
        key: Some(key.public().to_wire()),
        valid_from_ms: VALID_FROM,
        ..Default::default()
    }
}

pub(crate) fn text(zh_cn: &str, en: &str) -> wire::Text {
    wire::Text { zh_cn: zh_cn.into(), en: en.into() }
}

pub(crate) fn bank_entry(bank: &str) -> wire::RegistryEntry {
    wire::RegistryEntry {
        kind: PartyKind::Bank.into(),
        id: bank.into(),
        version: 3,
        state: PartyState::Active.into(),
        keys: vec![sign_key(&bank_signing(bank)), seal_key(&bank_opening(bank))],
        regions: vec!["310000".into(), "440300".into()],
        bank_texts: Some(wire::BankTexts {
            name: Some(text("甲银行", "Bank")),
            products: vec![wire::ProductText {
                product_code: "D1".into(),
                name: Some(text("借记卡", "Debit")),
            }],
            phone: "95500".into(),
            closing: Some(text("柜台办理", "At a counter")),
        }),
    }
}

pub(crate) fn upstream_entry(upstream: &str, key: &SigningKey) -> wire::RegistryEntry {
    wire::RegistryEntry {
        kind: PartyKind::Upstream.into(),
        id: upstream.into(),
        version: 1,
        state: PartyState::Active.into(),
        keys: vec![sign_key(key)],
        regions: vec!["310000".into()],
        bank_texts: None,
    }
}

/// What the hub says of an erased day.
pub(crate) fn receipt() -> erasure::Receipt {
    erasure::Receipt {
        day: "2026-09-30".to_owned(),
        tables: ["contact", "coverage", "segment"].map(str::to_owned).to_vec(),
        key_id: Digest::of(b"a key"),
        queries: 110_000,
        closed_at: FINAL,
        dropped_at: UnixMillis(FINAL.0 + 1),
        key_destroyed_at: UnixMillis(FINAL.0 + 2),
        signed_at: UnixMillis(FINAL.0 + 3),
    }
}

pub(crate) fn hub_entry() -> wire::RegistryEntry {
    wire::RegistryEntry {
        kind: PartyKind::Hub.into(),
        id: registry::HUB.into(),
        version: 2,
        state: PartyState::Active.into(),
        keys: vec![sign_key(&hub())],
        ..Default::default()
    }
}

pub(crate) fn notifier_entry() -> wire::RegistryEntry {
    wire::RegistryEntry {
        kind: PartyKind::Notifier.into(),
        id: registry::NOTIFIER.into(),
        version: 1,
        state: PartyState::Active.into(),
        keys: vec![seal_key(&notifier())],
        ..Default::default()
    }
}

pub(crate) fn signed_entry(entry: &wire::RegistryEntry) -> wire::RegistryRecord {
    registry::sign_entry(entry, &roots(), None)
}

pub(crate) fn apply(
    registry: &mut Registry,
    record: &wire::RegistryRecord,
    at: UnixMillis,
) -> Result<registry::Applied, Code> {
    let entry = wire::RegistryEntry::decode(record.body.clone()).map_err(|_| Code::MESSAGE_MALFORMED)?;
    registry.apply(registry::record_key(&entry)?.as_bytes(), &record.encode_to_vec(), at)
}

pub(crate) fn registry() -> Registry {
    let mut registry = Registry::new(pinned(), SeenVersions::default());
    let mut entries: Vec<_> = BANKS.iter().map(|bank| bank_entry(bank)).collect();
    entries.extend([
        upstream_entry("wallet", &wallet()),
        upstream_entry("purse", &purse()),
        hub_entry(),
        notifier_entry(),
    ]);
    for entry in &entries {
        apply(&mut registry, &signed_entry(entry), UnixMillis(VALID_FROM)).expect("a good entry");
    }
    registry
}

pub(crate) fn party<'a>(registry: &'a Registry, bank: &str) -> &'a Party {
    registry.bank(&bank_id(bank)).expect("registered")
}

pub(crate) fn identity() -> wire::Identity {
    wire::Identity {
        name: "王小明".into(),
        document_type: wire::DocumentType::ResidentId.into(),
        document_number: "110101199003078718".into(),
        phone: "+8613800000001".into(),
    }
}

pub(crate) fn contact() -> wire::Contact {
    wire::Contact { phone: "+8613800000001".into(), language: wire::Language::ZhCn.into() }
}

pub(crate) fn card(last4: &str) -> wire::Card {
    wire::Card {
        kind: wire::CardKind::Debit.into(),
        account_class: wire::AccountClass::I.into(),
        first4: "6222".into(),
        last4: last4.into(),
        pan_length: 19,
        product_code: "D1".into(),
        status: wire::CardStatus::Dormant.into(),
        opened_month: 201_607,
        dormancy: Some(wire::Dormancy {
            rule_id: "R6M".into(),
            last_active_month: 202_501,
            as_of_day: 20_260_930,
        }),
        next_actions: vec![wire::NextAction::Close.into(), wire::NextAction::VisitBranch.into()],
        ..wire::Card::default()
    }
}

pub(crate) fn answer(cards: usize) -> wire::Answer {
    let kind = if cards == 0 { wire::AnswerKind::NoCards } else { wire::AnswerKind::Cards };
    wire::Answer {
        kind: kind.into(),
        cards: (0..cards).map(|n| card(&format!("{:04}", 1000 + n))).collect(),
        missing_sources: Vec::new(),
        as_of_ms: REPLIED.0 - 1_000,
    }
}

pub(crate) fn factors() -> Vec<wire::Factor> {
    vec![
        wire::Factor { kind: wire::FactorKind::Password.into(), at_ms: ISSUED.0 - 20_000 },
        wire::Factor { kind: wire::FactorKind::Face.into(), at_ms: ISSUED.0 - 10_000 },
    ]
}

pub(crate) fn terms(nonce: u8, report_key: &OpeningKey) -> Terms {
    Terms {
        purpose: wire::Purpose::AntiFraudSelfCheck,
        issued_at: ISSUED,
        expires_at: EXPIRES,
        nonce: Nonce([nonce; 16]),
        consent_text: Digest::of("同意书".as_bytes()),
        assurance: wire::Assurance::RealName,
        factors: factors(),
        report_key: report_key.public().clone(),
    }
}

/// One query with everything that its parties hold.
pub(crate) struct Query {
    pub(crate) reference: Reference,
    pub(crate) report_key: OpeningKey,
    pub(crate) signer: SigningKey,
    pub(crate) submitted: wire::QuerySubmitted,
}

pub(crate) fn query(upstream: &str, n: u8, banks: &[&str]) -> Query {
    query_of(upstream, n, banks, None)
}

pub(crate) fn query_of(upstream: &str, n: u8, banks: &[&str], releases: Option<Digest>) -> Query {
    let reference = reference(upstream, n);
    let signer = if upstream == "wallet" { wallet() } else { purse() };
    // A release is a new consent for the same device.
    let report_key = opening(60 + n);
    let nonce = if releases.is_some() { 0x80 + n } else { n };
    let keys: Vec<_> = banks.iter().map(|bank| (bank_id(bank), bank_opening(bank))).collect();
    let notifier = notifier();
    let draft = Draft {
        reference: reference.clone(),
        terms: terms(nonce, &report_key),
        scam_warning_acknowledged: true,
        subject: format!("subject-{n}"),
        region: "310000".into(),
        banks: keys.iter().map(|(bank, key)| (bank.clone(), key.public())).collect(),
        notifier: notifier.public(),
        identity: identity(),
        contact: contact(),
        risk: wire::RiskSignals { on_call: true, pretext: wire::Pretext::None.into(), ..Default::default() },
        releases,
    };
    let submitted = submission::submit(&draft, &signer).expect("seals");
    Query { reference, report_key, signer, submitted }
}

impl Query {
    pub(crate) fn key(&self) -> String {
        self.reference.query.to_string()
    }

    pub(crate) fn open(
        &self,
        registry: &Registry,
        submitted: &wire::QuerySubmitted,
    ) -> Result<Submission, Code> {
        let upstream = &self.reference.upstream;
        let party = registry.upstream(upstream).expect("registered");
        submission::open(upstream, self.key().as_bytes(), submitted, party, ACCEPTED)
    }

    pub(crate) fn submission(&self) -> Submission {
        self.open(&registry(), &self.submitted).expect("a valid submission")
    }

    pub(crate) fn header(&self, bank: &str) -> Header {
        let submission = self.submission();
        Header {
            reference: self.reference.clone(),
            bank: bank_id(bank),
            statement_sha256: submission.banks[&bank_id(bank)].statement_sha256,
            accepted_at: ACCEPTED,
            reply_by: REPLY_BY,
            attempt: 1,
        }
    }

    pub(crate) fn request(&self, bank: &str) -> wire::RequestRecord {
        request::ask(&self.header(bank), &self.submission().banks[&bank_id(bank)], &hub())
    }

    pub(crate) fn accepted(&self, bank: &str) -> Accepted {
        let value = self.request(bank).encode_to_vec().into();
        accept(bank, value, &registry()).expect("a valid request").1
    }

    pub(crate) fn answered(&self, bank: &str, answer: &wire::Answer) -> Word {
        let accepted = self.accepted(bank);
        let sealed =
            reply::seal_answer(&accepted.query, self.header(bank).statement_sha256, answer).expect("seals");
        Word::answered(&accepted.query.terms.report_key, sealed)
    }

    pub(crate) fn expected(&self, bank: &str) -> reply::Expected {
        reply::Expected {
            statement_sha256: self.header(bank).statement_sha256,
            report_key: self.report_key.id(),
            accepted_at: ACCEPTED,
        }
    }
}

/// Why a connector does not look up, in one code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Unopened(Code),
    HubKeyUnknown,
    NotAccepted(NotAccepted),
}

/// All that a connector does with a record before a lookup.
pub(crate) fn accept(bank: &str, value: Bytes, registry: &Registry) -> Result<(Request, Accepted), Refused> {
    let opened = request::open(&bank_id(bank), value, registry.hub().expect("registered"), REPLIED);
    let request = match opened {
        Ok(Opened::Request(request)) => request,
        Ok(Opened::Cancelled(_)) => return Err(Refused::Unopened(Code::MESSAGE_MALFORMED)),
        Err(request::Unopened::Bad(code)) => return Err(Refused::Unopened(code)),
        Err(request::Unopened::KeyNotKnownYet(_)) => return Err(Refused::HubKeyUnknown),
    };
    let accepted =
        request.accept(registry, &[bank_opening(bank)], FACTOR_AGE).map_err(Refused::NotAccepted)?;
    Ok((request, accepted))
}

/// Signs one batch of replies of a bank.
pub(crate) fn batch_of(
    bank: &str,
    key: &SigningKey,
    signed_at: UnixMillis,
    words: Vec<(Header, Word)>,
) -> Vec<wire::ReplyRecord> {
    let unsigned: Vec<_> = words.into_iter().map(|(header, word)| Unsigned::new(&header, word)).collect();
    let headers: Vec<_> = unsigned.iter().map(|reply| reply.header.clone()).collect();
    let proofs =
        batch::sign_batch(&bank_id(bank), key, Nonce([0xb7; 16]), &headers, signed_at).expect("fits");
    unsigned.into_iter().zip(proofs).map(|(reply, proof)| reply.with_proof(proof)).collect()
}

pub(crate) fn reply_to(query: &Query, bank: &str, word: Word) -> wire::ReplyRecord {
    batch_of(bank, &bank_signing(bank), REPLIED, vec![(query.header(bank), word)]).remove(0)
}

/// All that the hub does with a reply to `query` before it believes it.
pub(crate) fn believe(query: &Query, bank: &str, value: Bytes, registry: &Registry) -> Result<Reply, Code> {
    believe_at(query, bank, value, registry, REPLIED, &mut VerifiedRoots::default())
}

pub(crate) fn believe_at(
    query: &Query,
    bank: &str,
    value: Bytes,
    registry: &Registry,
    at: UnixMillis,
    roots: &mut VerifiedRoots,
) -> Result<Reply, Code> {
    let key = query.key();
    let reply = reply::open(&bank_id(bank), key.as_bytes(), value, party(registry, bank), at, roots)
        .map_err(|BadReply { code, .. }| code)?;
    if reply.reference != query.reference {
        return Err(Code::QUERY_UNKNOWN);
    }
    reply.check(&query.expected(bank), at)?;
    Ok(reply)
}

pub(crate) fn notice_header(query: &Query) -> notice::Header {
    notice::Header {
        reference: query.reference.clone(),
        state: wire::QueryState::FinalAllAnswered,
        banks: 3,
        answered: 3,
        accepted_at: ACCEPTED,
    }
}

/// A final report over these segments; every bank without one has not replied.
pub(crate) fn report_over(query: &Query, segments: &BTreeMap<BankId, Bytes>) -> (Coverage, wire::Report) {
    let banks: BTreeMap<_, _> = query
        .submission()
        .banks
        .into_keys()
        .map(|bank| {
            let outcome = match segments.get(&bank) {
                Some(segment) => (wire::BankOutcome::Answered, Some(Digest::of(segment))),
                None => (wire::BankOutcome::NoReply, None),
            };
            (bank, outcome)
        })
        .collect();
    let state = match (segments.len(), banks.len()) {
        (0, _) => wire::QueryState::FinalEmpty,
        (some, all) if some < all => wire::QueryState::FinalPartial,
        _ => wire::QueryState::FinalAllAnswered,
    };
    let coverage = Coverage {
        reference: query.reference.clone(),
        state,
        accepted_at: ACCEPTED,
        deadline_at: DEADLINE,
        finalised_at: FINAL,
        erase_on: "2026-09-30".into(),
        banks,
    };
    let report = wire_report(&coverage, segments.values().cloned().collect());
    (coverage, report)
}

pub(crate) fn wire_report(coverage: &Coverage, segments: Vec<Bytes>) -> wire::Report {
    let mut registry = vec![signed_entry(&hub_entry())];
    registry.extend(coverage.banks.keys().map(|bank| signed_entry(&bank_entry(bank.as_str()))));
    wire::Report { coverage: Some(report::sign_coverage(coverage, &hub())), segments, registry }
}

/// Opens a report on the device that asked.
pub(crate) fn view(query: &Query, report: &wire::Report) -> Result<OpenedReport, Code> {
    view_having_seen(query, report.encode_to_vec().into(), &SeenVersions::default())
}

pub(crate) fn view_having_seen(
    query: &Query,
    report: Bytes,
    seen: &SeenVersions,
) -> Result<OpenedReport, Code> {
    let statement = query.submitted.hub_statement.as_ref().expect("signed");
    let statement = wire::HubStatement::decode(statement.body.clone()).expect("decodes");
    let banks: BTreeSet<_> = statement.banks.iter().map(|share| bank_id(&share.bank_id)).collect();
    let device = Device {
        reference: &query.reference,
        report_key: &query.report_key,
        banks: &banks,
        consent_expires_at: EXPIRES,
        roots: &pinned(),
        seen,
    };
    report::open(report, &device)
}
