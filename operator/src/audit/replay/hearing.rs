//! What the records of a bank's reply topic say to a query: judged by the hub's own rule, with the registry as it was.

use aggregator::domain::assembly::Said;
use bytes::Bytes;
use schemas::batch::VerifiedRoots;
use schemas::ids::{BankId, Reference};
use schemas::registry::Party;
use schemas::reply::{self, Expected};
use schemas::time::UnixMillis;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// Partition and offset.
    pub at: (i32, i64),
    /// Its append time.
    pub appended_at: UnixMillis,
    /// What it says, by the registry that the report was judged with.
    pub said: Said,
    /// What it said by an entry before that, if that was something else.
    pub otherwise: Option<Said>,
}

/// What a bank said to a query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hearing {
    /// Every record of its own topic that is about the query.
    pub heard: Vec<Heard>,
    /// Retention removed records that may have been about the query.
    pub gone: bool,
}

/// A record of a bank's own reply topic.
#[derive(Clone, Copy, Debug)]
pub struct Sent<'a> {
    /// Whose topic it is.
    pub bank: &'a BankId,
    /// The record's key.
    pub key: &'a [u8],
    /// The record's value.
    pub value: &'a Bytes,
    /// Partition and offset.
    pub at: (i32, i64),
    /// Its append time.
    pub appended_at: UnixMillis,
}

/// Judges a record; `None` when it is not about `reference`. `parties` are the bank as the registry had it, the last one when
/// the report became final.
pub fn judge(
    sent: Sent<'_>,
    reference: &Reference,
    expected: &Expected,
    parties: &[&Party],
    roots: &mut VerifiedRoots,
) -> Option<Heard> {
    let Sent { bank, key, value, at, appended_at } = sent;
    let mut said = |party: &Party| {
        let opened = reply::open(bank, key, value.clone(), party, appended_at, roots);
        let about = match &opened {
            Ok(reply) => Some(&reply.reference),
            Err(bad) => bad.about.as_ref(),
        };
        (about == Some(reference)).then(|| Said::of(&opened, expected, appended_at))
    };
    let (last, before) = parties.split_last()?;
    let now = said(last)?;
    let otherwise = before.iter().find_map(|party| said(party).filter(|then| *then != now));
    Some(Heard { at, appended_at, said: now, otherwise })
}

#[cfg(test)]
#[path = "hearing_tests.rs"]
mod tests;
