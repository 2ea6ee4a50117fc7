//! Looks for all needles at once: the first two bytes rule most places out, the first four nearly all others.

use std::collections::HashMap;
use std::fmt;

use super::Item;
use super::needle::{Kind, Needles};
use super::view::{Encoding, views};

/// Bytes between the first and the last four digits, at most.
const PAIR_GAP: usize = 16;

/// Looks for needles.
pub struct Scanner {
    patterns: Vec<Pattern>,
    begins: Box<[bool]>,
    by_first_four: HashMap<[u8; 4], Vec<usize>>,
}

struct Pattern {
    kind: Kind,
    label: String,
    encoding: Option<Encoding>,
    shape: Shape,
}

enum Shape {
    Bytes { bytes: Vec<u8>, whole_word: bool },
    Pair { first: [u8; 4], last: [u8; 4] },
}

/// Something that must not be there.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Where: the name of the item.
    pub item: String,
    /// What kind of thing.
    pub kind: Kind,
    /// The needle.
    pub needle: String,
    /// As what.
    pub encoding: Encoding,
    /// What stands around it, readable.
    pub context: String,
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { item, kind, needle, encoding, context } = self;
        write!(f, "{item}: {kind:?} `{needle}` as {encoding:?}: …{context}…")
    }
}

impl Scanner {
    /// A scanner for these needles.
    pub fn new(needles: &Needles) -> Self {
        let mut patterns = Vec::new();
        for text in &needles.texts {
            let mut add = |bytes: Vec<u8>, encoding| {
                patterns.push(Pattern {
                    kind: text.kind,
                    label: text.text.clone(),
                    encoding,
                    shape: Shape::Bytes { bytes, whole_word: text.whole_word },
                });
            };
            add(text.text.as_bytes().to_vec(), None);
            // ASCII is found with its zeros squeezed out.
            if !text.text.is_ascii() {
                let units = || text.text.encode_utf16();
                add(units().flat_map(u16::to_le_bytes).collect(), Some(Encoding::Utf16));
                add(units().flat_map(u16::to_be_bytes).collect(), Some(Encoding::Utf16));
            }
        }
        for (first, last) in &needles.pairs {
            let label = format!("{}…{}", String::from_utf8_lossy(first), String::from_utf8_lossy(last));
            let shape = Shape::Pair { first: *first, last: *last };
            patterns.push(Pattern { kind: Kind::FirstAndLast, label, encoding: None, shape });
        }
        let mut begins = vec![false; 1 << 16].into_boxed_slice();
        let mut by_first_four: HashMap<[u8; 4], Vec<usize>> = HashMap::new();
        for (index, pattern) in patterns.iter().enumerate() {
            let four = pattern.shape.first_four();
            begins[begin(four[0], four[1])] = true;
            by_first_four.entry(four).or_default().push(index);
        }
        Self { patterns, begins, by_first_four }
    }

    /// Everything that is found in `items`; each needle once per item and encoding.
    pub fn scan<'a>(&self, items: impl IntoIterator<Item = &'a Item>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for item in items {
            views(&item.bytes, |encoding, _, view| self.scan_view(item, encoding, view, &mut findings));
        }
        findings.sort();
        findings.dedup_by(|a, b| {
            (&a.item, a.kind, &a.needle, a.encoding) == (&b.item, b.kind, &b.needle, b.encoding)
        });
        findings
    }

    fn scan_view(&self, item: &Item, encoding: Encoding, view: &[u8], findings: &mut Vec<Finding>) {
        for at in 0..view.len().saturating_sub(3) {
            if !self.begins[begin(view[at], view[at + 1])] {
                continue;
            }
            let four = [view[at], view[at + 1], view[at + 2], view[at + 3]];
            for index in self.by_first_four.get(&four).into_iter().flatten() {
                let pattern = &self.patterns[*index];
                if pattern.shape.is_at(view, at) {
                    let around = &view[at.saturating_sub(40)..view.len().min(at + 60)];
                    findings.push(Finding {
                        item: item.name.clone(),
                        kind: pattern.kind,
                        needle: pattern.label.clone(),
                        encoding: pattern.encoding.filter(|_| encoding == Encoding::Raw).unwrap_or(encoding),
                        context: String::from_utf8_lossy(around).into_owned(),
                    });
                }
            }
        }
    }
}

fn begin(first: u8, second: u8) -> usize {
    usize::from(first) << 8 | usize::from(second)
}

impl Shape {
    fn first_four(&self) -> [u8; 4] {
        match self {
            Self::Bytes { bytes, .. } => [bytes[0], bytes[1], bytes[2], bytes[3]],
            Self::Pair { first, .. } => *first,
        }
    }

    fn is_at(&self, view: &[u8], at: usize) -> bool {
        match self {
            Self::Bytes { bytes, whole_word } => {
                let end = at + bytes.len();
                view[at..].starts_with(bytes)
                    && !(*whole_word
                        && (before(view, at).is_some_and(is_word)
                            || view.get(end).copied().is_some_and(is_word)))
            }
            Self::Pair { last, .. } => is_pair(view, at, *last),
        }
    }
}

fn is_pair(view: &[u8], at: usize, last: [u8; 4]) -> bool {
    let end = at + 4;
    let alone = |byte: Option<u8>| !byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let packed =
        view[end..].starts_with(&last) && alone(before(view, at)) && alone(view.get(end + 4).copied());
    let apart = || {
        !before(view, at).is_some_and(|byte| byte.is_ascii_digit())
            && alone(view.get(end).copied())
            && (1..=PAIR_GAP).any(|gap| {
                view.get(end + gap..).is_some_and(|rest| rest.starts_with(&last))
                    && alone(view.get(end + gap - 1).copied())
            })
    };
    packed || apart()
}

fn before(view: &[u8], at: usize) -> Option<u8> {
    at.checked_sub(1).map(|at| view[at])
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
