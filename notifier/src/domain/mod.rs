//! Pure rules: no clock, no network, no store.

pub mod evidence;
pub mod ledger;
pub mod phone;
pub mod phone_limit;
pub mod quiet;
pub mod sms;
pub mod text;
