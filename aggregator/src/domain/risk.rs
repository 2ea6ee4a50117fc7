//! What the signals around a person decide: whether a query goes on, goes on with a warning, or is held.
//!
//! Every signal that is present, and the answer to "did anyone ask you to do this?", has a decision of its own. The
//! strictest one counts; and two warnings together decide what the table says of two warnings.

use std::collections::BTreeMap;

use schemas::wire::{Pretext, RiskSignals};
use serde::Deserialize;

/// What becomes of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Decision {
    /// It goes on.
    Allow,
    /// It goes on; the warning is audited and counted.
    Warn,
    /// It is held: no bank is asked.
    Hold,
}

impl Decision {
    /// The word in settings, leaves and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Warn => "WARN",
            Self::Hold => "HOLD",
        }
    }
}

/// The decision of each signal that is present.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signals {
    /// The screen is shared with somebody.
    pub screen_shared: Decision,
    /// The person is on a call.
    pub on_call: Decision,
    /// Somebody controls the device from afar.
    pub remote_control: Decision,
    /// The device is new to the wallet.
    pub new_device: Decision,
}

/// The table. Configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RiskTable {
    /// By the answer to "did anyone ask you to do this?".
    pub pretexts: BTreeMap<Pretext, Decision>,
    /// By signal.
    pub signals: Signals,
    /// When two or more of these say WARN.
    pub two_warnings: Decision,
}

impl RiskTable {
    /// What `seen` decides. An answer that the table does not know holds: it is one of a later version.
    pub fn decide(&self, seen: &RiskSignals) -> Decision {
        let answer = Pretext::try_from(seen.pretext).ok().and_then(|pretext| self.pretexts.get(&pretext));
        let present = [
            (seen.screen_shared, self.signals.screen_shared),
            (seen.on_call, self.signals.on_call),
            (seen.remote_control, self.signals.remote_control),
            (seen.new_device, self.signals.new_device),
        ];
        let present = present.into_iter().filter(|(is_present, _)| *is_present).map(|(_, decision)| decision);
        let mut decisions: Vec<Decision> = present.chain([*answer.unwrap_or(&Decision::Hold)]).collect();
        if decisions.iter().filter(|decision| **decision == Decision::Warn).count() >= 2 {
            decisions.push(self.two_warnings);
        }
        decisions.into_iter().max().unwrap_or(Decision::Hold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const PRETEXTS: [Pretext; 10] = [
        Pretext::Investment,
        Pretext::LoanApproval,
        Pretext::ParcelClaim,
        Pretext::MembershipCancellation,
        Pretext::FakeOrders,
        Pretext::CreditLimitRaise,
        Pretext::StudentAccountChange,
        Pretext::AccountClosure,
        Pretext::SecurityVerification,
        Pretext::EducationCreditReturn,
    ];

    /// Sharing, call, control, new device; then what is decided when nobody asked, when the question was not answered,
    /// and for each of the ten pretexts.
    const TABLE: [([bool; 4], [Decision; 3]); 16] = {
        use Decision::{Allow as A, Hold as H, Warn as W};
        const Y: bool = true;
        const N: bool = false;
        [
            ([N, N, N, N], [A, W, H]),
            ([N, N, N, Y], [W, H, H]),
            ([N, N, Y, N], [H, H, H]),
            ([N, N, Y, Y], [H, H, H]),
            ([N, Y, N, N], [W, H, H]),
            ([N, Y, N, Y], [H, H, H]),
            ([N, Y, Y, N], [H, H, H]),
            ([N, Y, Y, Y], [H, H, H]),
            ([Y, N, N, N], [H, H, H]),
            ([Y, N, N, Y], [H, H, H]),
            ([Y, N, Y, N], [H, H, H]),
            ([Y, N, Y, Y], [H, H, H]),
            ([Y, Y, N, N], [H, H, H]),
            ([Y, Y, N, Y], [H, H, H]),
            ([Y, Y, Y, N], [H, H, H]),
            ([Y, Y, Y, Y], [H, H, H]),
        ]
    };

    fn defaults() -> RiskTable {
        let config = Config::load(None).expect("the defaults are settings");
        config.policy.policy().expect("a policy").risk
    }

    fn seen([screen_shared, on_call, remote_control, new_device]: [bool; 4], pretext: i32) -> RiskSignals {
        RiskSignals { screen_shared, on_call, remote_control, new_device, pretext }
    }

    #[test]
    fn every_pretext_with_every_combination_of_signals_is_decided_as_the_table_says() {
        let table = defaults();
        for (signals, [nobody, unanswered, somebody]) in TABLE {
            let decide = |pretext: Pretext| table.decide(&seen(signals, pretext.into()));
            assert_eq!(decide(Pretext::None), nobody, "{signals:?}");
            assert_eq!(decide(Pretext::Unspecified), unanswered, "{signals:?}");
            for pretext in PRETEXTS {
                assert_eq!(decide(pretext), somebody, "{signals:?} {pretext:?}");
            }
        }
    }

    #[test]
    fn an_answer_of_a_later_version_holds() {
        assert_eq!(defaults().decide(&seen([false; 4], 12)), Decision::Hold);
        assert_eq!(defaults().decide(&seen([false; 4], -1)), Decision::Hold);
    }

    #[test]
    fn two_warnings_decide_what_the_table_says_of_them_and_never_less() {
        let mut table = defaults();
        let both = seen([false, true, false, true], Pretext::None.into());
        for (two_warnings, decided) in [
            (Decision::Hold, Decision::Hold),
            (Decision::Warn, Decision::Warn),
            (Decision::Allow, Decision::Warn),
        ] {
            table.two_warnings = two_warnings;
            assert_eq!(table.decide(&both), decided);
        }
    }
}
