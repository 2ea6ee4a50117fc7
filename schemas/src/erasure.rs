//! The receipt of an erased day: what the hub says that it destroyed, for whoever asks years later.

use crate::codes::Code;
use crate::ids::Digest;
use crate::keys::SigningKey;
use crate::registry::Party;
use crate::sign::{self, Tag};
use crate::time::UnixMillis;
use crate::wire;

/// What was destroyed at the end of one day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The day of erasure, ISO 8601.
    pub day: String,
    /// Tables whose rows of that day are gone.
    pub tables: Vec<String>,
    /// Names the key that wrapped those rows.
    pub key_id: Digest,
    /// Queries whose content this was.
    pub queries: u64,
    /// From when on nothing was written into that day or shown of it.
    pub closed_at: UnixMillis,
    /// When the rows were gone.
    pub dropped_at: UnixMillis,
    /// When the key was destroyed.
    pub key_destroyed_at: UnixMillis,
    /// When this was signed; the hub's key must count at that time.
    pub signed_at: UnixMillis,
}

/// Signs a receipt with the hub's key.
pub fn sign(receipt: &Receipt, key: &SigningKey) -> wire::Signed {
    let body = wire::ErasureReceipt {
        day: receipt.day.clone(),
        tables: receipt.tables.clone(),
        key_id: receipt.key_id.to_wire(),
        queries: receipt.queries,
        closed_at_ms: receipt.closed_at.0,
        dropped_at_ms: receipt.dropped_at.0,
        key_destroyed_at_ms: receipt.key_destroyed_at.0,
        signed_at_ms: receipt.signed_at.0,
    };
    sign::sign(Tag::ErasureReceipt, &body, key)
}

/// Verifies a receipt with the registry's entry of the hub.
///
/// # Errors
/// `MESSAGE_MALFORMED`, a `KEY_…` code, `SIGNATURE_INVALID`; `STATEMENT_MISMATCH` when its steps are not in order: a key
/// that is destroyed before its rows are gone, or a receipt from before both.
pub fn open(signed: &wire::Signed, hub: &Party) -> Result<Receipt, Code> {
    use prost::Message as _;
    let unverified =
        wire::ErasureReceipt::decode(signed.body.clone()).map_err(|_| Code::MESSAGE_MALFORMED)?;
    let signed_at = UnixMillis(unverified.signed_at_ms);
    let body: wire::ErasureReceipt =
        sign::open(Tag::ErasureReceipt, signed, |id| hub.verifying_key(id, signed_at))?;
    let steps = [body.closed_at_ms, body.dropped_at_ms, body.key_destroyed_at_ms, body.signed_at_ms];
    if !steps.is_sorted() {
        return Err(Code::STATEMENT_MISMATCH);
    }
    Ok(Receipt {
        day: body.day,
        tables: body.tables,
        key_id: Digest::from_bytes(&body.key_id)?,
        queries: body.queries,
        closed_at: UnixMillis(body.closed_at_ms),
        dropped_at: UnixMillis(body.dropped_at_ms),
        key_destroyed_at: UnixMillis(body.key_destroyed_at_ms),
        signed_at,
    })
}
