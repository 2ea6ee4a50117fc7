use std::collections::{BTreeMap, BTreeSet};

use schemas::ids::{BankId, QueryId};
use schemas::keys::OpeningKey;
use schemas::registry::{self, HUB, NOTIFIER};
use schemas::submission::{MAX_BANK_PART, MAX_BANKS};
use schemas::wire::{DocumentType, Factor, FactorKind, KeyUse, PartyKind, PartyState, RiskSignals};

use super::*;
use crate::domain::identity::MAX_DOCUMENT_NUMBER;
use crate::texts::consent_texts;
use crate::wallet::{self, Choice, Person};

const AT: UnixMillis = UnixMillis(1_790_000_000_000);

fn register(registry: &mut Registry, kind: PartyKind, id: &str, r#use: KeyUse, key: wire::PublicKey) {
    let entry = wire::RegistryEntry {
        kind: kind.into(),
        id: id.to_owned(),
        version: 1,
        state: PartyState::Active.into(),
        keys: vec![wire::PartyKey { r#use: r#use.into(), key: Some(key), ..Default::default() }],
        regions: vec!["310000".to_owned()],
        bank_texts: None,
    };
    let roots = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]));
    let record = registry::sign_entry(&entry, &roots, None);
    let key = registry::record_key(&entry).expect("a party");
    registry.apply(key.as_bytes(), &record.encode_to_vec(), UnixMillis(0)).expect("applied");
}

#[test]
fn a_query_to_500_banks_with_the_longest_of_everything_fits_its_topic() {
    let roots = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]).public());
    let mut registry = Registry::new(roots.to_vec(), Default::default());
    let upstream = "u".repeat(16);
    let key = SigningKey::from_seed(&[3; 32]);
    register(&mut registry, PartyKind::Upstream, &upstream, KeyUse::Sign, key.public().to_wire());
    let seal = |seed: u16| OpeningKey::derive(&seed.to_be_bytes()).public().to_wire();
    register(&mut registry, PartyKind::Notifier, NOTIFIER, KeyUse::Seal, seal(999));
    register(&mut registry, PartyKind::Hub, HUB, KeyUse::Sign, key.public().to_wire());
    let names: Vec<String> = (0..MAX_BANKS).map(|n| format!("b{n:015}")).collect();
    for (n, name) in (0..).zip(&names) {
        register(&mut registry, PartyKind::Bank, name, KeyUse::Seal, seal(n));
    }
    let banks: BTreeSet<BankId> = names.iter().map(|name| name.parse().expect("an id")).collect();
    let person = Person {
        subject: "s".repeat(64),
        name: "王".repeat(133),
        document_type: DocumentType::ForeignPermanentResident,
        document_number: "9".repeat(MAX_DOCUMENT_NUMBER),
        phone: "+861380000000011".into(),
    };
    let all_risks = RiskSignals {
        screen_shared: true,
        on_call: true,
        remote_control: true,
        new_device: true,
        pretext: wire::Pretext::EducationCreditReturn.into(),
    };
    let choice = Choice { region: "310000".into(), banks, text: consent_texts()[0], risk: all_risks };
    assert!(FactorKind::try_from(6).is_err(), "another kind makes the longest list longer");
    for intent in [Intent::Ask, Intent::Release(Digest::of(b"held"))] {
        let mut request = wallet::prepare(&person, &choice, AT).expect("prepared").request;
        request.factors = (1..=5).map(|kind| Factor { kind, at_ms: AT.0 }).collect();
        assert!(request.factors.iter().all(|factor| factor.kind() != FactorKind::Unspecified));

        let reference = Reference { upstream: upstream.parse().expect("an id"), query: request.query };
        let record = submitted(request, intent, &reference, "topic", &registry, &key, AT).expect("it fits");
        assert!(record.value.len() < Family::Query.spec().max_message_bytes, "{}", record.value.len());
        let message = wire::QueryRecord::decode(record.value.as_slice()).expect("a record").message;
        let sealed = match (intent, message) {
            (Intent::Ask, Some(query_record::Message::Submitted(sealed))) => sealed,
            (Intent::Release(_), Some(query_record::Message::Released(released))) => {
                released.submission.expect("a submission")
            }
            (Intent::Ask | Intent::Release(_), other) => panic!("{other:?}"),
        };
        assert_eq!(sealed.banks.len(), MAX_BANKS);
        let largest = sealed.banks.iter().map(Message::encoded_len).max();
        assert!(largest.is_some_and(|size| size <= MAX_BANK_PART), "{largest:?}");
    }
}

#[test]
fn a_record_that_its_topic_would_refuse_is_not_written() {
    let reference = Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() };
    let of = |bytes: usize| {
        let part = wire::BankPart { statement: None, sealed_identity: vec![0; bytes].into() };
        let message = wire::QuerySubmitted { banks: vec![part], ..Default::default() };
        let (id, message) =
            (reference.message_id("QuerySubmitted"), query_record::Message::Submitted(message));
        record("QuerySubmitted", id, message, &reference, "topic", AT, None)
    };
    let limit = Family::Query.spec().max_message_bytes;
    assert!(of(limit - 1024).is_ok());
    assert_eq!(of(limit).err(), Some(Code::MESSAGE_TOO_LARGE));
}

#[test]
fn a_part_that_is_too_large_for_its_bank_is_not_sealed_away() {
    let roots = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]).public());
    let mut registry = Registry::new(roots.to_vec(), Default::default());
    let key = SigningKey::from_seed(&[3; 32]);
    let seal = OpeningKey::derive(b"key").public().to_wire();
    register(&mut registry, PartyKind::Notifier, NOTIFIER, KeyUse::Seal, seal.clone());
    register(&mut registry, PartyKind::Bank, "alpha", KeyUse::Seal, seal);
    let person = Person {
        subject: "s".into(),
        name: "王".into(),
        document_type: DocumentType::Passport,
        document_number: "E12345678".into(),
        phone: "+8613800000001".into(),
    };
    let choice = Choice {
        region: "310000".into(),
        banks: BTreeSet::from(["alpha".parse().expect("an id")]),
        text: consent_texts()[0],
        risk: wallet::no_risk(),
    };
    let mut request = wallet::prepare(&person, &choice, AT).expect("prepared").request;
    request.factors = vec![Factor { kind: FactorKind::Password.into(), at_ms: AT.0 }; 20];
    let reference = Reference { upstream: "wallet".parse().expect("an id"), query: request.query };
    let result = submitted(request, Intent::Ask, &reference, "topic", &registry, &key, AT);
    assert_eq!(result.err(), Some(Code::MESSAGE_TOO_LARGE));
}

#[test]
fn the_headers_say_what_the_record_is_and_nothing_about_the_person() {
    let reference = Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() };
    let key = SigningKey::from_seed(&[3; 32]);
    let record = revoked(&reference, "topic", &key, AT).expect("a record");
    let headers: BTreeMap<_, _> = record.headers.into_iter().collect();
    let text = |name: &str| String::from_utf8(headers[name].clone()).expect("UTF-8");
    assert_eq!(text("ce_type"), "cardquery.ConsentRevoked.v1");
    assert_eq!(text("ce_source"), "/cardquery/wallet");
    assert_eq!(text("ce_correlationid"), reference.query.to_string());
    assert_eq!(record.key.as_deref(), Some(reference.query.to_string().as_bytes()));
}
