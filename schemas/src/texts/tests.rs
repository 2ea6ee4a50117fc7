use std::collections::BTreeSet;

use super::*;

/// Every text with where it stands, for messages.
fn every(words: impl Fn(Told) -> Words) -> Vec<(String, Words)> {
    let named = |(family, codes): (&'static str, Family)| {
        codes.into_iter().map(move |(code, told)| (format!("{family}/{code}"), told))
    };
    families().into_iter().flat_map(named).map(|(place, told)| (place, words(told))).collect()
}

fn is_han(letter: char) -> bool {
    ('\u{4e00}'..='\u{9fff}').contains(&letter)
}

/// Whether a text could send its reader away from the app.
fn holds_address(text: &str) -> bool {
    let lower = text.to_lowercase();
    ["://", "www.", ".com", ".cn", ".net", ".org", "@"].iter().any(|mark| lower.contains(mark))
}

#[test]
fn every_family_is_whole_but_for_what_says_nothing() {
    let sizes: Vec<_> = families().into_iter().map(|(family, codes)| (family, codes.len())).collect();
    let unmet = Code::ALL.iter().filter(|code| of_code(**code).is_none()).count();
    assert_eq!(
        sizes,
        [
            ("account_class", 3),
            ("answer", 7),
            ("bank_outcome", 6),
            ("card_kind", 7),
            ("card_status", 9),
            ("missing_source", 3),
            ("next_action", 5),
            ("pretext", 11),
            ("problem", Code::ALL.len() - unmet),
            ("query_state", 9),
            ("regulator_dormancy", 2),
        ]
    );
}

#[test]
fn only_codes_between_hub_bank_and_gateway_have_no_words() {
    let unmet: Vec<_> = Code::ALL.iter().filter(|code| of_code(**code).is_none()).collect();
    assert_eq!(
        unmet,
        [
            &Code::REQUEST_TIME_IMPOSSIBLE,
            &Code::REPLY_BY_PASSED,
            &Code::QUERY_UNKNOWN,
            &Code::SOURCE_UNAVAILABLE,
            &Code::GATEWAY_REFUSED,
            &Code::GATEWAY_OUTCOME_UNKNOWN,
            &Code::GATEWAY_UNAVAILABLE,
            &Code::DELIVERY_FAILED,
            &Code::PHONE_LIMIT_REACHED,
            &Code::OUT_ID_UNKNOWN,
            &Code::CONTACT_UNREADABLE,
        ]
    );
}

#[test]
fn every_code_has_three_whole_sentences_in_chinese_and_in_english_and_no_address() {
    for (place, words) in every(|told| told.zh_cn) {
        for text in [words.text, words.aloud, words.next] {
            assert!(text.chars().filter(|letter| is_han(*letter)).count() >= 3, "{place}: {text}");
            assert!(text.ends_with('。'), "{place}: {text}");
            assert!(!text.contains([',', '.', ';', ' ']), "{place}: Chinese has its own marks: {text}");
            assert!(!holds_address(text), "{place}: {text}");
        }
    }
    for (place, words) in every(|told| told.en) {
        for text in [words.text, words.aloud, words.next] {
            assert!(text.starts_with(|first: char| first.is_ascii_uppercase()), "{place}: {text}");
            assert!(text.ends_with('.') && !text.contains("  "), "{place}: {text}");
            assert!(!text.chars().any(is_han), "{place}: {text}");
            assert!(!holds_address(text), "{place}: {text}");
        }
    }
}

#[test]
fn what_is_read_aloud_is_one_short_sentence_that_can_be_spoken_as_it_stands() {
    for (place, words) in every(|told| told.zh_cn) {
        let aloud = words.aloud;
        assert!(aloud.chars().count() <= 40, "{place}: {aloud}");
        let sentence = aloud.strip_suffix('。').unwrap_or_default();
        assert!(sentence.chars().all(|letter| is_han(letter) || letter == '，'), "{place}: {aloud}");
    }
    for (place, words) in every(|told| told.en) {
        let aloud = words.aloud;
        assert!(aloud.chars().count() <= 120, "{place}: {aloud}");
        let sentence = aloud.strip_suffix('.').unwrap_or_default();
        let spoken = |letter: char| letter.is_ascii_alphabetic() || matches!(letter, ' ' | ',' | '\'' | '-');
        assert!(sentence.chars().all(spoken), "{place}: {aloud}");
        let abbreviation = |word: &str| word.chars().filter(char::is_ascii_uppercase).count() > 1;
        assert!(!sentence.split(' ').any(abbreviation), "{place}: {aloud}");
    }
}

/// A reason would warn whoever is being looked into (FEATURES 2.9).
#[test]
fn the_words_about_what_is_withheld_name_no_reason() {
    let told = [of_answer(AnswerKind::Withheld), of_card_status(CardStatus::Withheld)];
    let reasons = [
        "冻结",
        "司法",
        "洗钱",
        "调查",
        "可疑",
        "风险",
        "法院",
        "公安",
        "警",
        "欠",
        "因",
        "frozen",
        "court",
        "launder",
        "investigat",
        "suspic",
        "risk",
        "police",
        "debt",
        "because",
        "reason",
        "law",
    ];
    for told in told.into_iter().flatten() {
        for words in [told.zh_cn, told.en] {
            for text in [words.text, words.aloud, words.next] {
                assert!(!reasons.iter().any(|reason| text.to_lowercase().contains(reason)), "{text}");
            }
        }
    }
}

#[test]
fn the_ten_pretexts_are_told_apart_and_each_is_called_a_scam_with_the_line_to_call() {
    let scams: Vec<_> = every(|told| told.zh_cn)
        .into_iter()
        .filter(|(place, _)| place.starts_with("pretext/") && place != "pretext/NONE")
        .collect();
    assert_eq!(scams.len(), 10);
    for (place, words) in &scams {
        assert!(words.text.contains("诈骗") && words.aloud.contains("诈骗"), "{place}");
        assert!(words.next.contains("96110"), "{place}");
    }
    let texts: BTreeSet<_> = scams.iter().map(|(_, words)| words.text).collect();
    assert_eq!(texts.len(), 10);
}

#[test]
fn silence_and_ineligibility_are_never_read_as_no_cards() {
    for told in [
        of_outcome(BankOutcome::NoReply),
        of_answer(AnswerKind::IneligibleNoPhone),
        of_answer(AnswerKind::IneligibleIdExpired),
        of_answer(AnswerKind::IneligibleNoCardlessPayment),
    ] {
        let zh_cn = told.expect("a person meets it").zh_cn;
        assert!(format!("{}{}", zh_cn.text, zh_cn.next).contains("不代表您"), "{}", zh_cn.text);
    }
}
