//! Names of the connector's metrics. Dashboards rest on them: a name never changes its meaning. Nothing here tells what
//! an answer says: no label and no count depends on cards.

/// Requests that were replied to; labels `bank`, `outcome` (`ANSWERED`, `REFUSED`, `RETRY_LATER`).
pub const REQUESTS: &str = "cardquery_connector_requests_total";
/// Records that were not replied to; labels `bank`, `code`.
pub const IGNORED: &str = "cardquery_connector_ignored_total";
/// Refused requests; labels `bank`, `code`.
pub const REFUSED: &str = "cardquery_connector_refused_total";
/// Cancellations that were read; label `bank`.
pub const CANCELLATIONS: &str = "cardquery_connector_cancellations_total";
/// Time of one attempt at a lookup, seconds; labels `bank`, `outcome` (`answered`, `failed`).
pub const LOOKUP_SECONDS: &str = "cardquery_connector_lookup_seconds";
/// Lookups that met something unreadable in the bank's own data, once per lookup; labels `bank`, `code`.
pub const SOURCE_DEFECTS: &str = "cardquery_connector_source_defects_total";
/// Batches that were signed; label `bank`.
pub const BATCHES: &str = "cardquery_connector_batches_total";

/// All of the above, for tests that compare dashboards with reality.
pub const ALL: &[&str] =
    &[REQUESTS, IGNORED, REFUSED, CANCELLATIONS, LOOKUP_SECONDS, SOURCE_DEFECTS, BATCHES];

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn names_are_the_published_ones() {
        assert_eq!(
            ALL,
            [
                "cardquery_connector_requests_total",
                "cardquery_connector_ignored_total",
                "cardquery_connector_refused_total",
                "cardquery_connector_cancellations_total",
                "cardquery_connector_lookup_seconds",
                "cardquery_connector_source_defects_total",
                "cardquery_connector_batches_total",
            ]
        );
    }
}
