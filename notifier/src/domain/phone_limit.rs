//! How many SMS one phone may get on a day, counted without its number.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use schemas::time::UnixMillis;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::phone::Phone;

/// Tells this use of a key from any other.
const PURPOSE: &[u8] = b"phone/v1\0";

/// Stands for one phone number where SMS are counted. Says nothing without the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PhoneMac(pub [u8; 32]);

/// The key of [`PhoneMac`], used for nothing else. It does not print.
#[derive(Clone)]
pub struct PhoneKey(Zeroizing<[u8; 32]>);

impl PhoneKey {
    /// A key from its 32 bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The MAC of a number.
    pub fn mac(&self, phone: &Phone) -> PhoneMac {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_ref()).expect("HMAC takes keys of any length");
        mac.update(PURPOSE);
        mac.update(phone.expose().as_bytes());
        PhoneMac(mac.finalize().into_bytes().into())
    }
}

impl fmt::Debug for PhoneKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PhoneKey(redacted)")
    }
}

/// SMS per phone and calendar day, at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneLimit {
    /// How many, at least 1.
    pub max: u32,
    /// Whose calendar.
    pub zone: TimeZone,
}

impl PhoneLimit {
    /// The day that `now` belongs to.
    pub fn day(&self, now: UnixMillis) -> Date {
        let now = Timestamp::from_millisecond(now.0).unwrap_or(Timestamp::MAX);
        now.to_zoned(self.zone.clone()).date()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(text: &str) -> Phone {
        Phone::parse(text.to_owned()).expect("plausible")
    }

    #[test]
    fn a_number_has_one_mac_per_key_and_the_key_does_not_print() {
        let key = |byte| PhoneKey::new(Zeroizing::new([byte; 32]));
        let mac = key(1).mac(&phone("+8613800000001"));
        assert_eq!(mac, key(1).mac(&phone("+8613800000001")));
        assert_ne!(mac, key(1).mac(&phone("+8613800000002")));
        assert_ne!(mac, key(2).mac(&phone("+8613800000001")));
        assert_eq!(format!("{:?}", key(7)), "PhoneKey(redacted)");
    }

    #[test]
    fn the_mac_is_hmac_sha256_of_purpose_and_number() {
        // python3: hmac.new(bytes([1])*32, b"phone/v1\0+8613800000001", "sha256").hexdigest()
        let mac = PhoneKey::new(Zeroizing::new([1; 32])).mac(&phone("+8613800000001"));
        assert_eq!(hex::encode(mac.0), "0baf0161dfdbb76ab1aa2a8020b58d71144115db7300260d70a83ebef9dc0733");
    }

    #[test]
    fn a_day_begins_at_midnight_of_the_zone() {
        let limit = PhoneLimit { max: 1, zone: TimeZone::get("Asia/Shanghai").expect("a zone") };
        let day = |at| limit.day(UnixMillis::parse(at).expect("a time")).to_string();
        assert_eq!(day("2026-11-24T15:59:59.999Z"), "2026-11-24");
        assert_eq!(day("2026-11-24T16:00:00.000Z"), "2026-11-25");
    }
}
