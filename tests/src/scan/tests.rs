use super::*;

const CARD: &str = "6299010000000000018";

fn needles() -> Needles {
    Needles::default()
        .with_card(CARD)
        .with(Kind::Name, "王样一")
        .with(Kind::DocumentNumber, "310000199003070025")
        .with(Kind::Phone, "13800000001")
        .with(Kind::Subject, "sample-wang")
        .with(Kind::Party, "anhe")
        .with_sealed_words()
}

/// A plant of every kind.
const PLANTS: [(Kind, &str); 14] = [
    (Kind::CardNumber, CARD),
    (Kind::Name, "王样一"),
    (Kind::DocumentNumber, "310000199003070025"),
    (Kind::Phone, "+8613800000001"),
    (Kind::Subject, "sample-wang"),
    (Kind::Party, "anhe"),
    (Kind::FirstAndLast, "62990018"),
    (Kind::FirstAndLast, "6299 **** 0018"),
    (Kind::FirstAndLast, r#""first4":"6299","last4":"0018""#),
    (Kind::FirstAndLast, "6299 0100 0000 0018"),
    (Kind::SealedWord, "NO_CARDS"),
    (Kind::SealedWord, "CARDS"),
    (Kind::SealedWord, "IneligibleNoPhone"),
    (Kind::SealedWord, "withheld"),
];

fn found(bytes: &[u8]) -> Vec<(Kind, Encoding)> {
    let findings = Scanner::new(&needles()).scan([&Item::new("here", bytes)]);
    findings.into_iter().map(|finding| (finding.kind, finding.encoding)).collect()
}

#[test]
fn every_kind_is_found_in_every_encoding() {
    for (kind, text) in PLANTS {
        for (encoding, bytes) in plant::written(text) {
            for around in [["", ""], ["{\"msg\":\"", "\"}"], ["\u{1}\u{4}", "\u{2}"]] {
                let host = [around[0].as_bytes(), &bytes, around[1].as_bytes()].concat();
                let found = found(&host);
                let shown = String::from_utf8_lossy(&host).into_owned();
                assert!(
                    found.contains(&(kind, encoding)),
                    "{kind:?} as {encoding:?} in {shown:?}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn a_pair_is_found_in_protobuf() {
    let card =
        schemas::wire::Card { first4: "6299".to_owned(), last4: "0018".to_owned(), ..Default::default() };
    let bytes = prost::Message::encode_to_vec(&card);
    assert_eq!(found(&bytes), [(Kind::FirstAndLast, Encoding::Raw)]);
    let printed = br#"Card { kind: 1, first4: "6299", last4: "0018", pan_length: 19 }"#;
    assert_eq!(found(printed), [(Kind::FirstAndLast, Encoding::Raw)]);
}

#[test]
fn what_only_looks_alike_is_not_found() {
    for harmless in [
        "6299",
        "0018",
        "6299 at noon, and seventeen or more bytes later 0018",
        "a662990018f1",
        "id=62991000180018",
        "16299 0018",
        "cardquery.request.beichuan.v1",
        "cards are counted by the device",
        "DISCARDS",
        "NO_CARDS_LEFT",
        "Withholding",
        "CONSENT_BANKS_MISMATCH",
        "INELIGIBLE_NO_PHONES",
    ] {
        assert_eq!(found(harmless.as_bytes()), [], "{harmless}");
    }
}

#[test]
fn a_finding_names_place_needle_and_surroundings() {
    let items = [Item::new("first", "nothing"), Item::new("second", "the name is 王样一, they say")];
    let findings = Scanner::new(&needles()).scan(&items);
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].item.as_str(), findings[0].needle.as_str()), ("second", "王样一"));
    assert_eq!(findings[0].context, "the name is 王样一, they say");
}
