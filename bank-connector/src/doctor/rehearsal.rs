//! A made-up card on the whole way from a wallet to its device, by the code that real ones take.
//!
//! Wallet, hub, device and roots are made up for one call; the bank's own keys are the real ones. Nothing leaves the process.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::civil::Date;
use prost::Message;
use schemas::batch::{self, VerifiedRoots};
use schemas::codes::Code;
use schemas::ids::{BankId, Digest, Nonce, QueryId, Reference, UpstreamId};
use schemas::keys::{OpeningKey, SigningKey, VerifyingKey};
use schemas::registry::{self, Registry, SeenVersions};
use schemas::reply::{self, BadReply, Expected, Unsigned, Word};
use schemas::report::{self, Coverage, Device};
use schemas::request::{self, Header, NotAccepted, Opened, Request};
use schemas::submission::{self, Draft, Submission, Terms};
use schemas::time::UnixMillis;
use schemas::wire::{self, AnswerKind, KeyUse, PartyKind, PartyState};
use zeroize::Zeroizing;

use crate::domain::answer::{Looked, answer};
use crate::domain::card::Card;
use crate::domain::found::{Customer, Found};
use crate::domain::identity::Identity;
use crate::domain::pan::{Pan, check_digit};
use crate::secrets::Secrets;

const REGION: &str = "310000";
const UPSTREAM: &str = "rehearsal";
const VALIDITY: Duration = Duration::from_secs(3600);
/// No region has the code 999999, and nobody lives who was born in 1800.
const NUMBER: &str = "999999180001010008";
const NAME: &str = "REHEARSAL";
/// The country code 999 is nobody's.
const PHONE: &str = "+99900000000";
/// No card network issues numbers that begin with 9999.
const CARD: &str = "999900000000000000";

/// Where a rehearsal ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    step: &'static str,
    why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} does not go through: {}", self.step, self.why)
    }
}

impl std::error::Error for Broken {}

fn broken<E: fmt::Display>(step: &'static str) -> impl Fn(E) -> Broken {
    move |why| Broken { step, why: why.to_string() }
}

/// A person who does not exist.
///
/// # Panics
/// Never: the number has its check digit, by a test.
pub fn nobody() -> Identity {
    Identity::from_wire(wire_nobody()).expect("a number of the right form")
}

fn wire_nobody() -> wire::Identity {
    wire::Identity {
        name: NAME.to_owned(),
        document_type: wire::DocumentType::ResidentId.into(),
        document_number: NUMBER.to_owned(),
        phone: PHONE.to_owned(),
    }
}

/// Rehearses with a bank's keys: wallet seals and signs, hub asks, bank opens and answers with a made-up card, hub
/// verifies and assembles, device verifies and opens; what comes out is compared with what went in.
///
/// # Errors
/// The step that does not go through.
pub fn rehearse(
    bank: &BankId,
    secrets: &Secrets,
    max_factor_age: Duration,
    today: Date,
    now: UnixMillis,
) -> Result<(), Broken> {
    let stage = Stage::new(bank, secrets, now)?;
    let report_key = OpeningKey::generate();
    let submission = stage.submitted(&report_key, now)?;
    let request = stage.asked(&submission, now)?;
    let accepted =
        request.accept(&stage.registry, &secrets.opening_keys, max_factor_age).map_err(|refused| {
            match refused {
                NotAccepted::KeyNotKnownYet => broken("acceptance")("the key is not known"),
                NotAccepted::Refused(_, code) => broken("acceptance")(code),
            }
        })?;
    let identity = Identity::from_wire(accepted.identity).map_err(broken("acceptance"))?;
    let said = answer(&identity, &holding(), Looked { at: now, today });
    let sealed = reply::seal_answer(&accepted.query, request.header.statement_sha256, &said)
        .map_err(broken("sealing"))?;
    let word = Word::answered(&accepted.query.terms.report_key, sealed);
    let segment = stage.believed(&request.header, word, report_key.id(), now)?;
    let opened = stage.viewed(&submission, segment, &report_key, today, now)?;
    compare(opened, &said)
}

/// What a bank would find: one person with one card.
fn holding() -> Found {
    let number = format!("{CARD}{}", check_digit(CARD));
    let pan = Pan::parse(Zeroizing::new(number)).ok();
    let card = pan.map(|pan| Card {
        pan,
        kind: wire::CardKind::Debit,
        account_class: wire::AccountClass::I,
        product_code: String::new(),
        status: wire::CardStatus::Normal,
        opened: None,
        last_active: None,
        balance_fen: None,
        features: None,
        dormancy: None,
    });
    let customer = Customer {
        name: Zeroizing::new(NAME.to_owned()),
        phone: Some(Zeroizing::new(PHONE.to_owned())),
        id_valid_until: None,
        cardless_payment: true,
        withheld: false,
    };
    Found { customers: vec![customer], cards: card.into_iter().collect(), ..Found::default() }
}

fn compare(opened: Option<wire::Answer>, said: &wire::Answer) -> Result<(), Broken> {
    let differs = broken("comparison");
    let opened = opened.ok_or_else(|| differs("the device opens no answer"))?;
    let [card] = opened.cards.as_slice() else { return Err(differs("the device sees no card")) };
    if opened != *said || opened.kind() != AnswerKind::Cards {
        return Err(differs("the device sees another answer than the bank gave"));
    }
    if card.first4 != CARD[..4] || card.last4.len() != 4 || holds_the_number(&opened) {
        return Err(differs("the card is not masked"));
    }
    Ok(())
}

/// Answers do not print, so the bytes are looked at.
fn holds_the_number(answer: &wire::Answer) -> bool {
    answer.encode_to_vec().windows(CARD.len()).any(|bytes| bytes == CARD.as_bytes())
}

/// Everybody but the bank, made up.
struct Stage<'a> {
    bank: &'a BankId,
    secrets: &'a Secrets,
    reference: Reference,
    hub: SigningKey,
    upstream: SigningKey,
    notifier: OpeningKey,
    roots: Vec<VerifyingKey>,
    registry: Registry,
    entries: Vec<wire::RegistryRecord>,
}

impl<'a> Stage<'a> {
    fn new(bank: &'a BankId, secrets: &'a Secrets, now: UnixMillis) -> Result<Self, Broken> {
        let cannot = broken::<Code>("registry");
        let upstream_id: UpstreamId = UPSTREAM.parse().map_err(broken("registry"))?;
        let [hub, upstream, first, second] = std::array::from_fn(|_| SigningKey::from_seed(&rand::random()));
        let notifier = OpeningKey::generate();
        let opening = secrets.opening_keys.first().ok_or_else(|| broken("registry")("no opening key"))?;
        let since = now.before(VALIDITY);
        let key = |r#use: KeyUse, key| wire::PartyKey {
            r#use: r#use.into(),
            key: Some(key),
            valid_from_ms: since.0,
            ..Default::default()
        };
        let entry = |kind: PartyKind, id: &str, keys| wire::RegistryEntry {
            kind: kind.into(),
            id: id.to_owned(),
            version: 1,
            state: PartyState::Active.into(),
            keys,
            regions: vec![REGION.to_owned()],
            bank_texts: None,
        };
        let bank_keys = vec![
            key(KeyUse::Sign, secrets.signing_key.public().to_wire()),
            key(KeyUse::Seal, opening.public().to_wire()),
        ];
        let entries = [
            entry(PartyKind::Hub, registry::HUB, vec![key(KeyUse::Sign, hub.public().to_wire())]),
            entry(PartyKind::Bank, bank.as_str(), bank_keys),
            entry(PartyKind::Upstream, UPSTREAM, vec![key(KeyUse::Sign, upstream.public().to_wire())]),
        ];
        let roots = vec![first.public(), second.public()];
        let signers = [first, second];
        let mut known = Registry::new(roots.clone(), SeenVersions::default());
        let mut records = Vec::new();
        for entry in &entries {
            let record = registry::sign_entry(entry, &signers, None);
            let name = registry::record_key(entry).map_err(&cannot)?;
            known.apply(name.as_bytes(), &record.encode_to_vec(), since).map_err(&cannot)?;
            records.push(record);
        }
        // A report carries the entries of hub and banks.
        records.truncate(2);
        let reference = Reference { upstream: upstream_id, query: QueryId::generate() };
        Ok(Self {
            bank,
            secrets,
            reference,
            hub,
            upstream,
            notifier,
            roots,
            registry: known,
            entries: records,
        })
    }

    /// The wallet's query, as the hub reads it.
    fn submitted(&self, report_key: &OpeningKey, now: UnixMillis) -> Result<Submission, Broken> {
        let cannot = broken::<Code>("submission");
        let factor = |kind: wire::FactorKind| wire::Factor { kind: kind.into(), at_ms: now.0 };
        let sealing = self.registry.bank(self.bank).ok_or(Code::PARTY_UNKNOWN).map_err(&cannot)?;
        let draft = Draft {
            reference: self.reference.clone(),
            terms: Terms {
                purpose: wire::Purpose::AntiFraudSelfCheck,
                issued_at: now,
                expires_at: now + VALIDITY,
                nonce: Nonce(rand::random()),
                consent_text: Digest::of(NAME.as_bytes()),
                assurance: wire::Assurance::RealName,
                factors: vec![factor(wire::FactorKind::Password), factor(wire::FactorKind::Face)],
                report_key: report_key.public().clone(),
            },
            scam_warning_acknowledged: true,
            subject: UPSTREAM.to_owned(),
            region: REGION.to_owned(),
            banks: BTreeMap::from([(self.bank.clone(), sealing.sealing_key(now).map_err(&cannot)?)]),
            notifier: self.notifier.public(),
            identity: wire_nobody(),
            contact: wire::Contact { phone: PHONE.to_owned(), language: wire::Language::En.into() },
            risk: wire::RiskSignals { pretext: wire::Pretext::None.into(), ..Default::default() },
            releases: None,
        };
        let record = submission::submit(&draft, &self.upstream).map_err(&cannot)?;
        let upstream = &self.reference.upstream;
        let party = self.registry.upstream(upstream).ok_or(Code::PARTY_UNKNOWN).map_err(&cannot)?;
        let key = self.reference.query.to_string();
        submission::open(upstream, key.as_bytes(), &record, party, now).map_err(&cannot)
    }

    /// The hub's request, as the bank reads it.
    fn asked(&self, submission: &Submission, now: UnixMillis) -> Result<Request, Broken> {
        let cannot = broken::<Code>("request");
        let share = submission.banks.get(self.bank).ok_or(Code::MESSAGE_MALFORMED).map_err(&cannot)?;
        let header = Header {
            reference: self.reference.clone(),
            bank: self.bank.clone(),
            statement_sha256: share.statement_sha256,
            accepted_at: now,
            reply_by: now + VALIDITY,
            attempt: 1,
        };
        let record = request::ask(&header, share, &self.hub).encode_to_vec();
        let hub = self.registry.hub().map_err(&cannot)?;
        match request::open(self.bank, record.into(), hub, now) {
            Ok(Opened::Request(request)) => Ok(request),
            Ok(Opened::Cancelled(_)) => Err(cannot(Code::MESSAGE_MALFORMED)),
            Err(request::Unopened::Bad(code)) => Err(cannot(code)),
            Err(request::Unopened::KeyNotKnownYet(_)) => Err(cannot(Code::KEY_UNKNOWN)),
        }
    }

    /// The bank's signed reply, as the hub believes it: its segment of the report.
    fn believed(
        &self,
        asked: &Header,
        word: Word,
        report_key: schemas::ids::KeyId,
        now: UnixMillis,
    ) -> Result<bytes::Bytes, Broken> {
        let cannot = broken::<Code>("reply");
        let unsigned = Unsigned::new(asked, word);
        let headers = [unsigned.header.clone()];
        let proofs =
            batch::sign_batch(self.bank, &self.secrets.signing_key, Nonce(rand::random()), &headers, now);
        let proof = proofs.map_err(&cannot)?.pop().ok_or(Code::BATCH_PROOF_INVALID).map_err(&cannot)?;
        let record = unsigned.with_proof(proof).encode_to_vec();
        let party = self.registry.bank(self.bank).ok_or(Code::PARTY_UNKNOWN).map_err(&cannot)?;
        let key = self.reference.query.to_string();
        let mut roots = VerifiedRoots::default();
        let reply = reply::open(self.bank, key.as_bytes(), record.into(), party, now, &mut roots)
            .map_err(|BadReply { code, .. }| cannot(code))?;
        let expected =
            Expected { statement_sha256: asked.statement_sha256, report_key, accepted_at: asked.accepted_at };
        reply.check(&expected, now).map_err(&cannot)?;
        Ok(reply.segment)
    }

    /// The report, as the device sees the bank's answer in it.
    fn viewed(
        &self,
        submission: &Submission,
        segment: bytes::Bytes,
        report_key: &OpeningKey,
        today: Date,
        now: UnixMillis,
    ) -> Result<Option<wire::Answer>, Broken> {
        let outcome = (wire::BankOutcome::Answered, Some(Digest::of(&segment)));
        let coverage = Coverage {
            reference: self.reference.clone(),
            state: wire::QueryState::FinalAllAnswered,
            accepted_at: now,
            deadline_at: now + VALIDITY,
            finalised_at: now,
            erase_on: today.to_string(),
            banks: BTreeMap::from([(self.bank.clone(), outcome)]),
        };
        let report = wire::Report {
            coverage: Some(report::sign_coverage(&coverage, &self.hub)),
            segments: vec![segment],
            registry: self.entries.clone(),
        };
        let banks: BTreeSet<BankId> = submission.banks.keys().cloned().collect();
        let device = Device {
            reference: &self.reference,
            report_key,
            banks: &banks,
            consent_expires_at: now + VALIDITY,
            roots: &self.roots,
            seen: &SeenVersions::default(),
        };
        let mut opened = report::open(report.encode_to_vec().into(), &device).map_err(broken("report"))?;
        if !opened.complete {
            return Err(broken("report")("the device does not call it complete"));
        }
        Ok(opened.banks.pop().and_then(|bank| bank.answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_790_000_000_000);

    fn secrets() -> Secrets {
        Secrets {
            signing_key: SigningKey::from_seed(&[7; 32]),
            opening_keys: vec![OpeningKey::derive(&[1; 32]), OpeningKey::derive(&[2; 32])],
        }
    }

    fn today() -> Date {
        "2026-09-21".parse().expect("a day")
    }

    #[test]
    fn a_card_of_nobody_comes_out_as_it_went_in() {
        let bank = "alpha".parse().expect("an id");
        assert_eq!(rehearse(&bank, &secrets(), Duration::from_secs(1), today(), NOW), Ok(()));
    }

    #[test]
    fn what_comes_out_otherwise_ends_the_rehearsal() {
        let said = answer(&nobody(), &holding(), Looked { at: NOW, today: today() });
        assert_eq!(compare(Some(said.clone()), &said), Ok(()));
        let mut other = said.clone();
        other.cards[0].last4 = "0000".to_owned();
        assert!(compare(Some(other), &said).is_err());
        let mut unmasked = said.clone();
        unmasked.cards[0].product_code = format!("{CARD}0");
        assert!(compare(Some(unmasked.clone()), &unmasked).is_err());
        assert!(compare(None, &said).is_err());
        let empty = answer(&nobody(), &Found::default(), Looked { at: NOW, today: today() });
        assert!(compare(Some(empty.clone()), &empty).is_err());
    }

    #[test]
    fn the_number_of_nobody_has_the_form_of_one_and_prints_nowhere() {
        assert!(schemas::identity::is_resident_id(NUMBER));
        assert_eq!(format!("{:?}", nobody()), "Identity(redacted)");
    }
}
