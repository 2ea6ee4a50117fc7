//! Pure rules: no clock, no network, no store.

pub mod ledger;
pub mod phone;
pub mod sms;
pub mod text;
