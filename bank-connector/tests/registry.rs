//! The registry changes while the connector runs.

#[path = "../../schemas/tests/refused_entries/mod.rs"]
mod refused_entries;
mod support;

use std::time::Duration;

use bank_connector::metric_names::{IGNORED, REFUSED};
use prost::Message;
use schemas::keys::SigningKey;
use schemas::request;
use schemas::sign::{Tag, sign};
use schemas::submission::BankShare;
use schemas::time::UnixMillis;
use schemas::wire::{self, PartyKind, PartyState, RegistryEntry, ReplyOutcome};

use refused_entries::refused_entries;
use support::{Core, Query, Stand, entry, hub, roots, signing, wallet};

/// The query with the statement signed by `key`.
fn signed_by(query: &Query, key: &SigningKey) -> wire::RequestRecord {
    let statement = wire::BankStatement::decode(query.share.statement.body.clone()).expect("a statement");
    let statement = sign(Tag::BankStatement, &statement, key);
    query.forged(&BankShare { statement, ..query.share.clone() })
}

/// Returns when the connector has read the registry to its end: a key that it does not know makes it do so.
async fn registry_read(stand: &mut Stand) {
    let query = Query::new(&stand.bank);
    // Long before anything that a test does to its upstream.
    let query = Query { accepted_at: query.accepted_at.before(Duration::from_secs(20)), ..query };
    stand.send(&query, signed_by(&query, &signing(99))).await;
    assert_eq!(stand.next_reply().await.outcome, ReplyOutcome::RetryLater);
}

fn accepted_now(stand: &Stand) -> Query {
    Query { accepted_at: bank_connector::system_clock()(), ..Query::new(&stand.bank) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_an_entry_that_is_forged_old_or_used_again_opens_nothing_and_a_rotated_one_does() {
    let core = Core::new();
    let mut stand = Stand::running("registrya", core.clone()).await;
    let (old, fresh) = (wallet(), signing(21));
    let current = entry(PartyKind::Upstream, "wallet", 2, &[&old]);
    stand.register(&current).await;
    let add = |changed: &mut RegistryEntry| {
        changed.keys = entry(PartyKind::Upstream, "wallet", 1, &[&old, &fresh]).keys;
    };
    for (_, record) in refused_entries(&current, add, &roots()) {
        stand.enter(&current, record).await;
    }
    let query = Query::new(&stand.bank);
    stand.send(&query, signed_by(&query, &fresh)).await;
    assert_eq!(stand.next_reply().await.outcome, ReplyOutcome::RetryLater);
    assert_eq!(core.calls(), 0);

    stand.rotate(&entry(PartyKind::Upstream, "wallet", 3, &[&old, &fresh]), Some(&old)).await;
    stand.send(&query, signed_by(&query, &fresh)).await;
    assert_eq!(stand.next_reply().await.outcome, ReplyOutcome::Answered);
    assert_eq!(stand.ask(&Query::new(&stand.bank), 1).await.outcome, ReplyOutcome::Answered);
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_of_the_hub_is_nobodys_word_and_its_replacement_is() {
    let core = Core::new();
    let mut stand = Stand::running("registryb", core.clone()).await;
    let (old, fresh) = (hub(), signing(11));
    let mut revoked = entry(PartyKind::Hub, "hub", 2, &[&old, &fresh]);
    revoked.keys[0].revoked = true;
    stand.rotate(&revoked, Some(&old)).await;
    let query = Query::new(&stand.bank);
    stand.send(&query, request::ask(&query.header(1), &query.share, &fresh)).await;
    assert_eq!(stand.next_reply().await.outcome, ReplyOutcome::Answered);
    stand.send(&query, query.request(2)).await;
    stand.settled().await;
    assert_eq!(stand.counted(IGNORED, "KEY_REVOKED"), 1);
    stand.no_reply_is_left();
    assert_eq!(core.calls(), 1);
    stand.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_before_its_upstream_was_suspended_is_answered_and_nothing_after_it() {
    let core = Core::new();
    let mut stand = Stand::running("registryc", core.clone()).await;
    let before = accepted_now(&stand);
    let state = |version, state: PartyState| RegistryEntry {
        state: state.into(),
        ..entry(PartyKind::Upstream, "wallet", version, &[&wallet()])
    };
    for (version, out) in [(2, PartyState::Suspended), (4, PartyState::Left)] {
        let refused_before = stand.counted(REFUSED, "UPSTREAM_NOT_ACTIVE");
        // The broker in this process takes the writer's time: one millisecond lies between the two.
        let before = Query { accepted_at: UnixMillis(before.accepted_at.0 - 1), ..Query::new(&stand.bank) };
        stand.register(&state(version, out)).await;
        let after = accepted_now(&stand);
        registry_read(&mut stand).await;
        assert_eq!(stand.ask(&before, 1).await.outcome, ReplyOutcome::Answered, "{out:?}");
        let looked_up = core.calls();
        assert_eq!(stand.ask(&after, 1).await.outcome, ReplyOutcome::Refused, "{out:?}");
        assert_eq!(core.calls(), looked_up);
        assert_eq!(stand.counted(REFUSED, "UPSTREAM_NOT_ACTIVE"), refused_before + 1);

        // A refusal for the state makes it read the registry to its end.
        stand.register(&state(version + 1, PartyState::Active)).await;
        assert_eq!(stand.ask(&accepted_now(&stand), 1).await.outcome, ReplyOutcome::Answered, "{out:?}");
    }
    stand.stop().await;
}
