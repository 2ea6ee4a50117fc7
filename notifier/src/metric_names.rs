//! Every metric name that this crate uses. Names are an interface: dashboards and alerts point at them.

/// SMS by how they ended; label `outcome` (`accepted`, `delivered`, `undelivered`, `failed`, `unknown`).
pub const SMS: &str = "cardquery_sms_total";
/// Records of the SMS topic that cannot be read at start, so that nobody knows whose SMS they tell of.
pub const SMS_RECORDS_UNREADABLE: &str = "cardquery_sms_records_unreadable_total";
/// Notices that wait because their contact is sealed to a key of ours that this instance does not have.
pub const NOTICES_WITHOUT_KEY: &str = "cardquery_notices_without_key_total";

/// Questions to the gateway about SMS that may have been sent.
pub const SMS_INQUIRIES: &str = "cardquery_sms_inquiries_total";
/// Delivery receipts; label `outcome` (`taken`, `refused`).
pub const SMS_RECEIPTS: &str = "cardquery_sms_receipts_total";

/// All of the above, for tests that compare dashboards with reality.
pub const ALL: &[&str] = &[SMS, SMS_RECORDS_UNREADABLE, NOTICES_WITHOUT_KEY, SMS_INQUIRIES, SMS_RECEIPTS];

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_the_published_ones() {
        let published = [
            "cardquery_sms_total",
            "cardquery_sms_records_unreadable_total",
            "cardquery_notices_without_key_total",
            "cardquery_sms_inquiries_total",
            "cardquery_sms_receipts_total",
        ];
        assert_eq!(super::ALL, published);
    }
}
