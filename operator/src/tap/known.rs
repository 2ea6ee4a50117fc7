//! Pure: which texts and numbers of a record may be shown. What looks like an id and is none that the settings or the
//! contract know is not shown: any party's record may hold anything.

use std::collections::BTreeSet;

use schemas::codes::Code;
use schemas::ids::{KeyId, QueryId};
use schemas::time::UnixMillis;
use schemas::wire;

/// The parties of the settings.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Ids of upstreams and banks, and of the hub's own parties.
    pub parties: BTreeSet<String>,
}

/// Stands for what is there and cannot be shown.
pub const UNKNOWN: &str = "unknown";

/// Any time on this side of the year 2100.
const LATEST_MS: i64 = 4_102_444_800_000;
/// Before this there was no such system.
const EARLIEST_MS: i64 = 1_577_836_800_000;

impl Known {
    /// A party's id.
    pub fn party(&self, id: &str) -> String {
        if self.parties.contains(id) { id.to_owned() } else { UNKNOWN.to_owned() }
    }
}

/// One of the contract's codes, or of librdkafka's and the services' fixed words.
pub fn code(text: &str) -> String {
    let known = Code::ALL.iter().any(|code| code.as_str() == text);
    if known { text.to_owned() } else { UNKNOWN.to_owned() }
}

/// A query's id.
pub fn query(raw: &[u8]) -> Option<QueryId> {
    QueryId::from_bytes(raw).ok()
}

/// The query of a reference.
pub fn of_reference(reference: Option<&wire::Reference>) -> (Option<&str>, Option<QueryId>) {
    let wire::Reference { upstream, query_id } = match reference {
        Some(reference) => reference,
        None => return (None, None),
    };
    (Some(upstream), query(query_id))
}

/// A key's id in hexadecimal.
pub fn key_id(raw: &[u8]) -> String {
    KeyId::from_bytes(raw).map_or_else(|_| UNKNOWN.to_owned(), |id| hex::encode(id.0))
}

/// An instant, if it can be one of this system.
pub fn time(ms: i64) -> String {
    if (EARLIEST_MS..LATEST_MS).contains(&ms) { UnixMillis(ms).to_string() } else { UNKNOWN.to_owned() }
}

/// A value of an enum by its name in the contract.
pub fn word<E: TryFrom<i32>>(value: i32, name: impl Fn(&E) -> &'static str, prefix: &str) -> String {
    E::try_from(value).map_or_else(
        |_| UNKNOWN.to_owned(),
        |value| schemas::http::short_name(name(&value), prefix).to_owned(),
    )
}

/// A count that can be one: of banks, of attempts.
pub fn count(n: u32) -> String {
    if n <= 10_000 { n.to_string() } else { UNKNOWN.to_owned() }
}

/// What is sealed, by its size alone.
pub fn sealed(raw: &[u8]) -> String {
    use prost::Message as _;
    let Ok(wire::Sealed { suite, key_id: to, enc: _, ciphertext }) = wire::Sealed::decode(raw) else {
        return format!("sealed({} B, unreadable)", raw.len());
    };
    let suite = word::<wire::Suite>(suite, wire::Suite::as_str_name, "SUITE_");
    format!("sealed({} B, to {}, {suite})", ciphertext.len(), key_id(&to))
}
