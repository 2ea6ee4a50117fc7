//! Typed ids. A value of one of these types has been checked.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::codes::Code;
use crate::fields::Fields;
use crate::wire;

/// Defines the id of a kind of party: `[a-z0-9]{2,16}`, so that no id is a prefix of a topic name's next part and
/// literal ACLs never touch another party.
macro_rules! party_id {
    ($(#[$doc:meta])* $name:ident, $unknown:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = Code;

            fn from_str(text: &str) -> Result<Self, Code> {
                is_party_id(text).then(|| Self(text.into())).ok_or(Code::$unknown)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Code;

            fn try_from(text: String) -> Result<Self, Code> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

/// Whether `text` may name a party: `[a-z0-9]{2,16}`.
pub fn is_party_id(text: &str) -> bool {
    (2..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

party_id!(
    /// A bank.
    BankId,
    BANK_UNKNOWN
);
party_id!(
    /// An upstream app, for example a wallet.
    UpstreamId,
    UPSTREAM_UNKNOWN
);

/// The id of a query within its upstream: a UUIDv7 that the upstream chooses, and its idempotency key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueryId(Uuid);

impl QueryId {
    /// A fresh id.
    pub fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// From 16 bytes as on the wire.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Code> {
        Self::checked(Uuid::from_slice(bytes).map_err(|_| Code::QUERY_ID_INVALID)?)
    }

    /// From the lower-case hyphenated text that is the record key.
    pub fn from_key(key: &[u8]) -> Result<Self, Code> {
        std::str::from_utf8(key).map_err(|_| Code::QUERY_ID_INVALID)?.parse()
    }

    fn checked(id: Uuid) -> Result<Self, Code> {
        (id.get_version_num() == 7).then_some(Self(id)).ok_or(Code::QUERY_ID_INVALID)
    }

    /// The 16 bytes that travel.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

impl FromStr for QueryId {
    type Err = Code;

    /// One spelling only, the hyphenated lower-case one: the text is the record key, and two spellings would be two
    /// partitions.
    fn from_str(text: &str) -> Result<Self, Code> {
        let id = Uuid::try_parse(text).map_err(|_| Code::QUERY_ID_INVALID)?;
        let id = Self::checked(id)?;
        (id.to_string() == text).then_some(id).ok_or(Code::QUERY_ID_INVALID)
    }
}

impl fmt::Display for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for QueryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names one query across upstreams.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Whose query it is.
    pub upstream: UpstreamId,
    /// Its id within that upstream.
    pub query: QueryId,
}

impl Reference {
    /// The first 16 bytes of SHA-256 over `request-id/v1`, upstream, query and bank: the same for every attempt.
    pub fn request_id(&self, bank: &BankId) -> RequestId {
        let fields = self.push(Fields::new().text("request-id/v1")).text(bank.as_str());
        RequestId(first_16(Digest::of(fields.as_bytes())))
    }

    /// The id of the one message of `kind` that this query may cause, so that a re-emission is recognised.
    pub fn message_id(&self, kind: &str) -> MessageId {
        let fields = self.push(Fields::new().text("message-id/v1")).text(kind);
        MessageId(first_16(Digest::of(fields.as_bytes())))
    }

    /// Appends upstream and query id, as every header, `aad` and id derivation does.
    pub(crate) fn push(&self, fields: Fields) -> Fields {
        fields.text(self.upstream.as_str()).bytes(self.query.as_bytes())
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.upstream, self.query)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl From<&Reference> for wire::Reference {
    fn from(reference: &Reference) -> Self {
        Self {
            upstream: reference.upstream.as_str().to_owned(),
            query_id: reference.query.as_bytes().to_vec().into(),
        }
    }
}

impl TryFrom<Option<&wire::Reference>> for Reference {
    type Error = Code;

    fn try_from(reference: Option<&wire::Reference>) -> Result<Self, Code> {
        let reference = reference.ok_or(Code::MESSAGE_MALFORMED)?;
        Ok(Self { upstream: reference.upstream.parse()?, query: QueryId::from_bytes(&reference.query_id)? })
    }
}

/// Defines 16 bytes with a name, printed as hex.
macro_rules! id_16 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// From the wire.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, Code> {
                bytes.try_into().map(Self).map_err(|_| Code::MESSAGE_MALFORMED)
            }

            /// As a field of a message.
            pub fn to_wire(self) -> bytes::Bytes {
                self.0.to_vec().into()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

id_16!(
    /// Names one request to one bank, whatever the attempt.
    RequestId
);
id_16!(
    /// Names one message, so that a re-emission is recognised.
    MessageId
);
id_16!(
    /// First 16 bytes of SHA-256(algorithm id u16-BE ‖ raw public key).
    KeyId
);
id_16!(
    /// Random bytes that make a consent, a grant or a batch the only one of its kind.
    Nonce
);

impl MessageId {
    /// The id that a digest derives.
    pub(crate) fn first_of(digest: Digest) -> Self {
        Self(first_16(digest))
    }
}

fn first_16(digest: Digest) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&digest.0[..16]);
    id
}

impl KeyId {
    /// The id of a public key.
    pub fn of(algorithm: wire::KeyAlgorithm, raw: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        // The enum's numbers are 16-bit registry values (HPKE KEM ids, TLS SignatureScheme).
        hasher.update((algorithm as i32 as u16).to_be_bytes());
        hasher.update(raw);
        Self(first_16(Digest(hasher.finalize().into())))
    }
}

/// A SHA-256 digest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// From the wire.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Code> {
        bytes.try_into().map(Self).map_err(|_| Code::MESSAGE_MALFORMED)
    }

    /// As a field of a message.
    pub fn to_wire(self) -> bytes::Bytes {
        self.0.to_vec().into()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_query_id_has_one_spelling_and_is_version_7() {
        let id = QueryId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in [
            id.to_string().to_uppercase(),
            id.0.simple().to_string(),
            "4f5c1d52-5c1e-4f2e-9c38-0a4d0e0b7c11".to_owned(),
            String::new(),
        ] {
            assert_eq!(wrong.parse::<QueryId>(), Err(Code::QUERY_ID_INVALID), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn a_party_id_never_contains_what_separates_parts_of_a_topic_name(text in "\\PC{0,20}") {
            if let Ok(bank) = text.parse::<BankId>() {
                prop_assert!(!bank.as_str().contains(['.', '-', '_', '/', '*']));
                prop_assert!((2..=16).contains(&bank.as_str().len()));
            }
        }

        #[test]
        fn request_ids_differ_between_banks_and_queries(a in "[a-z0-9]{2,16}", b in "[a-z0-9]{2,16}") {
            prop_assume!(a != b);
            let reference = Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() };
            let other = Reference { query: QueryId::generate(), ..reference.clone() };
            let (a, b) = (a.parse().expect("an id"), b.parse().expect("an id"));
            prop_assert_ne!(reference.request_id(&a), reference.request_id(&b));
            prop_assert_ne!(reference.request_id(&a), other.request_id(&a));
        }
    }
}
