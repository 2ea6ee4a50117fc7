use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use schemas::ids::{QueryId, Reference};
use schemas::registry::SeenVersions;
use schemas::report::Coverage;
use schemas::time::UnixMillis;
use schemas::wire::QueryState;

use super::*;

const REPORTS: usize = 10_000;

fn kinds() -> Vec<CardKind> {
    (0..).map_while(|kind| CardKind::try_from(kind).ok()).collect()
}

/// A bank that says anything at all.
fn bank(number: usize, kinds: &[CardKind], numbers: &mut StdRng) -> OpenedBank {
    let card = |numbers: &mut StdRng| wire::Card {
        kind: kinds[numbers.random_range(0..kinds.len())].into(),
        ..wire::Card::default()
    };
    let answer = numbers.random_ratio(3, 4).then(|| wire::Answer {
        cards: (0..numbers.random_range(0..6)).map(|_| card(numbers)).collect(),
        ..wire::Answer::default()
    });
    OpenedBank {
        bank: format!("bank{number}").parse().expect("an id"),
        texts: None,
        outcome: if answer.is_some() { BankOutcome::Answered } else { BankOutcome::NoReply },
        answer,
        verified: None,
    }
}

fn report(kinds: &[CardKind], numbers: &mut StdRng) -> OpenedReport {
    let coverage = Coverage {
        reference: Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() },
        state: QueryState::FinalPartial,
        accepted_at: UnixMillis(0),
        deadline_at: UnixMillis(0),
        finalised_at: UnixMillis(0),
        erase_on: String::new(),
        banks: BTreeMap::new(),
    };
    let banks = (0..numbers.random_range(1..=14)).map(|number| bank(number, kinds, numbers)).collect();
    OpenedReport { coverage, banks, complete: false, seen: SeenVersions::default() }
}

#[test]
fn the_summary_counts_the_records_of_every_bank_by_debit_and_credit() {
    let (kinds, mut numbers) = (kinds(), StdRng::seed_from_u64(6));
    assert_eq!(kinds.len(), 7, "what UnionPay lists, 00 to 06");
    for _ in 0..REPORTS {
        let report = report(&kinds, &mut numbers);
        let document = Document::new(&report, Vec::new(), BTreeMap::new());
        let (mut debit, mut credit, mut all, mut holding) = (0, 0, 0, 0);
        let answered = report.banks.iter().filter(|bank| bank.answer.is_some());
        assert_eq!(document.report.banks.len(), answered.clone().count());
        for (bank, shown) in answered.zip(&document.report.banks) {
            let cards = &bank.answer.as_ref().expect("it answered").cards;
            let of = |wanted: &[CardKind]| cards.iter().filter(|card| wanted.contains(&card.kind())).count();
            assert_eq!((shown.bank_id.as_str(), shown.card_count), (bank.bank.as_str(), cards.len()));
            debit += of(&[CardKind::Debit]);
            credit += of(&[CardKind::Credit, CardKind::QuasiCredit, CardKind::DebitCredit]);
            all += cards.len();
            holding += usize::from(!cards.is_empty());
        }
        let counted = Summary { banks: holding, cards: all, debit, credit };
        assert_eq!(document.summary, counted, "{:?}", document.report);
    }
}
