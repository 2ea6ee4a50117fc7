//! Pure: a query's timeline for a person at a terminal.

use aggregator::edge::operations::{BankFacts, EventFacts, QueryFacts, Timeline};
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};

use super::sms::SmsEvent;

/// The whole page.
pub(super) fn render(timeline: &Timeline, sms: &[SmsEvent]) -> String {
    let mut lines = vec![format!("{}/{}", timeline.upstream, timeline.query_id)];
    match &timeline.query {
        Some(query) => lines.extend(row(query)),
        None => lines.push("  its row is gone: what follows is from its audit leaves".to_owned()),
    }
    lines.push(String::new());
    lines.extend(timeline.events.iter().map(event));
    lines.extend(sms.iter().map(|sms| {
        let code = sms.code.as_deref().unwrap_or_default();
        entry(&sms.appended_at, &format!("sms {}", sms.event), code, &sms.at.to_string())
    }));
    if !timeline.banks.is_empty() {
        lines.push(String::new());
        lines.push(banks(&timeline.banks));
    }
    lines.join("\n")
}

fn row(query: &QueryFacts) -> Vec<String> {
    let code = query.code.as_ref().map(|code| format!(" {code}")).unwrap_or_default();
    let mut lines = vec![
        format!("  {}{code}  {} of {} answered", query.state, query.answered, query.asked),
        format!("  accepted {} by {}", query.accepted_at, query.record),
        format!(
            "  asked until {}, window to {}, erased on {}",
            query.reply_by, query.deadline_at, query.erase_on
        ),
    ];
    if let (Some(from), Some(until)) = (&query.release_from, &query.release_until) {
        lines.push(format!("  may be released from {from} until {until}"));
    }
    lines
}

fn event(event: &EventFacts) -> String {
    let at = event.at.as_deref().unwrap_or("(no time)");
    let record = event.record.as_ref().map(ToString::to_string).unwrap_or_default();
    entry(at, &event.kind, event.code.as_deref().unwrap_or_default(), &record)
}

fn entry(at: &str, what: &str, code: &str, place: &str) -> String {
    format!("  {at:<24}  {what:<16} {code} {place}").trim_end().to_owned()
}

fn banks(banks: &[BankFacts]) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["BANK", "ASKED", "OUTCOME", "REPLY", "LIES AT", "NOTES"]);
    for bank in banks {
        let (appended_at, place) = match &bank.reply {
            Some(reply) => (reply.appended_at.clone(), reply.at.to_string()),
            None => (String::new(), String::new()),
        };
        // A bank that has closed its pair says already what its outcome will be.
        let closed = || bank.reply.as_ref().map(|reply| reply.outcome.clone());
        let outcome = bank.outcome.clone().or_else(closed).unwrap_or_else(|| "open".to_owned());
        table.add_row([
            bank.bank.clone(),
            bank.attempts.map(|attempts| attempts.to_string()).unwrap_or_default(),
            outcome,
            appended_at,
            place,
            notes(bank),
        ]);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

fn notes(bank: &BankFacts) -> String {
    let open = bank.outcome.is_none() && bank.reply.is_none();
    let again = bank.ask_again_at.as_ref().filter(|_| open).map(|at| format!("asked next {at}"));
    let notes = [
        (bank.paused && open).then(|| "paused".to_owned()),
        again,
        (bank.unavailable && open).then(|| "unavailable".to_owned()),
        (bank.invalid && open).then(|| "invalid reply".to_owned()),
        bank.conflict.then(|| "conflict".to_owned()),
    ];
    notes.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use aggregator::edge::operations::{Place, ReplyFacts};

    use super::*;

    fn place(topic: &str) -> Place {
        Place { topic: topic.to_owned(), partition: 3, offset: 42 }
    }

    fn bank(id: &str) -> BankFacts {
        BankFacts {
            bank: id.to_owned(),
            paused: false,
            attempts: Some(2),
            ask_again_at: Some("2026-11-24T09:00:00.000Z".to_owned()),
            outcome: None,
            reply: None,
            invalid: false,
            unavailable: true,
            conflict: false,
        }
    }

    fn timeline() -> Timeline {
        let reply = ReplyFacts {
            outcome: "ANSWERED".to_owned(),
            at: place("cardquery.reply.alpha.v1"),
            appended_at: "2026-11-24T08:00:02.000Z".to_owned(),
        };
        Timeline {
            upstream: "wallet".to_owned(),
            query_id: "0192f0c1-2d3e-7000-8000-000000000001".to_owned(),
            query: Some(QueryFacts {
                state: "COLLECTING".to_owned(),
                code: None,
                record: place("cardquery.query.wallet.v1"),
                accepted_at: "2026-11-24T08:00:00.000Z".to_owned(),
                reply_by: "2026-11-25T07:30:00.000Z".to_owned(),
                deadline_at: "2026-11-25T08:00:00.000Z".to_owned(),
                release_from: None,
                release_until: None,
                ended_at: None,
                erase_on: "2026-12-02".to_owned(),
                asked: 2,
                answered: 1,
            }),
            banks: vec![
                BankFacts { reply: Some(reply), ask_again_at: None, unavailable: false, ..bank("alpha") },
                BankFacts { paused: true, ..bank("beta") },
            ],
            events: vec![EventFacts {
                at: Some("2026-11-24T08:00:00.000Z".to_owned()),
                kind: "registered".to_owned(),
                record: Some(place("cardquery.query.wallet.v1")),
                code: None,
            }],
        }
    }

    #[test]
    fn an_open_query_says_of_each_bank_what_was_heard_and_what_comes_next() {
        let sms = SmsEvent {
            event: "SmsClaimed".to_owned(),
            appended_at: "2026-11-24T08:00:03.000Z".to_owned(),
            at: place("cardquery.sms.v1"),
            code: None,
        };
        let text = render(&timeline(), &[sms]);
        let line =
            |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).unwrap_or_default();
        assert!(line("COLLECTING").contains("1 of 2 answered"), "{text}");
        assert!(line("2026-11-24T08:00:00.000Z").contains("registered"), "{text}");
        assert!(
            line("2026-11-24T08:00:03.000Z").ends_with("sms SmsClaimed    cardquery.sms.v1:3:42"),
            "{text}"
        );
        let alpha = line("alpha");
        assert!(alpha.contains("ANSWERED") && alpha.contains("cardquery.reply.alpha.v1:3:42"), "{text}");
        assert!(line("beta").ends_with("paused, asked next 2026-11-24T09:00:00.000Z, unavailable"), "{text}");
    }

    #[test]
    fn a_query_whose_row_is_gone_says_so() {
        let text = render(&Timeline { query: None, ..timeline() }, &[]);
        assert!(text.contains("its row is gone"), "{text}");
    }
}
