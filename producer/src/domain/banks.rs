//! The banks that a person can choose from.

use schemas::ids::BankId;
use schemas::registry::Registry;
use schemas::wire::{PartyState, Text};
use serde::Serialize;
use utoipa::ToSchema;

/// A bank as its newest registry entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Bank {
    /// Its id.
    #[schema(value_type = String)]
    pub id: BankId,
    /// What people call it.
    pub names: Names,
    /// `ACTIVE`, `SUSPENDED` or `LEFT`.
    pub state: &'static str,
    /// Administrative division codes in which it takes part.
    pub regions: Vec<String>,
}

/// A name in each language.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Names {
    /// Chinese.
    #[serde(rename = "zh-CN")]
    pub zh_cn: String,
    /// English.
    pub en: String,
}

/// All banks, or those that take part in `region`, in ascending order of id.
pub(crate) fn list(registry: &Registry, region: Option<&str>) -> Vec<Bank> {
    registry
        .banks()
        .filter(|(_, party)| region.is_none_or(|region| party.regions.iter().any(|served| served == region)))
        .map(|(id, party)| {
            let name = party.texts.as_ref().and_then(|texts| texts.name.clone());
            let names = name.map_or_else(Names::default, |Text { zh_cn, en }| Names { zh_cn, en });
            Bank { id, names, state: state_name(party.state), regions: party.regions.clone() }
        })
        .collect()
}

fn state_name(state: PartyState) -> &'static str {
    let name = state.as_str_name();
    name.strip_prefix("PARTY_STATE_").unwrap_or(name)
}
