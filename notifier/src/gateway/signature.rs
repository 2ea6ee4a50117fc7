//! How this notifier and an SMS gateway know each other's requests: HMAC-SHA-256 under a secret that both have, over the
//! time, the method, the path and the body.
//!
//! ```text
//! cardquery-timestamp: <Unix milliseconds>
//! cardquery-signature: hex(HMAC-SHA-256(secret, "cardquery-sms/v1\n" timestamp "\n" METHOD "\n" path "\n" body))
//! ```

use std::fmt;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use schemas::time::UnixMillis;
use sha2::Sha256;
use zeroize::Zeroizing;

/// Header with the time of signing, in Unix milliseconds.
pub const TIMESTAMP: &str = "cardquery-timestamp";
/// Header with the signature, 64 hex digits.
pub const SIGNATURE: &str = "cardquery-signature";
/// How far the clocks of both sides, and the way between them, may be apart.
pub const VALID_FOR: Duration = Duration::from_secs(300);

const PURPOSE: &str = "cardquery-sms/v1";

/// The secret that gateway and notifier share. It does not print.
#[derive(Clone)]
pub struct GatewaySecret(Zeroizing<[u8; 32]>);

impl fmt::Debug for GatewaySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("GatewaySecret(redacted)")
    }
}

impl GatewaySecret {
    /// A secret from its 32 bytes.
    pub fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// The signature of a request that is made at `at`.
    pub fn sign(&self, at: UnixMillis, method: &str, path: &str, body: &[u8]) -> String {
        hex::encode(self.mac(at, method, path, body).finalize().into_bytes())
    }

    /// Whether `signature` is that of this request, made at `at` and received at `now`. In constant time.
    pub fn verifies(
        &self,
        signature: &str,
        at: UnixMillis,
        now: UnixMillis,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> bool {
        let fresh = at <= now + VALID_FOR && at >= now.before(VALID_FOR);
        let mut given = [0; 32];
        fresh
            && hex::decode_to_slice(signature, &mut given).is_ok()
            && self.mac(at, method, path, body).verify_slice(&given).is_ok()
    }

    fn mac(&self, at: UnixMillis, method: &str, path: &str, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.as_ref()).expect("HMAC takes keys of any length");
        mac.update(format!("{PURPOSE}\n{}\n{method}\n{path}\n", at.0).as_bytes());
        mac.update(body);
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UnixMillis = UnixMillis(1_700_000_000_000);
    const PATH: &str = "/v1/sms";

    fn secret(byte: u8) -> GatewaySecret {
        GatewaySecret::new(Zeroizing::new([byte; 32]))
    }

    #[test]
    fn the_signature_is_the_documented_one() {
        // python3: hmac.new(bytes([1])*32, b"cardquery-sms/v1\n1700000000000\nPOST\n/v1/sms\n{}", "sha256").hexdigest()
        let signature = secret(1).sign(AT, "POST", PATH, b"{}");
        assert_eq!(signature, "a513b66e8c86854cc218b65dd91d1b65ecbe195fa091f79429f462367b1500bb");
    }

    #[test]
    fn a_signature_counts_for_its_request_its_secret_and_five_minutes() {
        let signature = secret(1).sign(AT, "POST", PATH, b"{}");
        let verifies = |byte, at, now, method, path, body| {
            secret(byte).verifies(&signature, at, now, method, path, body)
        };
        assert!(verifies(1, AT, AT, "POST", PATH, b"{}"));
        assert!(verifies(1, AT, AT + VALID_FOR, "POST", PATH, b"{}"));
        assert!(verifies(1, AT, AT.before(VALID_FOR), "POST", PATH, b"{}"));
        let later = AT + VALID_FOR + Duration::from_millis(1);
        for (byte, at, now, method, path, body) in [
            (2, AT, AT, "POST", PATH, b"{}"),
            (1, UnixMillis(AT.0 + 1), AT, "POST", PATH, b"{}"),
            (1, AT, later, "POST", PATH, b"{}"),
            (1, AT, AT.before(VALID_FOR + Duration::from_millis(1)), "POST", PATH, b"{}"),
            (1, AT, AT, "GET", PATH, b"{}"),
            (1, AT, AT, "POST", "/v1/sms/", b"{}"),
            (1, AT, AT, "POST", PATH, b"[]"),
        ] {
            assert!(!verifies(byte, at, now, method, path, body), "{at} {now} {method} {path}");
        }
        for broken in ["", &signature[1..], &format!("{signature}00"), &"zz".repeat(32)] {
            assert!(!secret(1).verifies(broken, AT, AT, "POST", PATH, b"{}"), "{broken}");
        }
    }

    #[test]
    fn the_secret_does_not_print() {
        assert_eq!(format!("{:?}", secret(7)), "GatewaySecret(redacted)");
    }
}
