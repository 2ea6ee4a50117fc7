//! Every metric name of this crate. Names are an interface: dashboards and alerts point at them.

/// Submissions by what became of them; labels `outcome` (`accepted`, `refused`, `unavailable`, `failed`) and `code`
/// (`SUBMITTED` or the code of the refusal).
pub const INTAKE: &str = "cardquery_intake_total";
/// Seconds from the call to its outcome; label `outcome`.
pub const INTAKE_SECONDS: &str = "cardquery_intake_seconds";
/// Event streams that are open.
pub const EVENT_STREAMS: &str = "cardquery_event_streams";

/// All of the above, for tests that compare dashboards with reality.
pub const ALL: &[&str] = &[INTAKE, INTAKE_SECONDS, EVENT_STREAMS];

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn names_are_the_published_ones() {
        assert_eq!(ALL, ["cardquery_intake_total", "cardquery_intake_seconds", "cardquery_event_streams"]);
    }
}
