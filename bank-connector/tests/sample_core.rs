//! The sample banks' data, read as their connectors read them.

use std::collections::BTreeMap;

use bank_connector::domain::answer::{Looked, answer};
use bank_connector::domain::identity::Identity;
use bank_connector::source::CardSource;
use bank_connector::source::sql::SqlSource;
use schemas::ids::BankId;
use schemas::time::UnixMillis;
use schemas::wire::{Answer, AnswerKind, CardStatus};

#[allow(dead_code, unreachable_pub, reason = "a public module of another package")]
#[path = "../../operator/src/sample/core/mod.rs"]
mod sample;

const BANKS: [&str; 14] = [
    "anhe",
    "beichuan",
    "changning",
    "dongli",
    "fenghe",
    "guanghua",
    "haitang",
    "jinze",
    "kunlun",
    "lianhua",
    "mingyue",
    "nanshan",
    "taihe",
    "yunhe",
];

/// What every bank says about every person.
async fn answers(seed: u64) -> BTreeMap<(String, &'static str), Answer> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut all = BTreeMap::new();
    for bank in BANKS {
        let id: BankId = bank.parse().expect("an id");
        let url = sample::fill(folder.path(), &id, seed).await.expect("filled");
        let source = SqlSource::new(sample::source_config(&url), Default::default()).expect("usable");
        for person in sample::people() {
            let identity = Identity::from_wire(person.identity()).expect("a possible person");
            let found = source.look_up(&identity).await.expect("answers");
            let looked = Looked { at: UnixMillis(0), today: "2026-11-24".parse().expect("a day") };
            all.insert((person.key, bank), answer(&identity, &found, looked));
        }
    }
    all
}

#[tokio::test]
async fn every_person_gets_what_the_sample_promises() {
    let answers = answers(1).await;
    let said = |person: &str| -> Vec<(&str, AnswerKind, usize)> {
        BANKS
            .iter()
            .map(|bank| (*bank, &answers[&(person.to_owned(), *bank)]))
            .map(|(bank, answer)| (bank, answer.kind(), answer.cards.len()))
            .filter(|(_, kind, _)| *kind != AnswerKind::NoCards)
            .collect()
    };
    use AnswerKind::{
        Cards, IdentityMismatch, IneligibleIdExpired, IneligibleNoCardlessPayment, IneligibleNoPhone,
        Withheld,
    };
    assert_eq!(
        said("wang"),
        [
            ("anhe", Cards, 1),
            ("beichuan", Cards, 2),
            ("changning", Cards, 1),
            ("dongli", Cards, 4),
            ("fenghe", Cards, 1),
            ("guanghua", Cards, 2),
            ("haitang", Cards, 1),
            ("jinze", Cards, 1),
            ("kunlun", Cards, 2),
            ("mingyue", IneligibleNoPhone, 0),
            ("nanshan", Cards, 1),
            ("taihe", Cards, 1),
            ("yunhe", Cards, 2),
        ]
    );
    assert_eq!(said("li"), []);
    assert_eq!(
        said("zhang"),
        [
            ("anhe", Cards, 1),
            ("beichuan", IneligibleIdExpired, 0),
            ("changning", IneligibleNoCardlessPayment, 0),
            ("dongli", Cards, 1),
            ("guanghua", Cards, 1),
            ("jinze", Cards, 1),
            ("kunlun", Cards, 1),
        ]
    );
    assert_eq!(
        said("chen"),
        [
            ("anhe", Cards, 1),
            ("fenghe", Withheld, 0),
            ("haitang", IdentityMismatch, 0),
            ("nanshan", Cards, 2)
        ]
    );
    let dormant = &answers[&("wang".to_owned(), "beichuan")].cards[1];
    assert_eq!(dormant.status(), CardStatus::Dormant);
    let evidence = dormant.dormancy.as_ref().expect("evidence");
    assert_eq!((evidence.rule_id.as_str(), evidence.last_active_month), ("SAMPLE-18M", 202_402));
    let unknown = &answers[&("zhang".to_owned(), "guanghua")].cards[0];
    assert_eq!(unknown.status(), CardStatus::Unknown);
    assert!(answers.values().all(|answer| answer.missing_sources.is_empty()));
}

#[tokio::test]
async fn the_same_seed_makes_the_same_cards_and_another_seed_makes_others() {
    let first = answers(1).await;
    assert_eq!(first, answers(1).await);
    let other = answers(2).await;
    let visible = |answers: &BTreeMap<_, Answer>| -> Vec<String> {
        answers.values().flat_map(|answer| answer.cards.iter().map(|card| card.last4.clone())).collect()
    };
    let (first, other) = (visible(&first), visible(&other));
    assert_eq!(first.len(), other.len());
    let same = first.iter().zip(&other).filter(|(a, b)| a == b).count();
    assert!(same * 4 < first.len(), "{same} of {}", first.len());
}

#[tokio::test]
async fn a_bank_that_is_none_of_the_sample_has_no_data() {
    let folder = tempfile::tempdir().expect("a folder");
    let stranger: BankId = "nobank".parse().expect("an id");
    assert!(matches!(
        sample::fill(folder.path(), &stranger, 1).await,
        Err(sample::FillError::UnknownBank(bank)) if bank == stranger
    ));
}

#[test]
fn nobody_in_the_sample_prints() {
    for person in sample::people() {
        let printed = format!("{person:?}");
        assert!(!printed.contains(&person.name) && !printed.contains(&person.document_number), "{printed}");
    }
}
