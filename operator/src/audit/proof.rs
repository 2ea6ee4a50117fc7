//! `cardquery audit prove` and `check`: a proof that a third party checks with root keys alone.
//!
//! ```text
//!  roots ─▶ registry entries ─▶ hub's key ─▶ checkpoint ─▶ root ◀─path─ leaf ─▶ what it says
//!                          └──▶ bank's key ─▶ batch statement ◀─path─ header in a leaf `replies`
//! ```

use std::fmt::Write as _;
use std::io;

use schemas::audit::leaf::Chosen;
use schemas::audit::proof::Proof as BankProof;
use schemas::audit::{Change, Checkpoint, Leaf, paths};
use schemas::codes::Code as Reason;
use schemas::ids::{BankId, Digest, Reference};
use schemas::keys::VerifyingKey;
use schemas::merkle;
use schemas::registry::{PartyName, Registry};
use serde::{Deserialize, Serialize};

use super::codes::Code;
use super::finding::Finding;
use super::folder::Folder;
use super::layout::{self, Row, WIDTH};
use super::registry_file::{self, Fate, Line};
use super::{notes, reply};

/// The form of the document.
const FORM: &str = "cardquery-audit-proof/v1";

/// A proof, as its document has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    form: String,
    query: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    bank: Option<String>,
    checkpoint: String,
    leaves: Vec<Included>,
    registry: Vec<Line>,
}

/// A leaf with its path to the root of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Included {
    index: u64,
    #[serde(with = "super::hexed")]
    leaf: Vec<u8>,
    /// Leaf side first, 32 bytes each.
    #[serde(with = "super::hexed")]
    path: Vec<u8>,
}

/// What a proof shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shown {
    /// Name of the log.
    pub origin: String,
    /// The query, `<upstream>/<query id>`.
    pub query: String,
    /// Entries under the checkpoint.
    pub size: u64,
    /// When the checkpoint was signed, Unix milliseconds.
    pub signed_at_ms: i64,
    /// Index and kind of every leaf.
    pub leaves: Vec<(u64, String)>,
    /// What banks signed.
    pub banks: Vec<Said>,
}

/// A bank's word, proved by its own signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// Who.
    pub bank: String,
    /// `answered` or `refused`.
    pub word: &'static str,
    /// SHA-256 of the sealed bytes.
    pub sealed_sha256: String,
    /// When it signed, Unix milliseconds.
    pub signed_at_ms: i64,
    /// Whether an acceptance in the proof names the statement that it answered.
    pub to_the_request: bool,
}

/// Makes a proof from an export: of every leaf of a query, or of those that a bank's reply needs. `None` when the log has none.
///
/// # Errors
/// When a file cannot be read or is missing.
pub fn prove(folder: &Folder, query: &Reference, bank: Option<&BankId>) -> io::Result<Option<Proof>> {
    let note = folder.read(layout::CHECKPOINT)?.and_then(|bytes| String::from_utf8(bytes).ok());
    let note = note.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no file `checkpoint`"))?;
    let size =
        size(&note).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "`checkpoint` is none"))?;
    let mut leaves = Vec::new();
    for n in 0..size.div_ceil(WIDTH) {
        let Some(bundle) = folder.widest(Row::Entries, n)? else { break };
        for (index, (_, bytes)) in (n * WIDTH..size).zip(layout::entries(&bundle.bytes).leaves) {
            let Ok(leaf) = Leaf::decode(bytes) else { continue };
            if leaf.reference() == Some(query) && bank.is_none_or(|bank| concerns(&leaf, bank)) {
                let path = paths::inclusion(index, size, |height, at| folder.node(height, at))?;
                leaves.push(Included { index, leaf: bytes.to_vec(), path: layout::tile(&path) });
            }
        }
    }
    if leaves.is_empty() {
        return Ok(None);
    }
    let lines = registry_file::parse(&folder.read(layout::REGISTRY)?.unwrap_or_default())
        .map_err(|finding| io::Error::new(io::ErrorKind::InvalidData, finding.text))?;
    let mut parties = vec![PartyName::hub()];
    for included in &leaves {
        if let Ok(Leaf::Query(_, Change::Replies(banks))) = Leaf::decode(&included.leaf) {
            parties.extend(banks.keys().map(PartyName::bank));
        }
    }
    Ok(Some(Proof {
        form: FORM.to_owned(),
        query: query.to_string(),
        bank: bank.map(ToString::to_string),
        checkpoint: note,
        leaves,
        registry: registry_file::of_parties(&lines, &parties),
    }))
}

/// Whether a bank's reply is proved with this leaf: its own words, the report that chose them, and the acceptance that names
/// what it was asked.
fn concerns(leaf: &Leaf, bank: &BankId) -> bool {
    match leaf {
        Leaf::Query(_, Change::Replies(banks)) => banks.contains_key(bank),
        Leaf::Query(_, Change::Final(report)) => report.outcomes.contains_key(bank),
        Leaf::Query(_, Change::Registered(accepted) | Change::Released(accepted)) => {
            accepted.statements.contains_key(bank)
        }
        Leaf::Query(
            _,
            Change::Held { .. }
            | Change::Cancelled { .. }
            | Change::ReleaseRefused { .. }
            | Change::Risk { .. }
            | Change::Rejected { .. }
            | Change::Viewed { .. }
            | Change::GrantRefused { .. }
            | Change::Withdrawn { .. }
            | Change::Erased { .. },
        )
        | Leaf::Receipt(..) => false,
    }
}

/// The size in a note whose signature is for the reader of the proof.
fn size(note: &str) -> Option<u64> {
    note.split('\n').nth(1)?.parse().ok()
}

impl Proof {
    /// The document.
    pub fn to_text(&self) -> String {
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        format!("{text}\n")
    }

    /// Reads a document.
    ///
    /// # Errors
    /// `PROOF_MALFORMED`.
    pub fn parse(text: &str) -> Result<Self, Finding> {
        let malformed = |why: String| Finding::new(Code::PROOF_MALFORMED, why);
        let proof: Self = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
        if proof.form != FORM {
            return Err(malformed(format!("its form is not {FORM}")));
        }
        Ok(proof)
    }

    /// Checks it, with root keys alone.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, roots: &[VerifyingKey]) -> Result<Shown, Finding> {
        let (registry, fates) = registry_file::fold(roots, &self.registry);
        for (line, fate) in self.registry.iter().zip(&fates) {
            if let Fate::Refused(reason) = fate {
                return Err(Finding::new(
                    Code::REGISTRY_REFUSED,
                    format!("{}: {reason}", line.key.escape_debug()),
                ));
            }
        }
        let hub =
            registry.hub().map_err(|reason| Finding::new(Code::REGISTRY_HUB_MISSING, reason.to_string()))?;
        let origin = notes::origin(&self.checkpoint).to_owned();
        let checkpoint = Checkpoint::open(&self.checkpoint, &origin, hub.keys()).map_err(|reason| {
            let malformed = reason == Reason::MESSAGE_MALFORMED;
            let code = if malformed { Code::CHECKPOINT_MALFORMED } else { Code::CHECKPOINT_FORGED };
            Finding::new(code, reason.to_string())
        })?;
        let mut leaves = Vec::new();
        for included in &self.leaves {
            leaves.push((included.index, self.open(included, &checkpoint)?));
        }
        if leaves.is_empty() {
            return Err(Finding::new(Code::PROOF_MALFORMED, "it has no leaf"));
        }
        let banks = self.banks(&leaves, &registry)?;
        Ok(Shown {
            origin,
            query: self.query.clone(),
            size: checkpoint.size,
            signed_at_ms: checkpoint.signed_at.0,
            leaves: leaves.iter().map(|(index, leaf)| (*index, leaf.kind().to_owned())).collect(),
            banks,
        })
    }

    fn open(&self, included: &Included, checkpoint: &Checkpoint) -> Result<Leaf, Finding> {
        let Included { index, leaf, path } = included;
        let path = layout::hashes(path).ok_or_else(|| {
            Finding::new(Code::PROOF_MALFORMED, "a path is no list of hashes").entry(*index)
        })?;
        let root: Option<Digest> =
            merkle::root_from_path(merkle::leaf_hash(leaf), *index, checkpoint.size, &path);
        if root != Some(checkpoint.root) {
            let text = format!(
                "its path does not lead to the root of the checkpoint of {} entries",
                checkpoint.size
            );
            return Err(Finding::new(Code::PROOF_INVALID, text).entry(*index));
        }
        let leaf = Leaf::decode(leaf)
            .map_err(|reason| Finding::new(Code::LEAF_MALFORMED, reason.to_string()).entry(*index))?;
        if leaf.reference().map(ToString::to_string).as_ref() != Some(&self.query) {
            let text = format!("the leaf is not about {}", self.query);
            return Err(Finding::new(Code::PROOF_INVALID, text).entry(*index));
        }
        Ok(leaf)
    }

    /// Every bank's word, verified with the bank's own signature.
    fn banks(&self, leaves: &[(u64, Leaf)], registry: &Registry) -> Result<Vec<Said>, Finding> {
        let mut said = Vec::new();
        for (index, leaf) in leaves {
            let Leaf::Query(reference, Change::Replies(banks)) = leaf else { continue };
            for (bank, proof) in banks {
                if self.bank.as_ref().is_some_and(|only| only != bank.as_str()) {
                    continue;
                }
                let wrong =
                    |why: String| Finding::new(Code::REPLY_INVALID, format!("{bank}: {why}")).entry(*index);
                said.push(word(reference, bank, proof, leaves, registry).map_err(wrong)?);
            }
        }
        if let Some(bank) = &self.bank
            && said.is_empty()
        {
            let text = format!("no leaf has what {bank} signed");
            return Err(Finding::new(Code::PROOF_INVALID, text));
        }
        Ok(said)
    }
}

fn word(
    reference: &Reference,
    bank: &BankId,
    proof: &BankProof,
    leaves: &[(u64, Leaf)],
    registry: &Registry,
) -> Result<Said, String> {
    let chosen = leaves.iter().find_map(|(_, leaf)| chosen(leaf, bank));
    let chosen = chosen.ok_or("the proof has no report that chose this reply")?;
    let party = registry.bank(bank).ok_or_else(|| Reason::PARTY_UNKNOWN.to_string())?;
    let proven = reply::check(reference, bank, party, proof, chosen)?;
    let asked: Vec<Digest> = leaves.iter().filter_map(|(_, leaf)| statement(leaf, bank)).collect();
    let to_the_request = asked.contains(&proven.statement);
    if !asked.is_empty() && !to_the_request {
        return Err("it answers another statement than the hub sent".to_owned());
    }
    Ok(Said {
        bank: bank.to_string(),
        word: proven.word.as_str(),
        sealed_sha256: proven.sealed.to_string(),
        signed_at_ms: proven.signed_at.0,
        to_the_request,
    })
}

fn chosen<'a>(leaf: &'a Leaf, bank: &BankId) -> Option<&'a Chosen> {
    let Leaf::Query(_, Change::Final(report)) = leaf else { return None };
    report.outcomes.get(bank)?.reply.as_ref()
}

fn statement(leaf: &Leaf, bank: &BankId) -> Option<Digest> {
    let Leaf::Query(_, Change::Registered(accepted) | Change::Released(accepted)) = leaf else { return None };
    accepted.statements.get(bank).copied()
}

impl Shown {
    pub(super) fn text(&self) -> String {
        let Self { origin, query, size, leaves, banks, .. } = self;
        let mut text = String::new();
        for (index, kind) in leaves {
            _ = writeln!(text, "entry {index}: {kind}");
        }
        for Said { bank, word, sealed_sha256, .. } in banks {
            _ = writeln!(text, "{bank} signed: {word}, sealed bytes {sealed_sha256}");
        }
        _ = writeln!(text, "proved: {} entries of {query} in {origin}, of {size} entries", leaves.len());
        text
    }
}
