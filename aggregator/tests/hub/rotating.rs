//! A bank's keys change while its replies are on their way.

use std::time::Duration;

use schemas::codes::Code;
use schemas::keys::SigningKey;
use schemas::reply::Unsigned;
use schemas::time::UnixMillis;
use schemas::wire::{KeyUse, RegistryEntry};

use crate::parties::{Query, now, roots, signed, signing_key};
use crate::refused_entries::refused_entries;
use crate::stand::{DAY, Hub, Sent, Stand, broker, party_key};

/// An answer of alpha's, signed with `key` a moment before it is appended.
async fn reply(stand: &Stand, query: &Query, key: &SigningKey, at: Option<UnixMillis>) -> Sent {
    let at = at.unwrap_or_else(now);
    let signed_at = at.before(Duration::from_millis(10));
    let record =
        signed(Unsigned::new(&query.header("alpha"), query.answer("alpha")), "alpha", key, signed_at);
    stand.reply_raw(query, "alpha", record, Some(at)).await
}

/// Submits queries to alpha, which has been asked when this returns.
async fn asked<const N: usize>(stand: &Stand) -> [Query; N] {
    let queries = std::array::from_fn(|_| Query::of(&["alpha"]));
    for query in &queries {
        stand.submit(query).await;
        stand.until_asked(query, "alpha", 1).await;
    }
    queries
}

/// Returns when the hub has read the registry to its end: a key that it does not know makes it do so.
async fn registry_read(stand: &Stand) {
    let [query] = asked(stand).await;
    let sent = reply(stand, &query, &signing_key("nobody"), None).await;
    assert_eq!(stand.until_buried(&sent).await, Code::KEY_UNKNOWN.as_str());
}

async fn is_answered(hub: &Hub, query: &Query) {
    hub.until_state(query, "FINAL_ALL_ANSWERED").await;
    assert!(query.open(&hub.report(query).await).complete);
}

fn with_key(key: &SigningKey) -> impl Fn(&mut RegistryEntry) {
    let key = party_key(KeyUse::Sign, key.public().to_wire());
    move |entry| entry.keys.push(key.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_signed_with_the_old_and_the_new_key_count_until_the_old_one_is_revoked() {
    let cluster = broker();
    let stand = Stand::new(&cluster, DAY).await;
    let hub = stand.start().await;
    let mut newest = signing_key("alpha");
    // Three times, and every time with replies under way.
    for round in 1..=3 {
        let old = newest;
        newest = signing_key(&format!("alpha {round}"));
        let [with_old, with_new, in_time, revoked] = asked(&stand).await;
        stand.publish(&stand.next_entry("alpha", with_key(&newest)), Some(&old)).await;
        reply(&stand, &with_new, &newest, None).await;
        is_answered(&hub, &with_new).await;
        reply(&stand, &with_old, &old, None).await;
        is_answered(&hub, &with_old).await;

        let revoke = stand.next_entry("alpha", |entry| {
            let key = entry.keys.iter_mut().find(|key| key.key == Some(old.public().to_wire()));
            key.expect("its key").revoked = true;
        });
        let revocation = stand.publish(&revoke, None).await;
        registry_read(&stand).await;
        reply(&stand, &in_time, &old, Some(UnixMillis(revocation.at.0 - 1))).await;
        is_answered(&hub, &in_time).await;
        let late = reply(&stand, &revoked, &old, Some(revocation.at)).await;
        assert_eq!(stand.until_buried(&late).await, Code::KEY_REVOKED.as_str());
        reply(&stand, &revoked, &newest, None).await;
        is_answered(&hub, &revoked).await;
    }
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_an_entry_that_is_forged_old_or_used_again_signs_for_nobody() {
    let cluster = broker();
    let stand = Stand::new(&cluster, DAY).await;
    let hub = stand.start().await;
    let (old, fresh) = (signing_key("alpha"), signing_key("alpha 1"));
    // An old version needs one before the one in force.
    let current = stand.next_entry("alpha", |_| ());
    stand.publish(&current, None).await;
    for (_, record) in refused_entries(&current, with_key(&fresh), &roots()) {
        stand.send(&stand.topics.registry(), "bank/alpha", record, None, None).await;
    }
    let [query] = asked(&stand).await;
    let forged = reply(&stand, &query, &fresh, None).await;
    assert_eq!(stand.until_buried(&forged).await, Code::KEY_UNKNOWN.as_str());

    stand.publish(&stand.next_entry("alpha", with_key(&fresh)), Some(&old)).await;
    reply(&stand, &query, &fresh, None).await;
    is_answered(&hub, &query).await;
    hub.stop().await;
}
