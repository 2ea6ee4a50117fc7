//! What crosses a process boundary of a trace: W3C Trace Context, level 2.
//!
//! Headers come from strangers. A `traceparent` is 55 bytes of one spelling or it is none. There is no `tracestate`: it is
//! free text, and what a wallet's tracing writes there would reach banks.

use std::fmt;

use schemas::ids::{Digest, QueryId};

/// The header that names the span that caused a record.
pub const TRACEPARENT: &str = "traceparent";

const SAMPLED: u8 = 1;

/// Names a trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub(super) [u8; 16]);

/// Names a span of a trace.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub(super) [u8; 8]);

impl TraceId {
    /// A fresh one, of no query.
    pub(super) fn random() -> Self {
        Self(rand::random::<u128>().max(1).to_be_bytes())
    }

    /// The trace of a record by its key, when the key is a query id.
    pub(crate) fn of_key(key: &[u8]) -> Option<Self> {
        QueryId::from_key(key).ok().map(|query| Self::from(&query))
    }

    /// 56 bits that are spread evenly. Those of the id are not: many makers of UUIDs count within a millisecond.
    pub(super) fn spread(self) -> u64 {
        let [a, b, c, d, e, f, g, ..] = Digest::of(&self.0).0;
        u64::from_be_bytes([0, a, b, c, d, e, f, g])
    }
}

impl From<&QueryId> for TraceId {
    fn from(query: &QueryId) -> Self {
        Self(*query.as_bytes())
    }
}

impl SpanId {
    pub(super) fn random() -> Self {
        Self(rand::random::<u64>().max(1).to_be_bytes())
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A span, as others name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Its trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether whoever named it recorded it.
    pub sampled: bool,
}

impl Context {
    /// The root span of a query's trace, recorded or not.
    pub fn root(trace: TraceId) -> Self {
        let [_, _, _, _, _, _, _, _, span @ ..] = trace.0;
        Self { trace, span: SpanId(span), sampled: false }
    }

    /// What the header names; `None` for anything but the one spelling of version 00.
    pub fn parse(traceparent: &[u8]) -> Option<Self> {
        let (trace, rest) = traceparent.strip_prefix(b"00-")?.split_at_checked(32)?;
        let (span, rest) = rest.strip_prefix(b"-")?.split_at_checked(16)?;
        let flags = rest.strip_prefix(b"-")?;
        let (trace, span): ([u8; 16], [u8; 8]) = (bytes(trace)?, bytes(span)?);
        let [flags]: [u8; 1] = bytes(flags)?;
        let is_named = trace != [0; 16] && span != [0; 8];
        is_named.then_some(Self { trace: TraceId(trace), span: SpanId(span), sampled: flags & SAMPLED != 0 })
    }

    /// The value of `traceparent`.
    pub fn traceparent(&self) -> String {
        format!("00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

/// Lower-case hex digits of exactly this many bytes.
fn bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let is_lower = text.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    (is_lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0199d3c0a1b27cde8f00112233445566-8f00112233445566-01";

    #[test]
    fn the_trace_of_a_query_is_its_id_and_the_root_span_its_last_half() {
        let trace = TraceId::of_key(b"0199d3c0-a1b2-7cde-8f00-112233445566").expect("a query id");
        let root = Context { sampled: true, ..Context::root(trace) };
        assert_eq!(root.traceparent(), PARENT);
        for no_id in [&b""[..], b"bank/alpha", b"0199D3C0-A1B2-7CDE-8F00-112233445566"] {
            assert_eq!(TraceId::of_key(no_id), None);
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let read = Context::parse(PARENT.as_bytes()).expect("well formed");
        assert_eq!(read.traceparent(), PARENT);
        let flags = PARENT.replace("-01", "-fe");
        assert!(!Context::parse(flags.as_bytes()).expect("other flags are ignored").sampled);
    }

    #[test]
    fn anything_but_the_one_spelling_is_no_parent() {
        let hostile: Vec<Vec<u8>> = vec![
            vec![],
            b"00".to_vec(),
            PARENT.replace("00-", "01-").into(),
            PARENT.replace("00-", "ff-").into(),
            PARENT.to_uppercase().into(),
            PARENT.replace("7cde", "7cdg").into(),
            PARENT.replace("0199d3c0a1b27cde8f00112233445566", &"0".repeat(32)).into(),
            PARENT.replace("-8f00112233445566-", "-0000000000000000-").into(),
            format!("{PARENT} ").into(),
            format!("{PARENT}-more").into(),
            PARENT.as_bytes()[..54].to_vec(),
            vec![b'0'; 1 << 20],
            vec![0xff; 55],
            "00-0199d3c0a1b27cde8f0011223344556é-8f00112233445566-01".into(),
        ];
        for header in hostile {
            assert_eq!(Context::parse(&header), None, "{:?}", String::from_utf8_lossy(&header));
        }
    }
}
