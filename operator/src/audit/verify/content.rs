//! What leaves say: whether it can be read, is signed by whom it says, and fits together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use jiff::civil::Date;
use schemas::audit::leaf::{Chosen, Final};
use schemas::audit::{Change, Leaf, Proof};
use schemas::codes::Code as Reason;
use schemas::erasure;
use schemas::fields::Reader;
use schemas::ids::{BankId, Reference};
use schemas::registry::Registry;

use super::steps::Steps;
use crate::audit::codes::Code;
use crate::audit::finding::{Finding, Report};
use crate::audit::reply;

/// Reports whose banks' proofs are awaited. Both come from one commit, so they lie close together.
const AWAITED: usize = 16_384;

/// Looks at leaves one after the other.
pub(super) struct Content<'a> {
    registry: &'a Registry,
    steps: Steps,
    finals: Finals,
    /// What banks signed for reports that did not come yet.
    waiting: BTreeMap<Reference, Vec<(Finding, BankId, Proof)>>,
    erased: BTreeMap<Date, u64>,
    receipts: BTreeSet<Date>,
}

/// The replies that count in the latest reports.
#[derive(Default)]
struct Finals {
    chosen: BTreeMap<Reference, BTreeMap<BankId, Chosen>>,
    order: VecDeque<Reference>,
}

impl<'a> Content<'a> {
    pub(super) fn new(registry: &'a Registry) -> Self {
        Self {
            registry,
            steps: Steps::new(),
            finals: Finals::default(),
            waiting: BTreeMap::new(),
            erased: BTreeMap::new(),
            receipts: BTreeSet::new(),
        }
    }

    pub(super) fn take(
        &mut self,
        index: u64,
        bytes: &[u8],
        file: &str,
        byte: usize,
        report: &mut Report,
    ) -> io::Result<()> {
        let mut found = Vec::new();
        self.look(index, bytes, file, byte, &mut found)?;
        found.into_iter().for_each(|finding| report.add(finding));
        Ok(())
    }

    fn look(
        &mut self,
        index: u64,
        bytes: &[u8],
        file: &str,
        byte: usize,
        found: &mut Vec<Finding>,
    ) -> io::Result<()> {
        let finding = |code, text: String| Finding::new(code, text).entry(index).file(file).at(byte);
        let Ok(leaf) = Leaf::decode(bytes) else {
            match unknown_kind(bytes) {
                Some(kind) => found.push(finding(Code::LEAF_KIND_UNKNOWN, kind)),
                None => found.push(finding(Code::LEAF_MALFORMED, Reason::MESSAGE_MALFORMED.to_string())),
            }
            return Ok(());
        };
        self.steps.take(index, &leaf)?;
        match leaf {
            Leaf::Receipt(day, signed) => {
                let receipt = self.registry.hub().and_then(|hub| erasure::open(&signed, hub));
                match receipt {
                    Err(reason) => found.push(finding(Code::RECEIPT_INVALID, reason.to_string())),
                    Ok(receipt) if receipt.day != day.to_string() => {
                        found.push(finding(
                            Code::RECEIPT_INVALID,
                            format!("the leaf is of {day}, what is signed of {}", receipt.day),
                        ));
                    }
                    Ok(_) => _ = self.receipts.insert(day),
                }
            }
            Leaf::Query(_, Change::Erased { erase_on, .. }) => {
                self.erased.entry(erase_on).or_insert(index);
            }
            Leaf::Query(reference, Change::Final(report)) => {
                for (finding, bank, proof) in self.waiting.remove(&reference).unwrap_or_default() {
                    let chosen = report.outcomes.get(&bank).and_then(|outcome| outcome.reply.as_ref());
                    if let Err(why) = self.reply(&reference, &bank, &proof, chosen) {
                        found.push(Finding { text: format!("{bank}: {why}"), ..finding });
                    }
                }
                self.finals.keep(reference, &report);
            }
            Leaf::Query(reference, Change::Replies(proofs)) => {
                for (bank, proof) in proofs {
                    match self.finals.chosen.get(&reference) {
                        Some(chosen) => {
                            if let Err(why) = self.reply(&reference, &bank, &proof, chosen.get(&bank)) {
                                found.push(finding(Code::REPLY_INVALID, format!("{bank}: {why}")));
                            }
                        }
                        None => {
                            let finding = Finding::new(Code::REPLY_INVALID, "");
                            let finding = finding.entry(index).file(file).at(byte);
                            let waiting = self.waiting.entry(reference.clone()).or_default();
                            waiting.push((finding, bank, proof));
                        }
                    }
                }
            }
            Leaf::Query(
                _,
                Change::Registered(_)
                | Change::Released(_)
                | Change::Held { .. }
                | Change::Cancelled { .. }
                | Change::ReleaseRefused { .. }
                | Change::Risk { .. }
                | Change::Rejected { .. }
                | Change::Viewed { .. }
                | Change::GrantRefused { .. }
                | Change::Withdrawn { .. },
            ) => {}
        }
        Ok(())
    }

    fn reply(
        &self,
        reference: &Reference,
        bank: &BankId,
        proof: &Proof,
        chosen: Option<&Chosen>,
    ) -> Result<(), String> {
        let chosen = chosen.ok_or("the report has no reply of this bank")?;
        let party = self.registry.bank(bank).ok_or_else(|| Reason::PARTY_UNKNOWN.to_string())?;
        reply::check(reference, bank, party, proof, chosen).map(drop)
    }

    pub(super) fn finish(self, report: &mut Report) -> io::Result<()> {
        for (day, index) in self.erased.iter().filter(|(day, _)| !self.receipts.contains(day)) {
            let text = format!("of {day}, first named here");
            report.add(Finding::new(Code::ERASED_WITHOUT_RECEIPT, text).entry(*index));
        }
        for (finding, bank, _) in self.waiting.into_values().flatten() {
            report.add(Finding { text: format!("{bank}: no report of its query lies near"), ..finding });
        }
        self.steps.finish(report)
    }
}

impl Finals {
    fn keep(&mut self, reference: Reference, report: &Final) {
        let replies = report.outcomes.iter();
        let chosen = replies.filter_map(|(bank, outcome)| Some((bank.clone(), outcome.reply.clone()?)));
        self.chosen.insert(reference.clone(), chosen.collect());
        self.order.push_back(reference);
        if self.order.len() > AWAITED
            && let Some(oldest) = self.order.pop_front()
        {
            self.chosen.remove(&oldest);
        }
    }
}

/// The kind of a leaf that is of our form, and of no kind that this version knows.
fn unknown_kind(bytes: &[u8]) -> Option<String> {
    let mut fields = Reader::new(bytes);
    let (form, kind) = (fields.text()?, fields.text()?);
    let known = form == "audit-leaf/v1" && Leaf::KINDS.contains(&kind);
    let plain = kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') && kind.len() <= 32;
    (form.starts_with("audit-leaf/") && plain && !known).then(|| kind.to_owned())
}
