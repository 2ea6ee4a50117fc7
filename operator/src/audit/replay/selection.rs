//! Which queries.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use schemas::ids::Reference;
use schemas::time::UnixMillis;

/// Which queries are replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All that the log has.
    All,
    /// Those that were accepted in this time; the end is not in it.
    Accepted {
        /// From when on.
        from: UnixMillis,
        /// Until when.
        to: UnixMillis,
    },
    /// These.
    Queries(BTreeSet<Reference>),
}

impl Selection {
    /// Whether a query that was accepted at `accepted_at` is one of them.
    pub fn takes(&self, reference: &Reference, accepted_at: UnixMillis) -> bool {
        match self {
            Self::All => true,
            Self::Accepted { from, to } => (*from..*to).contains(&accepted_at),
            Self::Queries(references) => references.contains(reference),
        }
    }

    /// Before this the log has nothing of them.
    pub fn begins(&self) -> Option<UnixMillis> {
        match self {
            Self::Accepted { from, .. } => Some(*from),
            Self::All | Self::Queries(_) => None,
        }
    }
}

/// A point in time on the command line: RFC 3339, with seconds or without.
///
/// # Errors
/// What is wrong with it.
pub fn instant(text: &str) -> Result<UnixMillis, String> {
    let whole = || text.parse::<Timestamp>().ok();
    // `2026-11-01T00:00+08:00`, as people write it.
    let short = || jiff::fmt::strtime::parse("%Y-%m-%dT%H:%M%:z", text).ok()?.to_timestamp().ok();
    let at = whole()
        .or_else(short)
        .ok_or_else(|| format!("`{text}` is no time, for example 2026-11-01T00:00+08:00"))?;
    Ok(UnixMillis(at.as_millisecond()))
}

/// The end of a time: a point in time, or `+24h` after the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// At this time.
    At(UnixMillis),
    /// So many milliseconds after the beginning.
    After(i64),
}

impl Until {
    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(span) = text.strip_prefix('+') else { return instant(text).map(Self::At) };
        let span: SignedDuration =
            span.parse().map_err(|_| format!("`{text}` is no length of time, for example +24h"))?;
        i64::try_from(span.as_millis()).map(Self::After).map_err(|_| format!("`{text}` is too long"))
    }

    /// The end of what begins at `from`.
    pub fn end(self, from: UnixMillis) -> UnixMillis {
        match self {
            Self::At(at) => at,
            Self::After(millis) => UnixMillis(from.0.saturating_add(millis)),
        }
    }
}

/// A query on the command line: `upstream/id`.
///
/// # Errors
/// What is wrong with it.
pub fn reference(text: &str) -> Result<Reference, String> {
    let parts = text.split_once('/').and_then(|(upstream, query)| {
        Some(Reference { upstream: upstream.parse().ok()?, query: query.parse().ok()? })
    });
    parts.ok_or_else(|| {
        format!("`{text}` is no query, for example wallet/0192f0c1-2d3e-7000-8000-000000000001")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_points_or_lengths_and_queries_have_an_upstream() {
        let from = instant("2026-11-01T00:00+08:00").expect("a time");
        assert_eq!(from.to_string(), "2026-10-31T16:00:00.000Z");
        assert_eq!(instant("2026-10-31T16:00:00Z"), Ok(from));
        let until = |text| Until::parse(text).map(|until| until.end(from).to_string());
        assert_eq!(until("+24h").as_deref(), Ok("2026-11-01T16:00:00.000Z"));
        assert_eq!(until("+90m").as_deref(), Ok("2026-10-31T17:30:00.000Z"));
        assert_eq!(until("2026-11-02T00:00:00Z").as_deref(), Ok("2026-11-02T00:00:00.000Z"));
        for wrong in ["yesterday", "+soon", "2026-11-01"] {
            assert!(Until::parse(wrong).is_err(), "{wrong}");
        }
        let query = "wallet/0192f0c1-2d3e-7000-8000-000000000001";
        let reference = reference(query).expect("a query");
        assert!(super::reference("0192f0c1-2d3e-7000-8000-000000000001").is_err());
        let span = Selection::Accepted { from, to: UnixMillis(from.0 + 1) };
        assert!(span.takes(&reference, from) && !span.takes(&reference, UnixMillis(from.0 + 1)));
        assert!(!Selection::Queries(BTreeSet::new()).takes(&reference, from));
    }
}
