//! The rules. Pure: no clock, no network, no database; time is an argument.

pub mod assembly;
pub mod audit;
pub mod query;
pub mod rate;
pub mod read_past;
pub mod refusals;
pub mod subject;
pub mod tail;
pub mod view;
pub mod window;
