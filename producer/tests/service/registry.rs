//! The registry changes while the service runs.

use std::time::Duration;

use schemas::wire::{PartyKind, PartyState, RegistryEntry};
use serde_json::Value;

use crate::refused_entries::refused_entries;
use crate::stand::{Service, Stand, request, roots, soon};

/// Looks at what cannot be awaited.
const LOOK: Duration = Duration::from_millis(20);
const REGION: &str = "310000";

/// The state of a bank that people can choose, if they can.
async fn offered(service: &Service, bank: &str) -> Option<String> {
    let answer = service.get(&format!("/v1/banks?region={REGION}")).await.json();
    let banks: &Vec<Value> = answer["banks"].as_array().expect("banks");
    let found = banks.iter().find(|offered| offered["id"] == bank)?;
    Some(found["state"].as_str().expect("a state").to_owned())
}

async fn until_offered(service: &Service, bank: &str, state: &str) {
    soon(state, async {
        while offered(service, bank).await.as_deref() != Some(state) {
            tokio::time::sleep(LOOK).await;
        }
    })
    .await;
}

fn version(version: u64, state: PartyState, entry: &RegistryEntry) -> RegistryEntry {
    RegistryEntry { version, state: state.into(), ..entry.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bank_that_joins_is_offered_and_one_that_is_suspended_or_leaves_cannot_be_asked() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    assert_eq!(offered(&service, "omega").await, None);
    let omega = Stand::entry(PartyKind::Bank, "omega", PartyState::Active, REGION);
    stand.publish(&omega).await;
    until_offered(&service, "omega", "ACTIVE").await;
    assert_eq!(service.submit(&request(&["alpha", "omega"])).await.status, 202);

    for (number, state, name) in [(2, PartyState::Suspended, "SUSPENDED"), (4, PartyState::Left, "LEFT")] {
        stand.publish(&version(number, state, &omega)).await;
        until_offered(&service, "omega", name).await;
        assert_eq!(service.submit(&request(&["alpha", "omega"])).await.code(), "BANK_NOT_ACTIVE");
        stand.publish(&version(number + 1, PartyState::Active, &omega)).await;
        until_offered(&service, "omega", "ACTIVE").await;
        assert_eq!(service.submit(&request(&["alpha", "omega"])).await.status, 202);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_is_forged_old_or_used_again_changes_nothing() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let first = Stand::entry(PartyKind::Bank, "beta", PartyState::Active, REGION);
    let current = version(2, PartyState::Active, &first);
    stand.publish(&current).await;
    let suspend = |entry: &mut RegistryEntry| entry.state = PartyState::Suspended.into();
    for (_, record) in refused_entries(&current, suspend, &roots()) {
        stand.publish_record(&current, record).await;
    }
    // Whoever has read this has read everything before it.
    stand.register(PartyKind::Bank, "omega", PartyState::Active, REGION).await;
    until_offered(&service, "omega", "ACTIVE").await;
    assert_eq!(offered(&service, "beta").await.as_deref(), Some("ACTIVE"));
    assert_eq!(service.submit(&request(&["beta"])).await.status, 202);

    stand.publish(&version(3, PartyState::Suspended, &first)).await;
    until_offered(&service, "beta", "SUSPENDED").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_suspended_or_has_left_submits_nothing_until_it_is_back() {
    let stand = Stand::new().await;
    let service = stand.start().await;
    let wallet = Stand::entry(PartyKind::Upstream, "wallet", PartyState::Active, REGION);
    for (number, state) in [(2, PartyState::Suspended), (4, PartyState::Left)] {
        stand.publish(&version(number, state, &wallet)).await;
        let marker = format!("m{number}");
        stand.register(PartyKind::Bank, &marker, PartyState::Active, REGION).await;
        until_offered(&service, &marker, "ACTIVE").await;
        assert_eq!(service.submit(&request(&["alpha"])).await.code(), "UPSTREAM_NOT_ACTIVE");
        stand.publish(&version(number + 1, PartyState::Active, &wallet)).await;
        // A refusal for the state makes it read the registry to its end.
        assert_eq!(service.submit(&request(&["alpha"])).await.status, 202);
    }
}
