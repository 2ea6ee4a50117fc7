//! Readings of bytes: what they may be an encoding of.

/// How bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// As they are.
    Raw,
    /// Hexadecimal digits of either case.
    Hex,
    /// Base64, standard or for URLs, padded or not.
    Base64,
    /// UTF-16 of either byte order.
    Utf16,
    /// Escapes of Rust, JSON or URLs: `\xe7`, `\u738b`, `\u{738b}`, `%E7`.
    Escaped,
    /// A list of numbers, as `Debug` prints bytes: `[231, 142, 139]`.
    Numbers,
}

/// Shorter runs hold no needle.
const SHORTEST_HEX: usize = 8;
const SHORTEST_BASE64: usize = 6;
const SHORTEST_LIST: usize = 4;

/// Hands every reading of `bytes` to `each`, with the offset of its beginning.
///
/// Runs are read at every alignment, so that it does not matter where in an encoded text the needle begins. A reading
/// is not read again in other ways, except as UTF-16.
pub(super) fn views(bytes: &[u8], mut each: impl FnMut(Encoding, usize, &[u8])) {
    let mut both = |encoding, at, view: &[u8]| {
        each(encoding, at, view);
        // ASCII in UTF-16 of either order is ASCII with zeros between.
        if view.contains(&0) {
            let squeezed: Vec<u8> = view.iter().copied().filter(|byte| *byte != 0).collect();
            each(if encoding == Encoding::Raw { Encoding::Utf16 } else { encoding }, at, &squeezed);
        }
    };
    both(Encoding::Raw, 0, bytes);
    let mut decoded = Vec::new();
    for (at, run) in runs(bytes, |byte| byte.is_ascii_hexdigit(), SHORTEST_HEX) {
        for skip in 0..2 {
            decoded.clear();
            decoded.extend(
                run[skip..].as_chunks::<2>().0.iter().map(|[high, low]| nibble(*high) << 4 | nibble(*low)),
            );
            both(Encoding::Hex, at + skip, &decoded);
        }
    }
    for (at, run) in runs(bytes, |byte| sextet(byte).is_some(), SHORTEST_BASE64) {
        for skip in 0..4 {
            decode_base64(&run[skip..], &mut decoded);
            both(Encoding::Base64, at + skip, &decoded);
        }
    }
    if bytes.iter().any(|byte| matches!(byte, b'\\' | b'%')) {
        both(Encoding::Escaped, 0, &unescape(bytes));
    }
    for (at, list) in lists(bytes) {
        both(Encoding::Numbers, at, &list);
    }
}

/// The longest stretches of bytes that fit.
fn runs(bytes: &[u8], fits: impl Fn(u8) -> bool, shortest: usize) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let begin = at;
            while at < bytes.len() && fits(bytes[at]) {
                at += 1;
            }
            let run = &bytes[begin..at];
            at += 1;
            if run.len() >= shortest {
                return Some((begin, run));
            }
        }
        None
    })
}

fn nibble(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

fn decode_base64(digits: &[u8], decoded: &mut Vec<u8>) {
    decoded.clear();
    let (mut bits, mut held) = (0, 0u32);
    for sextet in digits.iter().filter_map(|digit| sextet(*digit)) {
        held = held << 6 | u32::from(sextet);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            decoded.push((held >> bits & 0xff) as u8);
        }
    }
}

fn unescape(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut surrogate = None;
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'\\', [b'x', digits @ ..]) | (b'%', digits) if hex(digits, 2).is_some() => {
                plain.extend(hex(digits, 2).map(|value| value as u8));
                &digits[2..]
            }
            (b'\\', [b'u', b'{', digits @ ..]) => {
                let length = digits.iter().take_while(|digit| digit.is_ascii_hexdigit()).count().min(6);
                push(&mut plain, hex(digits, length));
                digits[length..].strip_prefix(b"}").unwrap_or(&digits[length..])
            }
            (b'\\', [b'u', digits @ ..]) if hex(digits, 4).is_some() => {
                let unit = hex(digits, 4).unwrap_or_default();
                match (surrogate.take(), unit) {
                    (_, 0xd800..0xdc00) => surrogate = Some(unit),
                    (Some(high), 0xdc00..0xe000) => {
                        push(&mut plain, Some(0x1_0000 + ((high - 0xd800) << 10) + (unit - 0xdc00)));
                    }
                    (_, unit) => push(&mut plain, Some(unit)),
                }
                &digits[4..]
            }
            (b'\\', [escaped, after @ ..]) => {
                plain.push(match escaped {
                    b'0' => 0,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => *other,
                });
                after
            }
            (byte, after) => {
                plain.push(*byte);
                after
            }
        };
    }
    plain
}

fn hex(digits: &[u8], length: usize) -> Option<u32> {
    let digits = digits.get(..length)?;
    if length == 0 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    Some(digits.iter().fold(0, |value, digit| value << 4 | u32::from(nibble(*digit))))
}

fn push(plain: &mut Vec<u8>, scalar: Option<u32>) {
    let scalar = scalar.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
    plain.extend(scalar.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Numbers below 256 with commas between them.
fn lists(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    runs(bytes, |byte| byte.is_ascii_digit() || matches!(byte, b',' | b' ' | b'\n'), 2 * SHORTEST_LIST - 1)
        .filter(|(_, run)| run.contains(&b','))
        .flat_map(|(at, run)| {
            let numbers = run.split(|byte| *byte == b',').map(|number| {
                let digits = std::str::from_utf8(number).ok()?.trim();
                digits.parse::<u8>().ok()
            });
            let numbers: Vec<Option<u8>> = numbers.collect();
            let lists: Vec<Vec<u8>> = numbers
                .split(Option::is_none)
                .filter(|list| list.len() >= SHORTEST_LIST)
                .map(|list| list.iter().flatten().copied().collect())
                .collect();
            lists.into_iter().map(move |list| (at, list))
        })
}
