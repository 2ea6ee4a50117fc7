//! The registry entries of an export: as published, one JSON object a line, so that root keys alone are enough to know the
//! hub and the banks.

use schemas::codes::Code as Reason;
use schemas::keys::VerifyingKey;
use schemas::registry::{Applied, PartyName, Registry, SeenVersions};
use schemas::time::UnixMillis;
use serde::{Deserialize, Serialize};

use super::codes::Code;
use super::finding::Finding;
use super::layout::REGISTRY;

/// One record of the registry topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Where it stands in the topic.
    pub offset: i64,
    /// When the broker appended it, Unix milliseconds. Nobody signs this: it is the word of whoever exported.
    pub append_time_ms: i64,
    /// Record key, `<kind>/<id>`.
    pub key: String,
    /// Record value, an encoded `RegistryRecord`.
    #[serde(with = "super::hexed")]
    pub value: Vec<u8>,
}

/// What became of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It changed the registry, or repeats what was known.
    Taken(Applied),
    /// An earlier entry of a party whose next ones were compacted away: a reader who starts later never sees it.
    PassedOver,
    /// Readers refuse it.
    Refused(Reason),
}

impl Line {
    /// The line as it stands in the file.
    pub fn to_text(&self) -> String {
        let Self { offset, append_time_ms, key, value } = self;
        let key = serde_json::Value::String(key.clone());
        let value = hex::encode(value);
        format!(
            "{{\"offset\":{offset},\"append_time_ms\":{append_time_ms},\"key\":{key},\"value\":\"{value}\"}}"
        )
    }
}

/// Reads the file. What is signed is inside a value; all else has one spelling, so that a changed byte shows.
///
/// # Errors
/// The first line that is none.
pub fn parse(bytes: &[u8]) -> Result<Vec<Line>, Finding> {
    let malformed =
        |n: usize, why: &str| Finding::new(Code::REGISTRY_MALFORMED, why).file(REGISTRY).at(n + 1);
    let mut lines: Vec<Line> = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let n = lines.len();
        let end = rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or_else(|| malformed(n, "the line has no end"))?;
        let text = std::str::from_utf8(&rest[..end]).map_err(|_| malformed(n, "no UTF-8"))?;
        let line: Line = serde_json::from_str(text).map_err(|_| malformed(n, "no entry"))?;
        if line.to_text() != text {
            return Err(malformed(n, "not spelled as documented"));
        }
        if lines.last().is_some_and(|before| before.offset >= line.offset) {
            return Err(malformed(n, "its offset is not above the one before"));
        }
        lines.push(line);
        rest = &rest[end + 1..];
    }
    Ok(lines)
}

/// The registry that readers with these roots have, and what became of each line.
pub fn fold(roots: &[VerifyingKey], lines: &[Line]) -> (Registry, Vec<Fate>) {
    // Every turn but the last passes over one line more.
    let mut passed_over = vec![false; lines.len()];
    'again: loop {
        let mut registry = Registry::new(roots.to_vec(), SeenVersions::default());
        let mut fates = Vec::with_capacity(lines.len());
        for (n, line) in lines.iter().enumerate() {
            if passed_over[n] {
                fates.push(Fate::PassedOver);
                continue;
            }
            let at = UnixMillis(line.append_time_ms);
            fates.push(match registry.apply(line.key.as_bytes(), &line.value, at) {
                Ok(applied) => Fate::Taken(applied),
                // Its signer came with a version that was compacted away: as every reader who starts now, begin with it.
                Err(_) if registry.begins_again() => {
                    for earlier in (0..n).filter(|earlier| lines[*earlier].key == line.key) {
                        passed_over[earlier] = true;
                    }
                    continue 'again;
                }
                Err(reason) => Fate::Refused(reason),
            });
        }
        return (registry, fates);
    }
}

/// What the fates of the lines of an export mean: it holds only what readers took.
pub(super) fn findings(lines: &[Line], fates: &[Fate]) -> Vec<Finding> {
    let finding = |(n, (line, fate)): (usize, (&Line, &Fate))| {
        let finding = match fate {
            Fate::Taken(_) => return None,
            Fate::PassedOver => Finding::new(
                Code::REGISTRY_VERSIONS_MISSING,
                format!("{}: the next version is missing, so the one after it counts by its roots", line.key),
            ),
            Fate::Refused(reason) => {
                Finding::new(Code::REGISTRY_REFUSED, format!("{}: {reason}", line.key.escape_debug()))
            }
        };
        Some(finding.file(REGISTRY).at(n + 1))
    };
    lines.iter().zip(fates).enumerate().filter_map(finding).collect()
}

/// The lines of these parties.
pub(super) fn of_parties(lines: &[Line], parties: &[PartyName]) -> Vec<Line> {
    let wanted = |line: &&Line| parties.iter().any(|party| party.as_str() == line.key);
    lines.iter().filter(wanted).cloned().collect()
}
