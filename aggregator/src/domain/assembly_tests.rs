//! Tests of the rule: scenarios as text, and every interleaving against an oracle.

#[path = "scenarios/interleavings.rs"]
mod interleavings;
#[path = "scenarios/interpreter.rs"]
mod interpreter;

/// Plays one file of scenarios. A failure names the file, the scenario, the line and its text.
fn play(file: &str, text: &str) {
    let failures = interpreter::play(text);
    assert!(failures.is_empty(), "scenarios/{file}\n{}", failures.join("\n"));
}

macro_rules! scenarios {
    ($($test:ident $file:literal;)+) => {
        $(#[test]
        fn $test() {
            play($file, include_str!(concat!("scenarios/", $file)));
        })+
    };
}

scenarios! {
    a_report_becomes_final_as_written "reports.txt";
    every_bank_has_exactly_one_outcome_by_precedence "outcomes.txt";
    a_late_reply_decides_nothing_and_a_punctual_one_is_never_lost "deadline.txt";
    a_record_has_its_effect_once "repetition.txt";
    banks_are_asked_again_until_reply_by "asking.txt";
    a_withdrawal_ends_everything "withdrawal.txt";
    a_held_query_waits_for_its_release "hold.txt";
    every_cell_of_the_table_is_as_written "table.txt";
}

#[test]
fn a_line_that_fails_is_named_with_its_number_and_text() {
    let failures = interpreter::play("== One bank\nquery Q1 banks A\n\nreport Q1 all\nopen Q1\n");
    assert_eq!(failures, ["line 4 in \"One bank\": `report Q1 all`: it is open"]);
}

#[test]
fn what_the_interpreter_does_not_understand_is_an_error() {
    for (line, complaint) in [
        ("frobnicate Q1", "no such command"),
        ("query Q1 banks A please", "no such command"),
        ("open Q9", "there is no query Q9"),
        ("counted nonsense 1", "nothing is counted as nonsense"),
        ("reply Q1 A shouted", "a reply is not shouted"),
        ("tick soon", "soon is not a span"),
        ("outcome Q1 A GREAT", "there is no outcome GREAT"),
        ("reread Q1 A", "A has said nothing about Q1"),
    ] {
        let failures = interpreter::play(&format!("== It\nquery Q1 banks A\n{line}\nopen Q1"));
        assert_eq!(failures, [format!("line 3 in \"It\": `{line}`: {complaint}")]);
    }
    assert_eq!(interpreter::play("== It\nquery Q1 banks A"), ["\"It\" expects nothing"]);
    assert_eq!(
        interpreter::play("query Q1 banks A"),
        ["line 1: `query Q1 banks A`: it stands before any scenario"]
    );
    assert_eq!(
        interpreter::play("== It\nquery Q1 banks A\nopen Q1\n== It\nquery Q1 banks A\nopen Q1"),
        ["line 4: two scenarios are called \"It\""]
    );
    assert_eq!(interpreter::play(""), ["there is no scenario"]);
}
