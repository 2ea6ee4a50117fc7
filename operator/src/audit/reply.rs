//! Pure: whether what a leaf holds of a bank's reply is that bank's word, and the one that counted.

use schemas::audit::leaf::Chosen;
use schemas::audit::proof::{Proof, Proven};
use schemas::ids::{BankId, Reference};
use schemas::registry::Party;

/// Checks a bank's proof against the bank's registry entry and the reply that counted in the report.
///
/// # Errors
/// What is wrong, in words.
pub(super) fn check(
    reference: &Reference,
    bank: &BankId,
    party: &Party,
    proof: &Proof,
    chosen: &Chosen,
) -> Result<Proven, String> {
    let proven =
        proof.open(reference, bank, party, chosen.appended_at).map_err(|reason| reason.to_string())?;
    if proven.word != chosen.word {
        return Err("the report says another word than the bank signed".to_owned());
    }
    Ok(proven)
}
