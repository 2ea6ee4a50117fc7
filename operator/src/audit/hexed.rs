//! Bytes as lower-case hex digits in a document. Other spellings are refused: one value, one text.

use serde::{Deserialize, Deserializer, Serializer, de::Error};

pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let bytes = hex::decode(&text).map_err(D::Error::custom)?;
    if hex::encode(&bytes) == text {
        Ok(bytes)
    } else {
        Err(D::Error::custom("not in lower-case hex digits"))
    }
}
