use notifier::dispatch::Found;
use notifier::domain::ledger::Entry;
use notifier::domain::sms;
use prost::Message as _;
use schemas::codes::Code;
use schemas::ids::Reference;
use schemas::keys::{OpeningKey, SigningKey};
use schemas::notice::{Header, notify};
use schemas::registry::sign_entry;
use schemas::submission::Contact;
use schemas::time::UnixMillis;
use schemas::wire::{self, PartyKind, PartyState};

use crate::refused_entries::refused_entries;
use crate::stand::{Forge, Seen, Stand, Telling, seal_key, sign_key};

fn claimed(reference: &Reference) -> Seen {
    Seen::Sms(reference.clone(), "SmsClaimed", String::new())
}

fn accepted(reference: &Reference) -> Seen {
    Seen::Sms(reference.clone(), "SmsAccepted", "g-1".into())
}

fn ended(reference: &Reference, name: &'static str, code: Code) -> Seen {
    Seen::Sms(reference.clone(), name, code.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_that_comes_three_times_is_one_sms_and_its_claim_stands_before_the_call() {
    let mut stand = Stand::new().await;
    let gateway = Telling::new(&stand);
    let service = stand.start(&gateway).await;
    let (forge, last) = (Forge::new(&stand), Forge::new(&stand));
    let notice = forge.notice(&stand);
    for _ in 0..3 {
        stand.publish(forge.reference(), &notice).await;
    }
    assert_eq!(stand.next().await, claimed(forge.reference()));
    assert_eq!(stand.next().await, accepted(forge.reference()));
    stand.publish(forge.reference(), &notice).await;
    stand.publish(last.reference(), &last.notice(&stand)).await;
    assert_eq!(stand.next().await, claimed(last.reference()));
    assert_eq!(stand.next().await, accepted(last.reference()));
    service.stop().await;

    // A second life reads all notices again, and knows them all.
    let service = stand.start(&gateway).await;
    assert_eq!(service.running.found, Found { ended: 2, unfinished: 0 });
    let after = Forge::new(&stand);
    stand.publish(after.reference(), &after.notice(&stand)).await;
    assert_eq!(stand.next().await, claimed(after.reference()));
    assert_eq!(stand.next().await, accepted(after.reference()));
    service.stop().await;
    assert_eq!(stand.rest(), []);

    let calls = gateway.calls();
    assert_eq!(calls.len(), 3);
    for (call, forge) in calls.iter().zip([&forge, &last, &after]) {
        assert_eq!(call.out_id, sms::out_id(forge.reference()));
        assert_eq!(call.phone, "+8613800000001");
        assert!(call.text.contains("12 of 14 banks"), "{}", call.text);
        assert!(call.topic.contains(&claimed(forge.reference())), "{:?}", call.topic);
        assert!(!call.topic.contains(&accepted(forge.reference())), "{:?}", call.topic);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_without_an_outcome_is_unknown_at_start_and_its_notice_sends_nothing() {
    let mut stand = Stand::new().await;
    let (forge, twin) = (Forge::new(&stand), Forge::new(&stand));
    stand.wrote_before(&Entry::Claimed.record(forge.reference(), 1, UnixMillis(1))).await;
    assert_eq!(stand.next().await, claimed(forge.reference()));
    stand.publish(forge.reference(), &forge.notice(&stand)).await;
    let gateway = Telling::new(&stand);
    let service = stand.start(&gateway).await;
    assert_eq!(service.running.found, Found { ended: 1, unfinished: 1 });
    // Written before the start is over, so before any notice is read.
    assert_eq!(stand.next().await, ended(forge.reference(), "SmsUnknown", Code::GATEWAY_OUTCOME_UNKNOWN));
    stand.publish(forge.reference(), &forge.notice(&stand)).await;
    stand.publish(twin.reference(), &twin.notice(&stand)).await;
    assert_eq!(stand.next().await, claimed(twin.reference()));
    assert_eq!(stand.next().await, accepted(twin.reference()));
    service.stop().await;
    assert_eq!(stand.rest(), []);
    let calls: Vec<_> = gateway.calls().iter().map(|call| call.out_id).collect();
    assert_eq!(calls, [sms::out_id(twin.reference())]);
}

/// Whoever runs the hub may re-seal what it likes, properly; the upstream's word does not cover it.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_notice_is_a_dead_letter_and_its_untouched_twin_is_sent() {
    let mut stand = Stand::new().await;
    let gateway = Telling::new(&stand);
    let service = stand.start(&gateway).await;
    let stranger = SigningKey::from_seed(&[99; 32]);
    let forge = Forge::new(&stand);
    let sealed = forge.seal();
    let statement = forge.state(&sealed, &stand.wallet);
    let other_phone = Forge { phone: "+8613900000009".into(), ..Forge::new(&stand) };
    let other_seal =
        Forge { header: forge.header.clone(), statement: forge.statement.clone(), ..other_phone }.seal();

    let notice = |statement: wire::Signed, sealed_contact: &bytes::Bytes, hub: &SigningKey| {
        notify(&forge.header, &Contact { statement, sealed_contact: sealed_contact.clone() }, hub)
    };
    let mut broken_header = notice(statement.clone(), &sealed, &stand.hub);
    if let Some(wire::notice_record::Message::ReportReady(notice)) = &mut broken_header.message {
        let header = notice.header.as_mut().expect("a header");
        let mut signature = header.signature.to_vec();
        signature[0] ^= 1;
        header.signature = signature.into();
    }
    let mut broken_statement = statement.clone();
    broken_statement.signature = statement.signature.iter().map(|byte| byte ^ 1).collect::<Vec<_>>().into();
    let resealed_statement = forge.state(&other_seal, &stranger);
    let unfinished = notify(
        &Header { state: wire::QueryState::Collecting, ..forge.header.clone() },
        &Contact { statement: statement.clone(), sealed_contact: sealed.clone() },
        &stand.hub,
    );

    for (forged, code) in [
        (broken_header, Code::SIGNATURE_INVALID),
        (notice(broken_statement, &sealed, &stand.hub), Code::SIGNATURE_INVALID),
        (notice(statement.clone(), &other_seal, &stand.hub), Code::DIGEST_MISMATCH),
        (notice(resealed_statement, &other_seal, &stand.hub), Code::KEY_UNKNOWN),
        (notice(statement.clone(), &sealed, &stranger), Code::KEY_UNKNOWN),
        (unfinished, Code::MESSAGE_MALFORMED),
        (wire::NoticeRecord { message: None }, Code::MESSAGE_MALFORMED),
    ] {
        stand.publish(forge.reference(), &forged).await;
        let expected = Seen::Dead(forge.reference().query.to_string(), code.to_string());
        assert_eq!(stand.next().await, expected);
    }
    stand.publish(forge.reference(), &notice(statement, &sealed, &stand.hub)).await;
    assert_eq!(stand.next().await, claimed(forge.reference()));
    assert_eq!(stand.next().await, accepted(forge.reference()));
    service.stop().await;
    assert_eq!(stand.rest(), []);
    let phones: Vec<_> = gateway.calls().into_iter().map(|call| call.phone).collect();
    assert_eq!(phones, ["+8613800000001"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contact_that_does_not_open_or_is_no_number_ends_as_failed_without_a_call() {
    let mut stand = Stand::new().await;
    let gateway = Telling::new(&stand);
    let service = stand.start(&gateway).await;
    let sealed_to_another = Forge { sealed_to: OpeningKey::derive(&[98; 32]), ..Forge::new(&stand) };
    let no_number = Forge { phone: "13800000001".into(), ..Forge::new(&stand) };
    for forge in [sealed_to_another, no_number] {
        stand.publish(forge.reference(), &forge.notice(&stand)).await;
        assert_eq!(stand.next().await, claimed(forge.reference()));
        assert_eq!(stand.next().await, ended(forge.reference(), "SmsFailed", Code::CONTACT_UNREADABLE));
    }
    service.stop().await;
    assert!(gateway.calls().is_empty());
}

/// A key of ours that is not here may still come; one that was never ours, or is revoked, will not.
#[tokio::test(flavor = "multi_thread")]
async fn a_notice_sealed_to_a_key_of_ours_waits_for_it_and_another_key_fails_at_once() {
    let mut stand = Stand::new().await;
    let gateway = Telling::new(&stand);
    let (ours, revoked) = (OpeningKey::derive(&[96; 32]), OpeningKey::derive(&[97; 32]));
    let keys = vec![seal_key(&stand.notifier, false), seal_key(&ours, false), seal_key(&revoked, true)];
    stand.register(PartyKind::Notifier, "notifier", 1, keys).await;
    let service = stand.start(&gateway).await;
    let waits = Forge { sealed_to: ours.clone(), ..Forge::new(&stand) };
    stand.publish(waits.reference(), &waits.notice(&stand)).await;
    for never in [revoked, OpeningKey::derive(&[98; 32])] {
        let fails = Forge { sealed_to: never, ..Forge::new(&stand) };
        stand.publish(fails.reference(), &fails.notice(&stand)).await;
        assert_eq!(stand.next().await, claimed(fails.reference()));
        assert_eq!(stand.next().await, ended(fails.reference(), "SmsFailed", Code::CONTACT_UNREADABLE));
    }
    let other = Forge::new(&stand);
    stand.publish(other.reference(), &other.notice(&stand)).await;
    assert_eq!(stand.next().await, claimed(other.reference()));
    assert_eq!(stand.next().await, accepted(other.reference()));
    service.stop().await;
    assert_eq!(stand.rest(), [], "nothing was claimed for the one that waits");

    let service = stand.start_with(&gateway, &[stand.notifier.clone(), ours]).await;
    assert_eq!(stand.next().await, claimed(waits.reference()));
    assert_eq!(stand.next().await, accepted(waits.reference()));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_registered_a_moment_ago_is_known() {
    let mut stand = Stand::new().await;
    let gateway = Telling::new(&stand);
    let service = stand.start(&gateway).await;
    let newcomer = SigningKey::from_seed(&[50; 32]);
    for _ in 0..20 {
        let mut forge = Forge::new(&stand);
        let id = format!("up{}", &forge.reference().query.to_string()[24..]);
        forge.header.reference.upstream = id.parse().expect("an id");
        forge.statement.reference = Some(forge.reference().into());
        let sealed_contact = forge.seal();
        let statement = forge.state(&sealed_contact, &newcomer);
        let notice = notify(&forge.header, &Contact { statement, sealed_contact }, &stand.hub);
        stand.register(PartyKind::Upstream, &id, 1, vec![sign_key(&newcomer)]).await;
        stand.publish(forge.reference(), &notice).await;
        assert_eq!(stand.next().await, claimed(forge.reference()));
        assert_eq!(stand.next().await, accepted(forge.reference()));
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_an_entry_that_is_forged_old_or_used_again_sends_nothing_and_a_rotated_one_does() {
    let mut stand = Stand::new().await;
    let gateway = Telling::new(&stand);
    let service = stand.start(&gateway).await;
    let fresh = SigningKey::from_seed(&[77; 32]);
    let current = wire::RegistryEntry {
        kind: PartyKind::Upstream.into(),
        id: "wallet".into(),
        version: 2,
        state: PartyState::Active.into(),
        keys: vec![sign_key(&stand.wallet)],
        ..Default::default()
    };
    stand.enter(&current, sign_entry(&current, &stand.roots, None).encode_to_vec()).await;
    let add = |entry: &mut wire::RegistryEntry| entry.keys.push(sign_key(&fresh));
    for (_, record) in refused_entries(&current, add, &stand.roots) {
        stand.enter(&current, record).await;
    }
    let forge = Forge::new(&stand);
    let sealed_contact = forge.seal();
    let contact = Contact { statement: forge.state(&sealed_contact, &fresh), sealed_contact };
    let notice = notify(&forge.header, &contact, &stand.hub);
    stand.publish(forge.reference(), &notice).await;
    let refused = Seen::Dead(forge.reference().query.to_string(), Code::KEY_UNKNOWN.to_string());
    assert_eq!(stand.next().await, refused);

    let mut next = wire::RegistryEntry { version: 3, ..current };
    add(&mut next);
    let rotated = sign_entry(&next, &stand.roots, Some(&stand.wallet)).encode_to_vec();
    stand.enter(&next, rotated).await;
    stand.publish(forge.reference(), &notice).await;
    assert_eq!(stand.next().await, claimed(forge.reference()));
    assert_eq!(stand.next().await, accepted(forge.reference()));
    // The old key goes on counting.
    let old = Forge::new(&stand);
    stand.publish(old.reference(), &old.notice(&stand)).await;
    assert_eq!(stand.next().await, claimed(old.reference()));
    assert_eq!(stand.next().await, accepted(old.reference()));
    service.stop().await;
}
