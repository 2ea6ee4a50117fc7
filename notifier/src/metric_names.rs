//! Every metric name that this crate uses. Names are an interface: dashboards and alerts point at them.

/// SMS by how they ended; label `outcome` (`accepted`, `failed`, `unknown`).
pub const SMS: &str = "cardquery_sms_total";
/// Records of the SMS topic that cannot be read at start, so that nobody knows whose SMS they tell of.
pub const SMS_RECORDS_UNREADABLE: &str = "cardquery_sms_records_unreadable_total";

/// All of the above, for tests that compare dashboards with reality.
pub const ALL: &[&str] = &[SMS, SMS_RECORDS_UNREADABLE];

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_the_published_ones() {
        assert_eq!(super::ALL, ["cardquery_sms_total", "cardquery_sms_records_unreadable_total"]);
    }
}
