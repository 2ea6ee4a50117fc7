//! What a bank says about a person. Pure: no clock, no network, no database.

pub mod answer;
pub mod cancelled;
pub mod card;
pub mod circuit;
pub mod dormancy;
pub mod eligibility;
pub mod found;
pub mod identity;
pub mod month;
pub mod pan;
