//! The rules. Pure: no clock, no network, no database; time is an argument.

pub mod asking;
pub mod assembly;
pub mod audit;
pub mod cohort;
pub mod figures;
pub mod hold;
pub mod policy;
pub mod query;
pub mod rate;
pub mod read_past;
pub mod refusals;
pub mod risk;
pub mod subject;
pub mod tail;
pub mod view;
pub mod window;
