//! What is in force now. Configuration that may change while the service runs.

use schemas::rules;

use super::asking::AskingLimits;
use super::cohort::Cohorts;
use super::hold::HoldTimes;
use super::risk::RiskTable;

/// What decides whether a query is taken, held or refused.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The gates that producer and hub ask alike.
    pub gates: rules::Policy,
    /// Who may ask in regions that open step by step.
    pub cohorts: Cohorts,
    /// Which signals hold a query.
    pub risk: RiskTable,
    /// For how long.
    pub hold: HoldTimes,
    /// How often a person may ask.
    pub asking: AskingLimits,
}
