//! The opened report for a person at a terminal.

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use super::document::{Bank, Card, Document};

/// The report as a table, with what follows from it.
pub(crate) fn render(document: &Document) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["Bank", "Answer", "Cards"]);
    for covered in &document.coverage {
        let opened = document.report.banks.iter().find(|bank| bank.bank_id == covered.bank_id);
        let (answer, cards) = match opened {
            Some(bank) => answered(bank),
            None => unanswered(covered.outcome),
        };
        table.add_row([covered.bank_name.clone(), answer, cards]);
    }
    format!("{table}\n\n{}", footer(document))
}

fn answered(bank: &Bank) -> (String, String) {
    let Some(answer) = bank.answer else {
        return ("not readable".to_owned(), "this answer does not verify and is not shown".to_owned());
    };
    let words = match answer {
        "CARDS" => return ("cards".to_owned(), bank.cards.iter().map(card).collect::<Vec<_>>().join("\n")),
        "NO_CARDS" => ("no cards", "(signed by the bank)"),
        "INELIGIBLE_NO_PHONE" => ("not eligible", "no phone number on file; visit a branch to add it"),
        "INELIGIBLE_ID_EXPIRED" => {
            ("not eligible", "identity document on file has expired; bring the new one")
        }
        "INELIGIBLE_NO_CARDLESS_PAYMENT" => ("not eligible", "cardless payment is not enabled at this bank"),
        "IDENTITY_MISMATCH" => ("no match", "name or phone on file differ; contact the bank"),
        "WITHHELD" => ("withheld", "the bank shows this in its own channels only; contact the bank"),
        other => (other, ""),
    };
    (words.0.to_owned(), words.1.to_owned())
}

fn unanswered(outcome: &str) -> (String, String) {
    let (answer, words) = match outcome {
        "UNAVAILABLE" => ("unavailable", "the bank's system was down; not in this report"),
        "NO_REPLY" => ("no reply", "the bank was never heard; not in this report"),
        "REFUSED" => ("refused", "the bank refused the request; not in this report"),
        "SUSPENDED" => ("suspended", "the bank does not take part at the moment"),
        "INVALID_REPLY" => ("invalid", "the bank's reply did not verify; not in this report"),
        other => (other, ""),
    };
    (answer.to_owned(), words.to_owned())
}

fn card(card: &Card) -> String {
    let mut text = format!(
        "{} {} **** {} {}",
        card.kind.to_lowercase(),
        card.first4,
        card.last4,
        card.status.to_lowercase()
    );
    if let Some(dormancy) = &card.dormancy {
        let since = dormancy.last_active_month.as_deref().unwrap_or("unknown");
        text.push_str(&format!(" (rule {}, last active {since})", dormancy.rule_id));
    }
    text
}

fn footer(document: &Document) -> String {
    let valid = document.report.banks.iter().filter(|bank| bank.signature_valid).count();
    let complete = if document.complete { "complete" } else { "NOT complete" };
    format!(
        "{} cards at {} banks: {} debit, {} with credit\n\
         Signatures {valid} of {} valid · this report is {complete} · erased on {} 00:00 (Asia/Shanghai)\n\
         UnionPay network cards only. A bank's own record prevails; ask the bank about its cards.",
        document.summary.cards,
        document.summary.banks,
        document.summary.debit,
        document.summary.credit,
        document.report.banks.len(),
        document.erase_on,
    )
}
