//! Rules of the intake. Pure: no clock, no network; time is an argument.

pub(crate) mod banks;
pub(crate) mod gates;
pub(crate) mod identity;
pub(crate) mod progress;
pub(crate) mod record;
pub(crate) mod repeat;
pub(crate) mod request;
