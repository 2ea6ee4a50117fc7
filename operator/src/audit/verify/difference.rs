//! Pure: what happened where a bundle and its tile differ.

use schemas::ids::Digest;

use crate::audit::codes::Code;

/// The first place where a bundle and its tile differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Place within the bundle.
    pub(super) at: usize,
    /// What happened there.
    pub(super) code: Code,
    /// The particulars.
    pub(super) text: String,
}

/// Compares the hashes of the entries found in a bundle that should have `width` with those of its tile. `first` is the index of
/// the bundle's first entry.
pub(super) fn first(found: &[Digest], tile: &[Digest], width: usize, first: u64) -> Option<Difference> {
    let longest = found.len().max(tile.len()).max(width);
    let at = (0..longest).find(|at| *at >= width || found.get(*at) != tile.get(*at) || *at >= found.len())?;
    let index = |at: usize| first + at as u64;
    let (code, text) = match (found.get(at), tile.get(at)) {
        (Some(_), _) if at >= width => {
            (Code::BUNDLE_TOO_LONG, format!("the bundle holds {} entries instead of {width}", found.len()))
        }
        (None, _) => (Code::BUNDLE_TRUNCATED, format!("the bundle holds {at} entries instead of {width}")),
        (Some(own), Some(other)) => {
            let moved_up = common(&found[at..], &tile[at + 1..]);
            let moved_down = common(&found[at + 1..], &tile[at..]);
            let place = |list: &[Digest], hash| list[at + 1..].iter().position(|other| *other == hash);
            match (place(tile, *own), place(found, *other)) {
                (Some(a), Some(b)) if a == b && moved_up <= 1 && moved_down <= 1 => {
                    (Code::LEAVES_SWAPPED, format!("with entry {}", index(at + 1 + a)))
                }
                _ if moved_up > 0 && moved_up + at + 1 == tile.len().min(found.len() + 1) => {
                    (Code::LEAF_MISSING, "the entries behind it moved up".to_owned())
                }
                _ if moved_down > 0 && moved_down + at + 1 >= tile.len().min(found.len()) => {
                    (Code::LEAF_ADDED, "the entries behind it moved down".to_owned())
                }
                _ => (Code::LEAF_HASH_MISMATCH, format!("its hash is {own}, and the tile has {other}")),
            }
        }
        // The tile is shorter, which is told of the tile.
        (Some(_), None) => return None,
    };
    Some(Difference { at, code, text })
}

/// How many items two lists begin with in common.
fn common(a: &[Digest], b: &[Digest]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(names: &str) -> Vec<Digest> {
        names.bytes().map(|name| Digest([name; 32])).collect()
    }

    #[test]
    fn what_happened_is_told_from_the_hashes_around_it() {
        let cases = [
            ("abcdef", None),
            ("abXdef", Some((2, Code::LEAF_HASH_MISMATCH))),
            ("abdef", Some((2, Code::LEAF_MISSING))),
            ("abdefG", Some((2, Code::LEAF_MISSING))),
            ("abXcde", Some((2, Code::LEAF_ADDED))),
            ("abXcdef", Some((2, Code::LEAF_ADDED))),
            ("abbcdef", Some((2, Code::LEAF_ADDED))),
            ("abedcf", Some((2, Code::LEAVES_SWAPPED))),
            ("acbdef", Some((1, Code::LEAVES_SWAPPED))),
            ("abcdfe", Some((4, Code::LEAVES_SWAPPED))),
            ("bacdef", Some((0, Code::LEAVES_SWAPPED))),
            ("abcd", Some((4, Code::BUNDLE_TRUNCATED))),
            ("", Some((0, Code::BUNDLE_TRUNCATED))),
            ("abcdefg", Some((6, Code::BUNDLE_TOO_LONG))),
            ("abcdeX", Some((5, Code::LEAF_HASH_MISMATCH))),
        ];
        for (found, expected) in cases {
            let difference = first(&hashes(found), &hashes("abcdef"), 6, 0);
            assert_eq!(difference.map(|it| (it.at, it.code)), expected, "{found}");
        }
        let swapped = first(&hashes("abedcf"), &hashes("abcdef"), 6, 512).expect("a difference");
        assert_eq!(swapped.text, "with entry 516");
    }
}
