use schemas::ids::{QueryId, Reference};
use schemas::time::UnixMillis;

use super::*;

const LANGUAGES: [Language; 2] = [Language::ZhCn, Language::En];
const FINAL: [QueryState; 3] =
    [QueryState::FinalAllAnswered, QueryState::FinalPartial, QueryState::FinalEmpty];

fn message(state: QueryState, banks: u32, answered: u32) -> Result<Message, Code> {
    let reference = Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() };
    Message::of(&Header { reference, state, banks, answered, accepted_at: UnixMillis(0) })
}

fn longest_digit_run(text: &str) -> usize {
    text.split(|c: char| !c.is_numeric()).map(|run| run.chars().count()).max().unwrap_or(0)
}

/// Names that no SMS may hold, in lower case: of every sample bank and product, and some that people know.
fn bank_names() -> Vec<String> {
    let sample = include_str!("../../../deploy/sample/registry.toml");
    let names: Vec<&str> = sample
        .lines()
        .filter(|line| line.starts_with("name = ") || line.starts_with("products."))
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .collect();
    assert_eq!(names.len(), 14 * 2 * 4, "a name in two languages, and three products");
    let known = ["工商银行", "农业银行", "建设银行", "招商银行", "ICBC", "Bank of China"];
    names
        .into_iter()
        .chain(known)
        .flat_map(|name| {
            [name.to_lowercase(), name.replace("样例银行", "").replace(" Sample Bank", "").to_lowercase()]
        })
        .collect()
}

fn without_digits(text: &str) -> String {
    text.replace(|c: char| c.is_numeric(), "")
}

#[test]
fn no_possible_text_has_a_digit_run_of_four_and_texts_differ_in_their_numbers_alone() {
    for language in LANGUAGES {
        let words = without_digits(language.template()).replace("{banks}", "").replace("{answered}", "");
        for banks in 0..=500 {
            for answered in 0..=banks {
                let [one, two, three] = FINAL.map(|state| message(state, banks, answered).expect("possible"));
                assert!(one == two && two == three, "the state says nothing more");
                let text = one.text(language);
                assert!(longest_digit_run(&text) < 4, "{text}");
                assert_eq!(without_digits(&text), words);
            }
        }
    }
}

/// The test above extends this to every text.
#[test]
fn no_text_has_a_link_or_names_a_bank() {
    let names = bank_names();
    for language in LANGUAGES {
        let text = message(QueryState::FinalPartial, 14, 12).expect("possible").text(language).to_lowercase();
        let link = ["://", "www", ".cn", ".com", "http", "/", "@"].iter().find(|part| text.contains(**part));
        assert_eq!(link, None, "{text}");
        let name = names.iter().find(|name| text.contains(name.as_str()));
        assert_eq!(name, None, "{text}");
        assert!(!text.contains(['{', '}']), "{text}");
    }
}

#[test]
fn the_texts_are_the_registered_ones() {
    let message = message(QueryState::FinalPartial, 14, 12).expect("possible");
    assert_eq!(
        message.text(Language::ZhCn),
        "您的银行卡查询报告已生成（14家银行中12家已反馈）。银行和公安机关的工作人员都不会向您索要本报告或任何验证码，\
         凡索要者均为诈骗。"
    );
    assert_eq!(
        message.text(Language::En),
        "Your bank card report is ready: 12 of 14 banks answered. Nobody from a bank or the police will ever ask you \
         for this report or for a code; whoever does is a fraudster."
    );
    assert_eq!(message.parameters(), [("banks", "14".into()), ("answered", "12".into())]);
}

#[test]
fn what_no_final_report_can_say_is_refused() {
    for (state, banks, answered) in [
        (QueryState::FinalPartial, 14, 15),
        (QueryState::FinalPartial, 501, 1),
        (QueryState::FinalAllAnswered, u32::MAX, u32::MAX),
        (QueryState::Collecting, 14, 12),
        (QueryState::Withdrawn, 14, 12),
        (QueryState::Unspecified, 14, 12),
    ] {
        assert_eq!(
            message(state, banks, answered),
            Err(Code::MESSAGE_MALFORMED),
            "{state:?} {answered}/{banks}"
        );
    }
}
