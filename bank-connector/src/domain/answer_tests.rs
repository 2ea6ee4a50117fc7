use std::sync::Arc;

use jiff::civil::date;
use proptest::prelude::*;
use prost::Message;
use schemas::batch::sign_batch;
use schemas::ids::{Digest, Nonce, QueryId, Reference};
use schemas::keys::{OpeningKey, SigningKey};
use schemas::reply::{self, Unsigned, Word};
use schemas::request::Header;
use schemas::submission::{BankQuery, Terms};
use schemas::wire::{AccountClass, CardKind, CardStatus, DocumentType, NextAction};
use zeroize::Zeroizing;

use super::*;
use crate::domain::card::{Card, MAX_CODE};
use crate::domain::dormancy::{Case, Feature, Idle, Rule};
use crate::domain::found::Customer;
use crate::domain::month::{Month, latest_day};
use crate::domain::pan::{Pan, check_digit};

const NOW: UnixMillis = UnixMillis(1_790_000_012_345);
const TODAY: Date = date(2026, 9, 21);

fn looked() -> Looked {
    Looked { at: NOW, today: TODAY }
}

fn identity() -> Identity {
    Identity::from_wire(wire::Identity {
        name: "王小明".into(),
        document_type: DocumentType::ResidentId.into(),
        document_number: "11010519491231002X".into(),
        phone: "+8613800000001".into(),
    })
    .expect("usable")
}

fn customer() -> Customer {
    Customer {
        name: Zeroizing::new("王小明".into()),
        phone: Some(Zeroizing::new("13800000001".into())),
        id_valid_until: Some(TODAY),
        cardless_payment: true,
        withheld: false,
    }
}

fn card(n: u32) -> Card {
    let partial = format!("629901{n:012}");
    Card {
        pan: Pan::parse(Zeroizing::new(format!("{partial}{}", check_digit(&partial)))).expect("a number"),
        kind: CardKind::Debit,
        account_class: AccountClass::I,
        product_code: "DC01".into(),
        status: CardStatus::Normal,
        opened: Month::parse("2016-07"),
        last_active: latest_day("2026-08"),
        balance_fen: None,
        features: None,
        dormancy: None,
    }
}

fn found(customers: Vec<Customer>, cards: u32) -> Found {
    Found { customers, cards: (0..cards).map(card).collect(), ..Default::default() }
}

fn kind_of(found: &Found) -> AnswerKind {
    answer(&identity(), found, looked()).kind()
}

/// A record as seven flags say: name differs, phone differs, no phone, phone unreadable, expired, not enabled, withheld.
fn customer_of(flags: [bool; 7]) -> Customer {
    let [name, phone, no_phone, bad_phone, expired, disabled, withheld] = flags;
    let text = |text: &str| Some(Zeroizing::new(text.to_owned()));
    Customer {
        name: Zeroizing::new(if name { "李四" } else { "王小明" }.into()),
        phone: match (no_phone, bad_phone, phone) {
            (true, ..) => None,
            (_, true, _) => text("021-none"),
            (_, _, true) => text("13800000002"),
            _ => text("13800000001"),
        },
        id_valid_until: expired.then(|| TODAY.yesterday().expect("a day")),
        cardless_payment: !disabled,
        withheld,
    }
}

#[test]
fn nobody_on_file_has_no_cards_whatever_a_table_of_cards_says() {
    let answer = answer(&identity(), &found(Vec::new(), 3), looked());
    assert_eq!((answer.kind(), answer.cards.len()), (AnswerKind::NoCards, 0));
}

#[test]
fn the_last_day_of_a_document_is_a_valid_one() {
    assert_eq!(kind_of(&found(vec![customer()], 1)), AnswerKind::Cards);
    let expired = Customer { id_valid_until: TODAY.yesterday().ok(), ..customer() };
    assert_eq!(kind_of(&found(vec![expired], 1)), AnswerKind::IneligibleIdExpired);
    let lasting = Customer { id_valid_until: None, ..customer() };
    assert_eq!(kind_of(&found(vec![lasting], 0)), AnswerKind::NoCards);
}

#[test]
fn one_internal_source_that_knows_another_person_is_enough_for_a_mismatch() {
    let other = customer_of([true, false, false, false, false, false, false]);
    assert_eq!(kind_of(&found(vec![customer(), other], 2)), AnswerKind::IdentityMismatch);
    let withheld = customer_of([false, false, false, false, false, false, true]);
    assert_eq!(kind_of(&found(vec![withheld, customer()], 2)), AnswerKind::Withheld);
}

#[test]
fn a_card_is_shown_masked_and_with_codes_only() {
    let shown = answer(&identity(), &found(vec![customer()], 1), looked());
    let card = &shown.cards[0];
    assert_eq!((card.first4.as_str(), card.last4.len(), card.pan_length), ("6299", 4, 19));
    assert_eq!(
        (card.kind(), card.account_class(), card.status()),
        (CardKind::Debit, AccountClass::I, CardStatus::Normal)
    );
    assert_eq!((card.product_code.as_str(), card.opened_month), ("DC01", 201_607));
    assert_eq!(card.dormancy, None);
    assert_eq!(shown.as_of_ms, 1_790_000_012_345 / 60_000 * 60_000);
}

#[test]
fn a_dormant_card_carries_its_evidence_and_the_way_out() {
    let case =
        |months| Case { kinds: [CardKind::Debit].into(), idle: Idle::Months(months), balance_fen: None };
    let rule = |months: Option<u16>| {
        let cases = months.map(case).into_iter().collect();
        Some(Arc::new(Rule { id: "R18M".into(), cases, ..Rule::default() }))
    };
    let of = |status, last_active: &str, dormancy| {
        let card = Card { status, last_active: latest_day(last_active), dormancy, ..card(1) };
        card.masked(TODAY)
    };
    let expected = |month| {
        Some(wire::Dormancy { rule_id: "R18M".into(), last_active_month: month, as_of_day: 20_260_921 })
    };
    // By the rule: 18 months after the last day of 2025-02 are over on 2026-09-21, those after 2025-03 are not.
    let by_rule = of(CardStatus::Normal, "2025-02", rule(Some(18)));
    assert_eq!((by_rule.status(), by_rule.dormancy), (CardStatus::Dormant, expected(202_502)));
    assert_eq!(by_rule.next_actions[..2], [NextAction::Reactivate as i32, NextAction::Close as i32]);
    let active = of(CardStatus::Normal, "2025-03", rule(Some(18)));
    assert_eq!((active.status(), active.dormancy), (CardStatus::Normal, None));
    // By the bank's own status, with or without a known month.
    let by_status = of(CardStatus::Dormant, "2026-08", rule(None));
    assert_eq!((by_status.status(), by_status.dormancy), (CardStatus::Dormant, expected(202_608)));
    assert_eq!(of(CardStatus::Dormant, "", rule(None)).dormancy, expected(0));
    // Nothing about a withheld card, however long it lies unused.
    let withheld = of(CardStatus::Withheld, "2020-01", rule(Some(18)));
    assert_eq!((withheld.status(), withheld.dormancy), (CardStatus::Withheld, None));
}

#[test]
fn the_regulators_rule_is_judged_beside_the_banks_and_for_a_withheld_card_not_at_all() {
    let of = |status, balance_fen, last_active: &str| {
        let last_active = latest_day(last_active);
        let features = Some(BTreeSet::new());
        let card = Card { kind: CardKind::Credit, status, last_active, balance_fen, features, ..card(1) };
        card.masked(TODAY)
    };
    let unused = of(CardStatus::Normal, Some(0), "2025-03-20");
    assert_eq!(
        (unused.status(), unused.dormancy.is_none()),
        (CardStatus::Normal, true),
        "the bank has no rule"
    );
    assert_eq!(unused.regulator_dormancy(), wire::RegulatorDormancy::Dormant);
    for (status, balance, last_active, said) in [
        (CardStatus::Dormant, Some(0), "2025-03-21", wire::RegulatorDormancy::NotDormant),
        (CardStatus::Normal, Some(1), "2025-03-20", wire::RegulatorDormancy::NotDormant),
        (CardStatus::Normal, None, "2025-03-20", wire::RegulatorDormancy::Unspecified),
        (CardStatus::Withheld, Some(0), "2020-01-01", wire::RegulatorDormancy::Unspecified),
        (CardStatus::Locked, Some(0), "2020-01-01", wire::RegulatorDormancy::Unspecified),
    ] {
        let card = of(status, balance, last_active);
        assert_eq!(card.regulator_dormancy(), said, "{status:?} {balance:?} {last_active}");
    }
}

#[test]
fn what_is_on_a_card_and_hangs_on_it_does_not_leave_the_bank() {
    let rule = crate::domain::dormancy::published_as("CIB-2025-10").map(|rule| Arc::new(rule.clone()));
    let of = |balance_fen: i64, features: &[Feature]| {
        let features = Some(features.iter().copied().collect());
        let last_active = latest_day("2026-08-01");
        let card =
            Card { balance_fen: Some(balance_fen), features, last_active, dormancy: rule.clone(), ..card(1) };
        card.masked(TODAY).encode_to_vec()
    };
    assert_eq!(of(0, &[]), of(987_654_321, &[Feature::SocialSecurity, Feature::LinkedLoan]));
}

#[test]
fn too_many_cards_are_cut_to_what_fits_the_seal_and_their_source_is_marked() {
    let largest = |n| Card {
        product_code: "P".repeat(MAX_CODE),
        kind: CardKind::Credit,
        account_class: AccountClass::Iii,
        status: CardStatus::Dormant,
        last_active: Some(TODAY),
        balance_fen: Some(1),
        features: Some([].into()),
        dormancy: Some(Arc::new(Rule { id: "R".repeat(MAX_CODE), ..Rule::default() })),
        ..card(n)
    };
    let cards = (0..120).map(largest).collect();
    let found = Found { customers: vec![customer()], cards, ..Default::default() };
    let shown = answer(&identity(), &found, looked());
    assert_eq!((shown.kind(), shown.cards.len()), (AnswerKind::Cards, MAX_CARDS));
    assert_eq!(shown.missing_sources, [MissingSource::Credit as i32]);
    let largest = schemas::seal::Kind::Answer.sizes().last().copied().unwrap_or_default();
    assert!(shown.encoded_len() + 2 <= largest, "{}", shown.encoded_len());
}

#[test]
fn records_with_no_one_or_four_cards_have_the_same_length() {
    let report_key = OpeningKey::derive(&[9; 32]);
    let bank: schemas::ids::BankId = "anhe".parse().expect("an id");
    let reference = Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() };
    let query = BankQuery {
        reference: reference.clone(),
        bank: bank.clone(),
        terms: Terms {
            purpose: wire::Purpose::AntiFraudSelfCheck,
            issued_at: NOW,
            expires_at: NOW,
            nonce: Nonce([0; 16]),
            consent_text: Digest::of(b""),
            assurance: wire::Assurance::RealName,
            factors: Vec::new(),
            report_key: report_key.public().clone(),
        },
        identity: Digest::of(b""),
    };
    let header = Header {
        reference,
        bank: bank.clone(),
        statement_sha256: Digest::of(b"statement"),
        accepted_at: NOW,
        reply_by: NOW,
        attempt: 1,
    };
    let length = |found: &Found| {
        let answer = answer(&identity(), found, looked());
        let sealed = reply::seal_answer(&query, header.statement_sha256, &answer).expect("seals");
        let unsigned = Unsigned::new(&header, Word::answered(&query.terms.report_key, sealed));
        let key = SigningKey::from_seed(&[1; 32]);
        let headers = [unsigned.header.clone()];
        let proof = sign_batch(&bank, &key, Nonce([0; 16]), &headers, NOW).expect("signs").remove(0);
        unsigned.with_proof(proof).encoded_len()
    };
    let withheld = customer_of([false, false, false, false, false, false, true]);
    let lengths: Vec<_> = [
        found(Vec::new(), 0),
        found(vec![customer()], 1),
        found(vec![customer()], 4),
        found(vec![withheld], 4),
    ]
    .iter()
    .map(length)
    .collect();
    assert!(lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
    assert!(length(&found(vec![customer()], 40)) > lengths[0], "the comparison can fail");
}

proptest! {
    #[test]
    fn the_order_of_judgement_holds_for_every_record(flags in any::<[bool; 7]>(), cards in 0u32..3) {
        let [name, phone, no_phone, bad_phone, expired, disabled, withheld] = flags;
        let phone_known = !no_phone && !bad_phone;
        let expected = if name || (phone_known && phone) {
            AnswerKind::IdentityMismatch
        } else if !phone_known {
            AnswerKind::IneligibleNoPhone
        } else if expired {
            AnswerKind::IneligibleIdExpired
        } else if disabled {
            AnswerKind::IneligibleNoCardlessPayment
        } else if withheld {
            AnswerKind::Withheld
        } else if cards > 0 {
            AnswerKind::Cards
        } else {
            AnswerKind::NoCards
        };
        prop_assert_eq!(kind_of(&found(vec![customer_of(flags)], cards)), expected);
    }

    /// A mismatch, a reason to be ineligible and WITHHELD each have one encoding, whatever lies behind it.
    #[test]
    fn an_answer_without_cards_says_its_kind_and_nothing_else(
        flags in any::<[bool; 7]>(), cards in 0u32..4, missing in any::<bool>()
    ) {
        let mut found = found(vec![customer_of(flags)], cards);
        if missing {
            found.missing.insert(MissingSource::Credit);
        }
        let answer = answer(&identity(), &found, looked());
        prop_assume!(!matches!(answer.kind(), AnswerKind::Cards | AnswerKind::NoCards));
        let bare = wire::Answer { kind: answer.kind, as_of_ms: as_of(NOW).0, ..Default::default() };
        prop_assert_eq!(answer.encode_to_vec(), bare.encode_to_vec());
    }

    #[test]
    fn the_order_of_a_table_does_not_matter(shuffled in Just((0u32..6).collect::<Vec<_>>()).prop_shuffle()) {
        let of = |order: &[u32]| Found {
            customers: vec![customer()],
            cards: order.iter().map(|n| card(*n)).collect(),
            ..Default::default()
        };
        let sorted = answer(&identity(), &of(&[0, 1, 2, 3, 4, 5]), looked());
        prop_assert_eq!(answer(&identity(), &of(&shuffled), looked()), sorted);
    }

    #[test]
    fn the_time_of_an_answer_has_one_length_and_hides_the_second(at in 1_500_000_000_000i64..4_000_000_000_000) {
        let answer = |at| answer(&identity(), &found(Vec::new(), 0), Looked { at: UnixMillis(at), today: TODAY });
        prop_assert_eq!(answer(at).encoded_len(), answer(1_500_000_000_000).encoded_len());
        let minute = at / 60_000 * 60_000;
        prop_assert_eq!(answer(at).as_of_ms, minute);
    }
}
