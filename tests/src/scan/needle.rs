//! What is looked for.

use std::collections::BTreeSet;

use cardquery::sample;
use schemas::wire::AnswerKind;

/// What kind of thing must not be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A full card number.
    CardNumber,
    /// A person's name.
    Name,
    /// The number of an identity document.
    DocumentNumber,
    /// A phone number.
    Phone,
    /// First and last four digits of a card, near each other.
    FirstAndLast,
    /// What a bank says inside the seal.
    SealedWord,
    /// The id of another party.
    Party,
    /// A person's pseudonym.
    Subject,
}

/// Everything that is looked for.
///
/// What counts:
/// - **Card numbers, names, document numbers, phones, pseudonyms, party ids**: the bytes, wherever they stand.
/// - **First and last four digits** of one card: never four digits alone. `62991234`, if no letter or digit touches
///   it; or both with up to 16 bytes between them that begin and end with something other than a letter or a digit,
///   as in `6299 **** 1234`, `"first4":"6299","last4":"1234"` and protobuf. The first four are not the end of a longer
///   number. So digits within hex or base64 text do not count as such; they count when that text, decoded, holds a
///   pair.
/// - **Sealed words**: as whole words, which letters, digits and `_` extend, in each spelling of a program:
///   `NO_CARDS`, `NoCards`, `no_cards`, `No_Cards`, `ANSWER_KIND_NO_CARDS`. `CARDS` counts in capitals, as `Cards`
///   (the name of the variant) and with its prefix; `cards` is a word of any text about cards and does not.
#[derive(Clone, Debug, Default)]
pub struct Needles {
    pub(super) texts: BTreeSet<Text>,
    pub(super) pairs: BTreeSet<([u8; 4], [u8; 4])>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) whole_word: bool,
}

impl Needles {
    /// Adds a text that must not be there.
    ///
    /// # Panics
    /// For [`Kind::FirstAndLast`], which is not one text, and for texts of fewer than four bytes: they occur by chance.
    #[must_use]
    pub fn with(mut self, kind: Kind, text: impl Into<String>) -> Self {
        let text = text.into();
        assert!(text.len() >= 4, "`{text}` is too short to look for");
        assert_ne!(kind, Kind::FirstAndLast);
        self.texts.insert(Text { kind, text, whole_word: false });
        self
    }

    /// Adds a card: its number, and its first and last four digits as a pair.
    ///
    /// # Panics
    /// If it is no card number.
    #[must_use]
    pub fn with_card(mut self, number: &str) -> Self {
        let (first, last) = first_and_last(number);
        self.pairs.insert((first, last));
        self.with(Kind::CardNumber, number)
    }

    /// What the people of the sample are known by, and their cards as `seed` decides them.
    #[must_use]
    pub fn of_sample(seed: u64) -> Self {
        let mut needles = Self::default();
        for person in sample::core::people() {
            needles = needles
                .with(Kind::Name, &person.name)
                .with(Kind::DocumentNumber, &person.document_number)
                .with(Kind::Phone, &person.phone);
            for number in sample::core::card_numbers(&person, seed).values().flatten() {
                needles = needles.with_card(number);
            }
        }
        needles
    }

    /// Adds every word that a bank can say inside the seal, in its spellings.
    #[must_use]
    pub fn with_sealed_words(mut self) -> Self {
        for number in 1.. {
            let Ok(kind) = AnswerKind::try_from(number) else { break };
            for text in spellings(kind.as_str_name()) {
                self.texts.insert(Text { kind: Kind::SealedWord, text, whole_word: true });
            }
        }
        self
    }

    /// The texts of a kind that are looked for.
    pub fn texts(&self, kind: Kind) -> Vec<&str> {
        self.texts.iter().filter(|text| text.kind == kind).map(|text| text.text.as_str()).collect()
    }
}

/// First and last four digits.
///
/// # Panics
/// If it is no card number.
pub(super) fn first_and_last(number: &str) -> ([u8; 4], [u8; 4]) {
    assert!(number.len() >= 12 && number.bytes().all(|byte| byte.is_ascii_digit()), "a card number");
    let four = |at: usize| number.as_bytes()[at..at + 4].try_into().expect("four bytes are four bytes");
    (four(0), four(number.len() - 4))
}

fn spellings(wire_name: &str) -> BTreeSet<String> {
    let word = wire_name.strip_prefix("ANSWER_KIND_").expect("the prefix of the enum");
    let title = |part: &str| part[..1].to_owned() + &part[1..].to_lowercase();
    let parts: Vec<String> = word.split('_').map(title).collect();
    let mut all = BTreeSet::from([
        wire_name.to_owned(),
        wire_name.to_lowercase(),
        word.to_owned(),
        word.to_lowercase(),
        parts.concat(),
        parts.join("_"),
    ]);
    all.remove("cards");
    all
}
