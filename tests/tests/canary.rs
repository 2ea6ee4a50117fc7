//! What is inside the seals is nowhere outside them: a scan of every byte that the hub sees of a few queries.

#[path = "canary/seals.rs"]
mod seals;

use std::collections::{BTreeMap, BTreeSet};

use cardquery::sample;
use cardquery_tests::scan::run::{Run, record_items, shared};
use cardquery_tests::scan::{Encoding, Item, Kind, Needles, Scanner, plant};
use schemas::ids::BankId;
use schemas::wire::{AnswerKind, BankOutcome};

/// What nobody but a bank and a device may know.
fn secrets(run: &Run) -> Needles {
    let mut needles = Needles::default().with_sealed_words();
    for (person, cards) in run.card_numbers() {
        needles = needles
            .with(Kind::Name, &person.name)
            .with(Kind::DocumentNumber, &person.document_number)
            .with(Kind::Phone, &person.phone);
        for number in cards.values().flatten() {
            needles = needles.with_card(number);
        }
    }
    needles
}

/// What a bank may not know either: who else is asked, and the person's pseudonym.
fn beyond_a_bank(run: &Run, bank: &BankId) -> Needles {
    let others = sample::registry::sample().banks.into_iter().filter(|other| other.id != *bank);
    let needles = others.fold(Needles::default(), |needles, other| {
        needles
            .with(Kind::Party, other.id.as_str())
            .with(Kind::Party, other.name.zh_cn)
            .with(Kind::Party, other.name.en)
    });
    let subjects = run.people.iter().map(|person| format!("sample-{}", person.key));
    subjects.fold(needles, |needles, subject| needles.with(Kind::Subject, subject))
}

fn bank_topics(run: &Run, bank: &BankId) -> Vec<Item> {
    let topics = [run.topics.request(bank), run.topics.reply(bank)];
    let records = topics.iter().flat_map(|topic| run.of(topic));
    let mut items: Vec<Item> = records.flat_map(record_items).collect();
    items.extend(topics.iter().map(|topic| Item::new(format!("name of {topic}"), topic.as_bytes())));
    items
}

#[test]
fn the_run_holds_everything_that_a_leak_could_be_in() {
    let run = shared();
    let empty: Vec<&String> = run.all_topics.iter().filter(|topic| run.of(topic).next().is_none()).collect();
    assert_eq!(empty, [""; 0], "all have records");
    assert_eq!(run.all_topics.len(), 37);

    // Every word of the seals was said, and cards were there to leak.
    let said: BTreeSet<_> = run
        .queries
        .iter()
        .flat_map(|query| &query.report.banks)
        .filter_map(|bank| bank.answer.as_ref().map(|answer| answer.kind().as_str_name()))
        .collect();
    let all: BTreeSet<_> =
        (1..).map_while(|kind| AnswerKind::try_from(kind).ok()).map(|kind| kind.as_str_name()).collect();
    assert_eq!(said, all);
    let numbers: BTreeMap<_, _> =
        run.card_numbers().into_iter().map(|(person, cards)| (person.key.as_str(), cards)).collect();
    let mut cards = 0;
    for query in &run.queries {
        for bank in &query.report.banks {
            let shown = bank.answer.iter().flat_map(|answer| &answer.cards);
            for card in shown {
                let fits =
                    |number: &String| number.starts_with(&card.first4) && number.ends_with(&card.last4);
                assert!(
                    numbers[query.person.as_str()][&bank.bank].iter().any(fits),
                    "a card nobody looks for"
                );
                cards += 1;
            }
        }
    }
    assert!(cards > 20, "{cards} cards");
    let outcomes: BTreeSet<_> =
        run.queries.iter().flat_map(|query| &query.report.banks).map(|b| b.outcome).collect();
    assert!(outcomes.contains(&BankOutcome::Unavailable), "{outcomes:?}");

    for (content, contact) in run.stored.values() {
        assert!(!content.segments.is_empty());
        for sealed in content.segments.values().chain([&contact.sealed]) {
            assert!(run.dump.contains(&hex::encode(sealed)), "the dump holds what is stored");
        }
    }
    for target in ["aggregator", "bank_connector", "librdkafka", "notifier", "plumbing", "producer"] {
        let from = |line: &&str| line.contains(&format!("\"target\":\"{target}"));
        assert!(
            run.logs.lines().any(|line| from(&line)),
            "no line of {target} in {} lines",
            run.logs.lines().count()
        );
    }
    assert!(run.logs.contains("\"level\":\"TRACE\""), "the logs are those of TRACE");
    let counted: Vec<&str> = run.metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    for metric in [
        aggregator::metric_names::REPLIES,
        bank_connector::metric_names::LOOKUP_SECONDS,
        notifier::metric_names::SMS,
        plumbing::metric_names::RECORDS_HANDLED,
        producer::metric_names::INTAKE,
    ] {
        assert!(counted.iter().any(|name| name.starts_with(metric)), "{metric} in {counted:#?}");
    }
    let documents = |text: &str| run.documents.iter().filter(|item| item.name.starts_with(text)).count();
    assert!(documents("status") >= 20 && documents("problem") >= 20);
}

#[test]
fn nothing_from_inside_the_seals_is_in_any_byte_that_the_hub_sees() {
    let run = shared();
    let corpus = run.corpus();
    let bytes: usize = corpus.iter().map(|item| item.bytes.len()).sum();
    assert!(bytes > 200_000, "{bytes} bytes are no run");
    let findings = Scanner::new(&secrets(run)).scan(&corpus);
    assert!(findings.is_empty(), "{} findings: {:#?}", findings.len(), &findings[..findings.len().min(20)]);
}

#[test]
fn logs_and_metrics_hold_no_pseudonym() {
    let run = shared();
    let subjects = run.queries.iter().map(|query| query.subject.clone());
    let needles = subjects.fold(Needles::default(), |needles, subject| needles.with(Kind::Subject, subject));
    let scanner = Scanner::new(&needles);
    let corpus = run.corpus();
    let told = |item: &&Item| item.name.starts_with("log line") || item.name == "metrics";
    let findings = scanner.scan(corpus.iter().filter(told));
    assert!(findings.is_empty(), "{findings:#?}");
    assert!(!scanner.scan(&corpus).is_empty(), "the hub's store and topics hold it");
}

/// The first address of the web in a text.
fn web_address(text: &[u8]) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    // Ciphertext holds every short run of bytes some day, and no long one.
    let marks = ["http://", "https://", "http%3a", "https%3a"];
    marks.into_iter().find(|mark| text.windows(mark.len()).any(|part| part == mark.as_bytes()))
}

#[test]
fn no_message_to_anybody_holds_an_address_of_the_web() {
    let run = shared();
    let mut outgoing: Vec<Item> = run.records.iter().flat_map(record_items).collect();
    outgoing.extend(run.documents.iter().cloned());
    outgoing.extend(run.queries.iter().map(|query| Item::new("sms", query.sms.as_bytes())));
    let answers = run.queries.iter().flat_map(|query| &query.report.banks);
    outgoing.extend(answers.map(|bank| Item::new("what a device shows", format!("{bank:?}").into_bytes())));
    for item in &outgoing {
        assert_eq!(web_address(&item.bytes), None, "{}", item.name);
    }
    for query in &run.queries {
        assert!(!query.sms.contains("://") && !query.sms.to_lowercase().contains("www."), "{}", query.sms);
        assert_eq!(web_address(format!("{} HTTPS://a.example", query.sms).as_bytes()), Some("https://"));
    }
}

/// One place of every sort.
fn places(run: &Run) -> Vec<Item> {
    let corpus = run.corpus();
    let bank = &run.banks[0];
    let of = |topic: &str, part: &str| format!("{topic}:{part}");
    let place = |begin: &str, end: &str| {
        let fits = |item: &&Item| item.name.starts_with(begin) && item.name.ends_with(end);
        corpus.iter().find(fits).unwrap_or_else(|| panic!("no {begin} … {end}")).clone()
    };
    let mut places: Vec<Item> = run
        .all_topics
        .iter()
        .filter(|topic| run.of(topic).next().is_some())
        .map(|topic| place(&of(topic, ""), " value"))
        .collect();
    places.push(place(&of(&run.topics.reply(bank), ""), " key"));
    places.push(place(&of(&run.topics.request(bank), ""), " header ce_source"));
    for name in ["store", "metrics", "status", "problem: body"] {
        places.push(place(name, name));
    }
    places.push(place("store ", "contact"));
    for target in ["aggregator", "bank_connector", "librdkafka", "notifier", "plumbing", "producer"] {
        let target = format!("\"target\":\"{target}");
        let line = run.logs.lines().find(|line| line.contains(&target)).expect("a line");
        places.push(Item::new(format!("log of {target}"), line));
    }
    places
}

/// A plant of every kind, from this run.
fn plants(run: &Run) -> Vec<(Kind, String)> {
    let (person, cards) =
        run.card_numbers().into_iter().find(|(_, cards)| !cards.is_empty()).expect("someone has cards");
    let number = cards.values().flatten().next().expect("a card").clone();
    let (first, last) = (&number[..4], &number[number.len() - 4..]);
    let mut plants = vec![
        (Kind::FirstAndLast, format!("{first}{last}")),
        (Kind::FirstAndLast, format!("{first} **** **** {last}")),
        (Kind::FirstAndLast, format!("\"first4\":\"{first}\",\"last4\":\"{last}\"")),
        (Kind::CardNumber, number),
        (Kind::Name, person.name.clone()),
        (Kind::DocumentNumber, person.document_number.clone()),
        (Kind::Phone, person.phone_e164()),
    ];
    let words = (1..).map_while(|kind| AnswerKind::try_from(kind).ok());
    plants
        .extend(words.map(|kind| {
            (Kind::SealedWord, kind.as_str_name().trim_start_matches("ANSWER_KIND_").to_owned())
        }));
    plants
}

/// `host` with a plant in its middle.
fn planted(host: &Item, plant: &[u8]) -> Item {
    let (front, back) = host.bytes.split_at(host.bytes.len() / 2);
    Item::new(host.name.clone(), [front, b" ", plant, b" ", back].concat())
}

fn assert_found(scanner: &Scanner, host: &Item, plants: &[(Kind, String)]) {
    /// Larger hosts get all plants of a kind at once.
    const LARGE: usize = 16 * 1024;
    for (kind, text) in plants {
        let written = plant::written(text);
        if host.bytes.len() > LARGE {
            let together: Vec<_> = written.iter().map(|(_, bytes)| bytes.as_slice()).collect();
            let findings = scanner.scan([&planted(host, &together.join(&b" \n "[..]))]);
            for encoding in written.iter().map(|(encoding, _)| *encoding).collect::<BTreeSet<Encoding>>() {
                let found =
                    findings.iter().any(|finding| (finding.kind, finding.encoding) == (*kind, encoding));
                assert!(found, "{kind:?} `{text}` as {encoding:?} in {}: {findings:?}", host.name);
            }
            continue;
        }
        for (encoding, bytes) in written {
            let findings = scanner.scan([&planted(host, &bytes)]);
            let found = findings.iter().any(|finding| (finding.kind, finding.encoding) == (*kind, encoding));
            assert!(found, "{kind:?} `{text}` as {encoding:?} in {}: {findings:?}", host.name);
        }
    }
}

#[test]
fn whatever_is_planted_anywhere_in_any_encoding_is_found() {
    let run = shared();
    let scanner = Scanner::new(&secrets(run));
    let plants = plants(run);
    for host in places(run) {
        assert_found(&scanner, &host, &plants);
    }
}

#[test]
fn the_topics_of_a_bank_hold_no_other_bank_and_no_subject() {
    let run = shared();
    for bank in &run.banks {
        let items = bank_topics(run, bank);
        assert!(items.len() > 10, "{bank}: {} items", items.len());
        let scanner = Scanner::new(&beyond_a_bank(run, bank));
        let findings = scanner.scan(&items);
        assert!(findings.is_empty(), "{bank}: {findings:#?}");
        let other = run.banks.iter().find(|other| *other != bank).expect("there are several");
        let plants = [(Kind::Party, other.to_string()), (Kind::Subject, run.queries[0].subject.clone())];
        for end in [" value", " key", " header ce_source"] {
            let host = items.iter().find(|item| item.name.ends_with(end)).expect("a record");
            assert_found(&scanner, host, &plants);
        }
    }
    // The needles are those that are elsewhere: the query topic holds both.
    let topic = run.topics.query(&run.queries[0].reference.upstream);
    let items: Vec<Item> = run.of(&topic).flat_map(record_items).collect();
    let kinds: BTreeSet<Kind> =
        Scanner::new(&beyond_a_bank(run, &run.banks[0])).scan(&items).into_iter().map(|f| f.kind).collect();
    assert_eq!(kinds, [Kind::Party, Kind::Subject].into());
}
