//! The form of a leaf: a list of [`Fields`] in fixed order, so that the same change has the same bytes whoever writes it.
//!
//! Every leaf begins with `audit-leaf/v1` and its kind; one of a query goes on with upstream and query id (16 bytes).
//! Records are topic, partition, offset. Codes and numbers of outcomes are kept as they were written, so that a reader of
//! today can read those of tomorrow.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::civil::Date;

use crate::codes::Code;
use crate::fields::{self, Fields};
use crate::ids::{BankId, Digest, KeyId, MessageId, Nonce, QueryId, Reference};
use crate::time::UnixMillis;
use crate::wire;

use super::proof::Proof;

/// The form of every leaf. Never change it: leaves are evidence for years.
const FORM: &str = "audit-leaf/v1";
const RECEIPT: &str = "receipt";
/// Proofs of this many banks fit into a leaf, and a leaf into a record. Never change it: which leaf a bank is in names it.
const BANKS_PER_LEAF: usize = 64;

/// One leaf.
#[derive(Clone, Debug, PartialEq)]
pub enum Leaf {
    /// What happened to a query.
    Query(Reference, Change),
    /// The receipt of an erased day ([`crate::erasure`]).
    Receipt(Date, wire::Signed),
}

/// A change of a query's state, or what came of one that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Accepted: its banks are asked.
    Registered(Accepted),
    /// Released from a hold: the same facts, of the release.
    Released(Accepted),
    /// Accepted, and waiting for its release.
    Held {
        /// Digest of what was asked for.
        content_digest: Digest,
        /// Key id of the report key.
        report_key: KeyId,
        /// Its record.
        record: Place,
        /// The record's append time.
        accepted_at: UnixMillis,
        /// From when on it may be released.
        release_from: UnixMillis,
        /// Until when.
        release_until: UnixMillis,
        /// Why it is held.
        code: String,
    },
    /// Held, and not released in time.
    Cancelled {
        /// When.
        at: UnixMillis,
    },
    /// A release was refused.
    ReleaseRefused {
        /// The release's record.
        record: Place,
        /// Why.
        code: String,
    },
    /// What the signals around the person decided.
    Risk {
        /// The record of the submission or release.
        record: Place,
        /// `ALLOW`, `WARN` or `HOLD`.
        decision: String,
        /// Number of [`wire::Pretext`].
        pretext: i32,
        /// The screen was shared.
        screen_shared: bool,
        /// The person was on a call.
        on_call: bool,
        /// The device was controlled from afar.
        remote_control: bool,
        /// The device was new to the wallet.
        new_device: bool,
    },
    /// Refused.
    Rejected {
        /// Digest of what was asked for.
        content_digest: Digest,
        /// Its record.
        record: Place,
        /// The record's append time.
        accepted_at: UnixMillis,
        /// Why.
        code: String,
    },
    /// The report became final.
    Final(Final),
    /// What the banks of a final report signed: beside its `Final`, and in as many leaves as it takes. Never empty.
    Replies(BTreeMap<BankId, Proof>),
    /// The report was shown.
    Viewed {
        /// Nonce of the grant.
        nonce: Nonce,
        /// SHA-256 of the grant.
        grant: Digest,
        /// When.
        at: UnixMillis,
    },
    /// A grant was refused.
    GrantRefused {
        /// SHA-256 of the grant.
        grant: Digest,
        /// Why.
        code: String,
        /// When.
        at: UnixMillis,
    },
    /// The consent was withdrawn.
    Withdrawn {
        /// When.
        at: UnixMillis,
    },
    /// The content is gone.
    Erased {
        /// The day whose receipt tells of it.
        erase_on: Date,
        /// When this was said.
        at: UnixMillis,
    },
}

/// What decides later about an accepted query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Digest of what was asked for.
    pub content_digest: Digest,
    /// Key id of the report key.
    pub report_key: KeyId,
    /// Its record.
    pub record: Place,
    /// The record's append time.
    pub accepted_at: UnixMillis,
    /// Until when a bank may be asked.
    pub reply_by: UnixMillis,
    /// Until when a reply counts.
    pub deadline_at: UnixMillis,
    /// Whose 00:00 is the erase instant.
    pub erase_on: Date,
    /// SHA-256 of each asked bank's statement, which its reply must name.
    pub statements: BTreeMap<BankId, Digest>,
}

/// A final report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Final {
    /// Number of [`wire::QueryState`].
    pub state: i32,
    /// When.
    pub finalised_at: UnixMillis,
    /// SHA-256 of the body of the signed coverage.
    pub coverage: Digest,
    /// The next offset of the registry that it was judged with.
    pub registry_offset: i64,
    /// Every asked bank.
    pub outcomes: BTreeMap<BankId, Outcome>,
}

/// One bank in a final report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Number of [`wire::BankOutcome`].
    pub outcome: i32,
    /// A later valid reply had another outcome.
    pub conflict: bool,
    /// The reply that counts, if the bank closed its pair.
    pub reply: Option<Chosen>,
}

/// The reply of a bank that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What the bank said.
    pub word: Word,
    /// SHA-256 of the encoded segment that the device gets.
    pub segment: Digest,
    /// Append time.
    pub appended_at: UnixMillis,
    /// Partition of the bank's reply topic.
    pub partition: i32,
    /// Offset in it.
    pub offset: i64,
}

/// The two words that close a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// There is an answer.
    Answered,
    /// A protocol reason.
    Refused,
}

/// Where a record lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

impl Leaf {
    /// Every kind.
    pub const KINDS: [&'static str; 14] = [
        "registered",
        "released",
        "held",
        "cancelled",
        "release-refused",
        "risk",
        "rejected",
        "final",
        "replies",
        "viewed",
        "grant-refused",
        "withdrawn",
        "erased",
        RECEIPT,
    ];

    /// The bytes that are hashed into the log.
    pub fn encode(&self) -> Bytes {
        let fields = match self {
            Self::Query(reference, change) => {
                change.encode(reference.push(Fields::new().text(FORM).text(change.kind())))
            }
            Self::Receipt(day, receipt) => Fields::new()
                .text(FORM)
                .text(RECEIPT)
                .text(&day.to_string())
                .bytes(&receipt.key_id)
                .bytes(&receipt.signature)
                .bytes(&receipt.body),
        };
        Bytes::copy_from_slice(fields.as_bytes())
    }

    /// Reads a leaf.
    ///
    /// # Errors
    /// `MESSAGE_MALFORMED` when these are not the bytes of a leaf of a known kind.
    pub fn decode(bytes: &[u8]) -> Result<Self, Code> {
        let leaf = decode(&mut fields::Reader::new(bytes)).ok_or(Code::MESSAGE_MALFORMED)?;
        // One leaf, one spelling: what reads the same and hashes otherwise is none.
        if leaf.encode() != bytes {
            return Err(Code::MESSAGE_MALFORMED);
        }
        Ok(leaf)
    }

    /// Names it: derived, so that a repeat of the same change is recognised.
    pub fn id(&self) -> MessageId {
        match self {
            Self::Query(reference, change) => reference.message_id(&format!("audit/{}", change.id())),
            Self::Receipt(day, _) => {
                let fields = Fields::new().text("message-id/v1").text("audit/receipt").text(&day.to_string());
                MessageId::first_of(Digest::of(fields.as_bytes()))
            }
        }
    }

    /// Its kind, as it is written.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Query(_, change) => change.kind(),
            Self::Receipt(..) => RECEIPT,
        }
    }

    /// The leaves for what the banks of a final report signed.
    pub fn replies(reference: &Reference, proofs: BTreeMap<BankId, Proof>) -> Vec<Self> {
        let mut left = proofs;
        let mut leaves = Vec::new();
        while !left.is_empty() {
            let rest = left.keys().nth(BANKS_PER_LEAF).cloned().map(|bank| left.split_off(&bank));
            leaves.push(Self::Query(reference.clone(), Change::Replies(left)));
            left = rest.unwrap_or_default();
        }
        leaves
    }

    /// The query that it is about.
    pub fn reference(&self) -> Option<&Reference> {
        match self {
            Self::Query(reference, _) => Some(reference),
            Self::Receipt(..) => None,
        }
    }
}

impl Change {
    /// Its kind, as it is written.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Registered(_) => "registered",
            Self::Released(_) => "released",
            Self::Held { .. } => "held",
            Self::Cancelled { .. } => "cancelled",
            Self::ReleaseRefused { .. } => "release-refused",
            Self::Risk { .. } => "risk",
            Self::Rejected { .. } => "rejected",
            Self::Final(_) => "final",
            Self::Replies(_) => "replies",
            Self::Viewed { .. } => "viewed",
            Self::GrantRefused { .. } => "grant-refused",
            Self::Withdrawn { .. } => "withdrawn",
            Self::Erased { .. } => "erased",
        }
    }

    /// What tells it from the other leaves of its query: most happen once.
    fn id(&self) -> String {
        let kind = self.kind();
        match self {
            Self::ReleaseRefused { record, .. } | Self::Risk { record, .. } => {
                format!("{kind}/{}/{}", record.partition, record.offset)
            }
            Self::Replies(banks) => {
                banks.keys().next().map_or_else(|| kind.to_owned(), |first| format!("{kind}/{first}"))
            }
            Self::Viewed { nonce, .. } => format!("{kind}/{nonce}"),
            Self::GrantRefused { grant, .. } => format!("{kind}/{grant}"),
            Self::Registered(_)
            | Self::Released(_)
            | Self::Held { .. }
            | Self::Cancelled { .. }
            | Self::Rejected { .. }
            | Self::Final(_)
            | Self::Withdrawn { .. }
            | Self::Erased { .. } => kind.to_owned(),
        }
    }

    fn encode(&self, fields: Fields) -> Fields {
        match self {
            Self::Registered(accepted) | Self::Released(accepted) => accepted.encode(fields),
            Self::Held {
                content_digest,
                report_key,
                record,
                accepted_at,
                release_from,
                release_until,
                code,
            } => record
                .encode(fields.bytes(&content_digest.0).bytes(&report_key.0))
                .time(*accepted_at)
                .time(*release_from)
                .time(*release_until)
                .text(code),
            Self::Cancelled { at } | Self::Withdrawn { at } => fields.time(*at),
            Self::ReleaseRefused { record, code } => record.encode(fields).text(code),
            Self::Risk { record, decision, pretext, screen_shared, on_call, remote_control, new_device } => {
                record
                    .encode(fields)
                    .text(decision)
                    .number(*pretext)
                    .integer((*screen_shared).into())
                    .integer((*on_call).into())
                    .integer((*remote_control).into())
                    .integer((*new_device).into())
            }
            Self::Rejected { content_digest, record, accepted_at, code } => {
                record.encode(fields.bytes(&content_digest.0)).time(*accepted_at).text(code)
            }
            Self::Final(report) => report.encode(fields),
            Self::Replies(banks) => {
                banks.iter().fold(fields, |fields, (bank, proof)| proof.push(fields.text(bank.as_str())))
            }
            Self::Viewed { nonce, grant, at } => fields.bytes(&nonce.0).bytes(&grant.0).time(*at),
            Self::GrantRefused { grant, code, at } => fields.bytes(&grant.0).text(code).time(*at),
            Self::Erased { erase_on, at } => fields.text(&erase_on.to_string()).time(*at),
        }
    }
}

impl Accepted {
    fn encode(&self, fields: Fields) -> Fields {
        let fields = self
            .record
            .encode(fields.bytes(&self.content_digest.0).bytes(&self.report_key.0))
            .time(self.accepted_at)
            .time(self.reply_by)
            .time(self.deadline_at)
            .text(&self.erase_on.to_string());
        self.statements
            .iter()
            .fold(fields, |fields, (bank, statement)| fields.text(bank.as_str()).bytes(&statement.0))
    }

    fn decode(fields: &mut fields::Reader<'_>) -> Option<Self> {
        Some(Self {
            content_digest: Digest(fields.array()?),
            report_key: KeyId(fields.array()?),
            record: Place::decode(fields)?,
            accepted_at: fields.time()?,
            reply_by: fields.time()?,
            deadline_at: fields.time()?,
            erase_on: fields.parse()?,
            statements: fields.rest(|fields| Some((fields.parse()?, Digest(fields.array()?))))?,
        })
    }
}

impl Final {
    fn encode(&self, fields: Fields) -> Fields {
        let fields = fields
            .number(self.state)
            .time(self.finalised_at)
            .bytes(&self.coverage.0)
            .integer(self.registry_offset.cast_unsigned());
        self.outcomes.iter().fold(fields, |fields, (bank, outcome)| {
            let fields = fields.text(bank.as_str()).number(outcome.outcome).integer(outcome.conflict.into());
            match &outcome.reply {
                Some(reply) => fields
                    .text(reply.word.as_str())
                    .bytes(&reply.segment.0)
                    .time(reply.appended_at)
                    .number(reply.partition)
                    .integer(reply.offset.cast_unsigned()),
                None => fields.text(NO_REPLY),
            }
        })
    }

    fn decode(fields: &mut fields::Reader<'_>) -> Option<Self> {
        Some(Self {
            state: fields.number()?,
            finalised_at: fields.time()?,
            coverage: Digest(fields.array()?),
            registry_offset: fields.integer()?.cast_signed(),
            outcomes: fields.rest(|fields| {
                let bank = fields.parse()?;
                let (outcome, conflict) = (fields.number()?, fields.flag()?);
                let word = match fields.text()? {
                    NO_REPLY => return Some((bank, Outcome { outcome, conflict, reply: None })),
                    word => Word::parse(word)?,
                };
                let reply = Chosen {
                    word,
                    segment: Digest(fields.array()?),
                    appended_at: fields.time()?,
                    partition: fields.number()?,
                    offset: fields.integer()?.cast_signed(),
                };
                Some((bank, Outcome { outcome, conflict, reply: Some(reply) }))
            })?,
        })
    }
}

/// In the place of a word: the bank did not close its pair.
const NO_REPLY: &str = "none";

impl Word {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Answered, Self::Refused].into_iter().find(|word| word.as_str() == text)
    }
}

impl Place {
    fn encode(&self, fields: Fields) -> Fields {
        fields.text(&self.topic).number(self.partition).integer(self.offset.cast_unsigned())
    }

    fn decode(fields: &mut fields::Reader<'_>) -> Option<Self> {
        Some(Self {
            topic: fields.text()?.to_owned(),
            partition: fields.number()?,
            offset: fields.integer()?.cast_signed(),
        })
    }
}

fn decode(fields: &mut fields::Reader<'_>) -> Option<Leaf> {
    if fields.text()? != FORM {
        return None;
    }
    let kind = fields.text()?;
    if kind == RECEIPT {
        let day = fields.parse()?;
        let (key_id, signature, body) = (fields.bytes()?, fields.bytes()?, fields.bytes()?);
        let bytes = Bytes::copy_from_slice;
        let receipt = wire::Signed { body: bytes(body), key_id: bytes(key_id), signature: bytes(signature) };
        return Some(Leaf::Receipt(day, receipt));
    }
    let reference =
        Reference { upstream: fields.parse()?, query: QueryId::from_bytes(fields.bytes()?).ok()? };
    let change = match kind {
        "registered" => Change::Registered(Accepted::decode(fields)?),
        "released" => Change::Released(Accepted::decode(fields)?),
        "held" => Change::Held {
            content_digest: Digest(fields.array()?),
            report_key: KeyId(fields.array()?),
            record: Place::decode(fields)?,
            accepted_at: fields.time()?,
            release_from: fields.time()?,
            release_until: fields.time()?,
            code: fields.owned()?,
        },
        "cancelled" => Change::Cancelled { at: fields.time()? },
        "release-refused" => Change::ReleaseRefused { record: Place::decode(fields)?, code: fields.owned()? },
        "risk" => Change::Risk {
            record: Place::decode(fields)?,
            decision: fields.owned()?,
            pretext: fields.number()?,
            screen_shared: fields.flag()?,
            on_call: fields.flag()?,
            remote_control: fields.flag()?,
            new_device: fields.flag()?,
        },
        "rejected" => Change::Rejected {
            content_digest: Digest(fields.array()?),
            record: Place::decode(fields)?,
            accepted_at: fields.time()?,
            code: fields.owned()?,
        },
        "final" => Change::Final(Final::decode(fields)?),
        "replies" => {
            let banks: BTreeMap<_, _> =
                fields.rest(|fields| Some((fields.parse()?, Proof::read(fields)?)))?;
            Change::Replies((!banks.is_empty()).then_some(banks)?)
        }
        "viewed" => Change::Viewed {
            nonce: Nonce(fields.array()?),
            grant: Digest(fields.array()?),
            at: fields.time()?,
        },
        "grant-refused" => {
            Change::GrantRefused { grant: Digest(fields.array()?), code: fields.owned()?, at: fields.time()? }
        }
        "withdrawn" => Change::Withdrawn { at: fields.time()? },
        "erased" => Change::Erased { erase_on: fields.parse()?, at: fields.time()? },
        _ => return None,
    };
    Some(Leaf::Query(reference, change))
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;

    fn reference() -> Reference {
        let query = "0192f0c1-2d3e-7000-8000-000000000001".parse().expect("a version 7 id");
        Reference { upstream: "wallet".parse().expect("an id"), query }
    }

    fn bank(id: &str) -> BankId {
        id.parse().expect("an id")
    }

    fn record() -> Place {
        Place { topic: "cardquery.query.wallet.v1".into(), partition: 3, offset: 42 }
    }

    fn accepted() -> Accepted {
        Accepted {
            content_digest: Digest([1; 32]),
            report_key: KeyId([2; 16]),
            record: record(),
            accepted_at: UnixMillis(3),
            reply_by: UnixMillis(4),
            deadline_at: UnixMillis(5),
            erase_on: date(2026, 12, 2),
            statements: [(bank("alpha"), Digest([6; 32])), (bank("beta"), Digest([7; 32]))].into(),
        }
    }

    fn report() -> Final {
        let chosen = Chosen {
            word: Word::Refused,
            segment: Digest([8; 32]),
            appended_at: UnixMillis(9),
            partition: 2,
            offset: 10,
        };
        Final {
            state: 3,
            finalised_at: UnixMillis(11),
            coverage: Digest([12; 32]),
            registry_offset: 13,
            outcomes: [
                (bank("alpha"), Outcome { outcome: 2, conflict: true, reply: Some(chosen) }),
                (bank("beta"), Outcome { outcome: 6, conflict: false, reply: None }),
            ]
            .into(),
        }
    }

    fn proofs(banks: &[&str]) -> BTreeMap<BankId, Proof> {
        banks
            .iter()
            .map(|id| (bank(id), super::super::proof::tests::proof(&reference(), &bank(id), 3)))
            .collect()
    }

    /// One of each kind.
    fn leaves() -> Vec<Leaf> {
        let code = || "A_CODE".to_owned();
        let (at, grant) = (UnixMillis(15), Digest([16; 32]));
        let changes = [
            Change::Registered(accepted()),
            Change::Released(accepted()),
            Change::Held {
                content_digest: Digest([1; 32]),
                report_key: KeyId([2; 16]),
                record: record(),
                accepted_at: UnixMillis(3),
                release_from: UnixMillis(4),
                release_until: UnixMillis(5),
                code: code(),
            },
            Change::Cancelled { at },
            Change::ReleaseRefused { record: record(), code: code() },
            Change::Risk {
                record: record(),
                decision: "WARN".into(),
                pretext: 4,
                screen_shared: true,
                on_call: false,
                remote_control: true,
                new_device: false,
            },
            Change::Rejected {
                content_digest: Digest([1; 32]),
                record: record(),
                accepted_at: at,
                code: code(),
            },
            Change::Final(report()),
            Change::Replies(proofs(&["alpha", "beta"])),
            Change::Viewed { nonce: Nonce([17; 16]), grant, at },
            Change::GrantRefused { grant, code: code(), at },
            Change::Withdrawn { at },
            Change::Erased { erase_on: date(2026, 12, 2), at },
        ];
        let bytes = Bytes::from_static;
        let receipt =
            wire::Signed { body: bytes(b"body"), key_id: bytes(b"key"), signature: bytes(b"signature") };
        let of_query = changes.into_iter().map(|change| Leaf::Query(reference(), change));
        of_query.chain([Leaf::Receipt(date(2026, 12, 2), receipt)]).collect()
    }

    #[test]
    fn every_kind_of_leaf_reads_as_it_was_written_and_has_an_id_of_its_own() {
        let mut ids = std::collections::BTreeSet::new();
        for leaf in leaves() {
            assert_eq!(Leaf::decode(&leaf.encode()), Ok(leaf.clone()));
            assert!(ids.insert(leaf.id()), "{}", leaf.kind());
        }
        assert_eq!(ids.len(), 14);
        assert_eq!(leaves().iter().map(Leaf::kind).collect::<Vec<_>>(), Leaf::KINDS);
    }

    #[test]
    fn a_leaf_that_is_cut_short_or_goes_on_is_none() {
        for leaf in leaves() {
            let bytes = leaf.encode();
            for end in 0..bytes.len() {
                if let Ok(shorter) = Leaf::decode(&bytes[..end]) {
                    // Lists have no end of their own: one that is shorter by whole items is another leaf.
                    assert!(matches!(
                        shorter,
                        Leaf::Query(
                            _,
                            Change::Registered(_)
                                | Change::Released(_)
                                | Change::Final(_)
                                | Change::Replies(_)
                        )
                    ));
                    assert_ne!(shorter, leaf);
                }
            }
            let longer = [&bytes[..], &[0, 0]].concat();
            assert_eq!(Leaf::decode(&longer), Err(Code::MESSAGE_MALFORMED), "{}", leaf.kind());
        }
    }

    #[test]
    fn banks_out_of_order_or_twice_are_refused() {
        let Leaf::Query(reference, Change::Registered(accepted)) = leaves().remove(0) else {
            unreachable!("the first of the leaves")
        };
        let none = Accepted { statements: BTreeMap::new(), ..accepted };
        let head = Leaf::Query(reference, Change::Registered(none)).encode();
        let item = |id: &str| Fields::new().text(id).bytes(&[6; 32]).as_bytes().to_vec();
        let of = |banks: &[&str]| [head.to_vec(), banks.iter().flat_map(|id| item(id)).collect()].concat();
        assert!(Leaf::decode(&of(&["alpha", "beta"])).is_ok());
        assert_eq!(Leaf::decode(&of(&["beta", "alpha"])), Err(Code::MESSAGE_MALFORMED));
        assert_eq!(Leaf::decode(&of(&["alpha", "alpha"])), Err(Code::MESSAGE_MALFORMED));
    }

    #[test]
    fn the_largest_leaf_fits_into_a_message() {
        let chosen = Chosen {
            word: Word::Answered,
            segment: Digest([8; 32]),
            appended_at: UnixMillis(9),
            partition: 2,
            offset: 10,
        };
        let outcome = Outcome { outcome: 1, conflict: true, reply: Some(chosen) };
        let outcomes = (0..500).map(|n| (bank(&format!("{n:016}")), outcome.clone())).collect();
        let upstream = "w".repeat(16).parse().expect("an id");
        let reference = Reference { upstream, ..reference() };
        let leaf = Leaf::Query(reference, Change::Final(Final { outcomes, ..report() }));
        assert!(leaf.encode().len() < 58 * 1024, "{}", leaf.encode().len());
    }

    #[test]
    fn the_proofs_of_a_report_are_in_as_many_leaves_as_it_takes_each_with_an_id_of_its_own() {
        let ids: Vec<String> = (0..500).map(|n| format!("{n:016}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let upstream = "w".repeat(16).parse().expect("an id");
        let reference = Reference { upstream, ..reference() };
        // The first leaf is as large as one can be.
        let batch = |n: usize| if n < 64 { 1024 } else { 1 };
        let proofs: BTreeMap<BankId, Proof> = (0..)
            .zip(&ids)
            .map(|(n, id)| (bank(id), super::super::proof::tests::proof(&reference, &bank(id), batch(n))))
            .collect();
        let leaves = Leaf::replies(&reference, proofs.clone());
        assert_eq!(leaves.len(), 8);
        let mut found = BTreeMap::new();
        let mut names = std::collections::BTreeSet::new();
        for leaf in &leaves {
            assert!(leaf.encode().len() < 58 * 1024, "{}", leaf.encode().len());
            assert_eq!(Leaf::decode(&leaf.encode()).as_ref(), Ok(leaf));
            let Leaf::Query(_, Change::Replies(banks)) = leaf else { panic!("{leaf:?}") };
            found.extend(banks.clone());
            names.insert(leaf.id());
        }
        assert_eq!((found, names.len()), (proofs, 8));
        assert_eq!(Leaf::replies(&reference, BTreeMap::new()), []);
        let none = Leaf::Query(reference, Change::Replies(BTreeMap::new())).encode();
        assert_eq!(Leaf::decode(&none), Err(Code::MESSAGE_MALFORMED));
    }

    proptest! {
        #[test]
        fn bytes_of_strangers_never_panic_and_read_only_as_themselves(
            n in 0usize..14,
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut bytes = leaves()[n].encode().to_vec();
            for (at, byte) in flips {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(leaf) = Leaf::decode(&bytes) {
                prop_assert_eq!(leaf.encode(), bytes);
            }
        }
    }
}
