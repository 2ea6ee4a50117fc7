//! The published rules of dormancy against a table of cards.

use std::collections::BTreeSet;

use bank_connector::domain::card::is_code;
use bank_connector::domain::dormancy::{Feature, REGULATOR, Usage, Verdict, published, published_as};
use jiff::civil::Date;
use schemas::wire::CardKind;

const GOLDEN: &str = include_str!("dormancy.golden");

const FEATURES: [(&str, Feature); 7] = [
    ("POLICY", Feature::Policy),
    ("SOCIAL_SECURITY", Feature::SocialSecurity),
    ("HOUSING_FUND", Feature::HousingFund),
    ("LINKED_LOAN", Feature::LinkedLoan),
    ("LINKED_FUND", Feature::LinkedFund),
    ("LINKED_REPAYMENT", Feature::LinkedRepayment),
    ("FUNCTION_OPENED", Feature::FunctionOpened),
];

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::NotCovered => "-",
        Verdict::Exempt => "EXEMPT",
        Verdict::InUse => "IN_USE",
        Verdict::Dormant => "DORMANT",
        Verdict::Unknown => "?",
    }
}

/// `None` for `?`.
fn known<T>(word: &str, read: impl FnOnce(&str) -> T) -> Option<T> {
    (word != "?").then(|| read(word))
}

fn features(word: &str) -> BTreeSet<Feature> {
    let named = |name| FEATURES.iter().find(|(known, _)| *known == name).expect("a feature").1;
    word.split(',').filter(|name| *name != "none").map(named).collect()
}

#[test]
fn every_published_rule_says_about_every_card_what_its_words_say() {
    let mut lines = GOLDEN.lines().filter(|line| !line.starts_with('#'));
    let head: Vec<_> = lines.next().expect("a head").split_whitespace().collect();
    let (facts, rules) = head.split_at(5);
    assert_eq!(facts, ["kind", "last_active", "today", "balance_fen", "features"]);
    let ids: Vec<_> = published().iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(rules, ids, "a column for each rule");
    let mut met: Vec<BTreeSet<&str>> = vec![BTreeSet::new(); rules.len()];
    for line in lines {
        let words: Vec<_> = line.split_whitespace().collect();
        let (facts, expected) = words.split_at(5);
        let today: Date = facts[2].parse().expect("a day");
        let usage = Usage {
            kind: CardKind::from_str_name(&format!("CARD_KIND_{}", facts[0])).expect("a kind"),
            last_active: known(facts[1], |day| day.parse().expect("a day")),
            balance_fen: known(facts[3], |amount| amount.parse().expect("an amount")),
            features: known(facts[4], features),
        };
        let said: Vec<_> = published().iter().map(|rule| word(rule.judge(&usage, today))).collect();
        assert_eq!(said, expected, "{line}");
        for (met, said) in met.iter_mut().zip(said) {
            met.insert(said);
        }
    }
    for (rule, met) in published().iter().zip(met) {
        let exempting = usize::from(rule.needs_features());
        assert_eq!(met.len(), 4 + exempting, "{}: the table has every verdict", rule.id);
    }
}

#[test]
fn published_rules_can_be_named_and_the_regulators_is_among_them() {
    let ids: BTreeSet<_> = published().iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!((published().len(), ids.len()), (7, 7));
    for rule in published() {
        assert!(is_code(&rule.id), "{}", rule.id);
        assert!(!rule.owner.is_empty() && !rule.basis.is_empty() && !rule.cases.is_empty(), "{}", rule.id);
    }
    let regulators = published_as(REGULATOR).expect("published");
    let debit = Usage { kind: CardKind::Debit, ..Usage::default() };
    assert_eq!(regulators.judge(&debit, Date::constant(2026, 11, 24)), Verdict::NotCovered);
}
