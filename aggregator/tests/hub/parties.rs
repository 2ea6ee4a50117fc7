//! The people around the hub: a wallet that submits, banks that reply, a device that opens its report.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use schemas::batch;
use schemas::ids::{BankId, Digest, Nonce, QueryId, Reference, UpstreamId};
use schemas::keys::{OpeningKey, SigningKey, VerifyingKey};
use schemas::registry::{NOTIFIER, SeenVersions};
use schemas::reply::{self, Unsigned, Word};
use schemas::report::{self, Device, OpenedReport};
use schemas::request::Header;
use schemas::submission::{self, BankQuery, Draft, Terms};
use schemas::time::UnixMillis;
use schemas::view::{self, Grant};
use schemas::wire::{self, Assurance, FactorKind, Language, Purpose};

pub(crate) const REGION: &str = "310000";
pub(crate) const PHONE: &str = "+8613800000001";
pub(crate) const DOCUMENT: &str = "11010519491231002X";
pub(crate) const NAME: &str = "王小明丁卯";

pub(crate) fn now() -> UnixMillis {
    UnixMillis(jiff::Timestamp::now().as_millisecond())
}

pub(crate) fn bank(id: &str) -> BankId {
    id.parse().expect("an id")
}

pub(crate) fn upstream(id: &str) -> UpstreamId {
    id.parse().expect("an id")
}

pub(crate) fn roots() -> [SigningKey; 2] {
    [signing_key("root 1"), signing_key("root 2")]
}

pub(crate) fn pinned() -> Vec<VerifyingKey> {
    roots().iter().map(SigningKey::public).collect()
}

/// The signing key of a party.
pub(crate) fn signing_key(party: &str) -> SigningKey {
    SigningKey::from_seed(&Digest::of(party.as_bytes()).0)
}

/// The opening key of a bank or of the notifier.
pub(crate) fn opening_key(party: &str) -> OpeningKey {
    OpeningKey::derive(party.as_bytes())
}

pub(crate) fn consent_text() -> Digest {
    Digest::of("同意书".as_bytes())
}

fn fresh_nonce() -> Nonce {
    Nonce(*QueryId::generate().as_bytes())
}

/// A person's query as the wallet and the device know it.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) reference: Reference,
    pub(crate) terms: Terms,
    pub(crate) report_key: OpeningKey,
    pub(crate) banks: Vec<BankId>,
    pub(crate) subject: String,
    pub(crate) region: String,
    pub(crate) scam_warning_acknowledged: bool,
    pub(crate) risk: wire::RiskSignals,
    pub(crate) releases: Option<Digest>,
    pub(crate) signer: SigningKey,
    pub(crate) submitted: wire::QuerySubmitted,
}

impl Query {
    pub(crate) fn of(banks: &[&str]) -> Self {
        Self::but(banks, |_| ())
    }

    /// A query that differs from a good one.
    pub(crate) fn but(banks: &[&str], change: impl FnOnce(&mut Self)) -> Self {
        Self::at(now(), banks, change)
    }

    /// A query that is good when it is appended at `at`.
    pub(crate) fn at(at: UnixMillis, banks: &[&str], change: impl FnOnce(&mut Self)) -> Self {
        let issued_at = at.before(Duration::from_secs(30));
        let factor = |kind: FactorKind| wire::Factor { kind: kind.into(), at_ms: issued_at.0 };
        let report_key = OpeningKey::generate();
        let terms = Terms {
            purpose: Purpose::AntiFraudSelfCheck,
            issued_at,
            expires_at: issued_at + Duration::from_secs(3_600),
            nonce: fresh_nonce(),
            consent_text: consent_text(),
            assurance: Assurance::RealName,
            factors: vec![factor(FactorKind::Password), factor(FactorKind::Face)],
            report_key: report_key.public().clone(),
        };
        let id = QueryId::generate();
        let mut query = Self {
            reference: Reference { upstream: upstream("wallet"), query: id },
            terms,
            report_key,
            banks: banks.iter().map(|id| bank(id)).collect(),
            // A person of its own: refused grants are counted per person.
            subject: format!("subject-{id}"),
            region: REGION.into(),
            scam_warning_acknowledged: true,
            risk: wire::RiskSignals { pretext: wire::Pretext::None.into(), ..Default::default() },
            releases: None,
            signer: signing_key("wallet"),
            submitted: wire::QuerySubmitted::default(),
        };
        change(&mut query);
        query.seal();
        query
    }

    /// The same query sealed and signed anew, as a producer does that is asked a second time.
    pub(crate) fn resealed(&self) -> Self {
        let mut again = self.clone();
        again.seal();
        assert_ne!(again.submitted, self.submitted);
        again
    }

    /// What releases this query, good when it is appended at `at`: the same content with a consent of its own, and nobody
    /// presses the person any more.
    pub(crate) fn release(&self, at: UnixMillis, change: impl FnOnce(&mut Self)) -> Self {
        let issued_at = at.before(Duration::from_secs(30));
        let mut release = self.clone();
        release.terms.issued_at = issued_at;
        release.terms.expires_at = issued_at + Duration::from_secs(3_600);
        release.terms.nonce = fresh_nonce();
        for factor in &mut release.terms.factors {
            factor.at_ms = issued_at.0;
        }
        release.risk = wire::RiskSignals { pretext: wire::Pretext::None.into(), ..Default::default() };
        release.releases = Some(self.content_digest());
        change(&mut release);
        release.seal();
        release
    }

    pub(crate) fn content_digest(&self) -> Digest {
        let banks: BTreeSet<&BankId> = self.banks.iter().collect();
        submission::content_digest(&self.terms, &self.subject, &self.region, banks.into_iter())
    }

    fn seal(&mut self) {
        let keys: BTreeMap<BankId, OpeningKey> =
            self.banks.iter().map(|bank| (bank.clone(), opening_key(bank.as_str()))).collect();
        let notifier = opening_key(NOTIFIER);
        let draft = Draft {
            reference: self.reference.clone(),
            terms: self.terms.clone(),
            scam_warning_acknowledged: self.scam_warning_acknowledged,
            subject: self.subject.clone(),
            region: self.region.clone(),
            banks: keys.iter().map(|(bank, key)| (bank.clone(), key.public())).collect(),
            notifier: notifier.public(),
            identity: identity(),
            contact: wire::Contact { phone: PHONE.into(), language: Language::ZhCn.into() },
            risk: self.risk,
            releases: self.releases,
        };
        self.submitted = submission::submit(&draft, &self.signer).expect("seals");
    }

    pub(crate) fn id(&self) -> String {
        self.reference.query.to_string()
    }

    fn part(&self, bank: &BankId) -> &wire::BankPart {
        let place = self.banks.iter().collect::<BTreeSet<_>>().into_iter().position(|each| each == bank);
        &self.submitted.banks[place.expect("a chosen bank")]
    }

    /// SHA-256 of the statement to `bank`: what its reply names.
    pub(crate) fn statement_sha256(&self, bank: &BankId) -> Digest {
        Digest::of(&self.part(bank).statement.as_ref().expect("signed").body)
    }

    pub(crate) fn grant(&self, change: impl FnOnce(&mut Grant)) -> Bytes {
        let mut grant = Grant {
            reference: self.reference.clone(),
            subject: self.subject.clone(),
            report_key: self.report_key.id(),
            issued_at: now().before(Duration::from_secs(1)),
            expires_at: now() + Duration::from_secs(60),
            nonce: fresh_nonce(),
        };
        change(&mut grant);
        view::grant(&grant, &self.signer)
    }

    /// What the device reads in a report.
    pub(crate) fn open(&self, report: &Bytes) -> OpenedReport {
        let device = Device {
            reference: &self.reference,
            report_key: &self.report_key,
            banks: &self.banks.iter().cloned().collect(),
            consent_expires_at: self.terms.expires_at,
            roots: &pinned(),
            seen: &SeenVersions::default(),
        };
        report::open(report.clone(), &device).expect("the report of this query")
    }

    /// An honest answer that says: no cards.
    pub(crate) fn answer(&self, from: &str) -> Word {
        self.answer_to(from, &self.report_key)
    }

    /// An answer sealed to `key`.
    pub(crate) fn answer_to(&self, from: &str, key: &OpeningKey) -> Word {
        let bank = bank(from);
        // A bank that was not asked has no statement to answer to.
        let asked = self.banks.contains(&bank);
        let digest = if asked { self.statement_sha256(&bank) } else { Digest::of(b"none") };
        let query = BankQuery {
            reference: self.reference.clone(),
            bank,
            terms: Terms { report_key: key.public().clone(), ..self.terms.clone() },
            identity: digest,
        };
        let answer =
            wire::Answer { kind: wire::AnswerKind::NoCards.into(), as_of_ms: now().0, ..Default::default() };
        Word::answered(key.public(), reply::seal_answer(&query, digest, &answer).expect("seals"))
    }

    /// The request as `to` has it.
    pub(crate) fn header(&self, to: &str) -> Header {
        let bank = bank(to);
        let asked = self.banks.contains(&bank);
        Header {
            reference: self.reference.clone(),
            statement_sha256: if asked { self.statement_sha256(&bank) } else { Digest::of(b"none") },
            bank,
            accepted_at: self.terms.issued_at,
            reply_by: self.terms.expires_at,
            attempt: 1,
        }
    }
}

pub(crate) fn identity() -> wire::Identity {
    wire::Identity {
        name: NAME.into(),
        document_type: wire::DocumentType::ResidentId.into(),
        document_number: DOCUMENT.into(),
        phone: PHONE.into(),
    }
}

/// An honest bank's record, signed at `at`.
pub(crate) fn reply_at(query: &Query, from: &str, word: Word, at: UnixMillis) -> Vec<u8> {
    signed(Unsigned::new(&query.header(from), word), from, &signing_key(from), at)
}

/// A reply signed as a batch of one.
pub(crate) fn signed(reply: Unsigned, from: &str, key: &SigningKey, at: UnixMillis) -> Vec<u8> {
    let headers = std::slice::from_ref(&reply.header);
    let proof = batch::sign_batch(&bank(from), key, fresh_nonce(), headers, at).expect("signs").remove(0);
    reply.with_proof(proof).encode_to_vec()
}
