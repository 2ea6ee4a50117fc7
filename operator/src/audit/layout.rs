//! Where things lie in an export: C2SP tlog-tiles, and two folders of our own beside it.
//!
//! ```text
//! checkpoint                       the largest checkpoint
//! checkpoints/x001/234             every checkpoint of 1234 leaves
//! tile/entries/x001/067            leaves 1067·256 and on, each after its length, u16-BE
//! tile/0/x001/067                  their hashes, 32 bytes each
//! tile/1/004                       the roots of 256 such tiles; tile/2/… of 256 of those; and so on
//! tile/0/x001/068.p/5              the last tile of a level, as long as it has fewer than 256 hashes
//! registry/entries.jsonl           who is the hub, and who are the banks
//! export.json                      where to read on; of no weight to a verifier
//! ```

use schemas::ids::Digest;

/// Hashes in a full tile, leaves in a full bundle.
pub const WIDTH: u64 = 256;
/// The latest checkpoint.
pub const CHECKPOINT: &str = "checkpoint";
/// Folder of all checkpoints.
pub const CHECKPOINTS: &str = "checkpoints";
/// Registry entries, one JSON object a line.
pub const REGISTRY: &str = "registry/entries.jsonl";
/// Where the next export reads on.
pub const STATE: &str = "export.json";

/// Files that come in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// Bundles of entries.
    Entries,
    /// Tiles of a level.
    Tile(u8),
}

impl Row {
    /// Path of the file at `index` with `width` items, 1 to 256.
    pub fn path(self, index: u64, width: u64) -> String {
        let full = self.full(index);
        if width == WIDTH { full } else { format!("{full}.p/{width}") }
    }

    /// Folder of the partial files at `index`.
    pub fn partials(self, index: u64) -> String {
        format!("{}.p", self.full(index))
    }

    fn full(self, index: u64) -> String {
        let number = number(index);
        match self {
            Self::Entries => format!("tile/entries/{number}"),
            Self::Tile(level) => format!("tile/{level}/{number}"),
        }
    }
}

/// Path of the file of the checkpoints of `size` leaves.
pub fn checkpoints(size: u64) -> String {
    format!("{CHECKPOINTS}/{}", number(size))
}

/// Three digits a folder, all but the last after an `x`: `x001/x234/067`.
fn number(n: u64) -> String {
    let mut text = format!("{:03}", n % 1000);
    let mut rest = n / 1000;
    while rest > 0 {
        text = format!("x{:03}/{text}", rest % 1000);
        rest /= 1000;
    }
    text
}

/// Reads what `number` wrote; every number has one spelling.
pub fn parse_number(text: &str) -> Option<u64> {
    let digits: String = text.split('/').map(|group| group.strip_prefix('x').unwrap_or(group)).collect();
    let n = digits.parse().ok()?;
    (number(n) == text).then_some(n)
}

/// The bytes of a tile.
pub fn tile(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.0).collect()
}

/// The hashes of a tile; `None` when a piece is left.
pub fn hashes(tile: &[u8]) -> Option<Vec<Digest>> {
    let (hashes, rest) = tile.as_chunks::<32>();
    rest.is_empty().then(|| hashes.iter().copied().map(Digest).collect())
}

/// The bytes of a bundle.
///
/// # Panics
/// When a leaf is longer than 65,535 bytes, which none is.
pub fn bundle<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for leaf in leaves {
        bytes.extend_from_slice(&u16::try_from(leaf.len()).expect("leaves are short").to_be_bytes());
        bytes.extend_from_slice(leaf);
    }
    bytes
}

/// The leaves of a bundle, each with the place of its first byte in the file.
#[derive(Debug, PartialEq, Eq)]
pub struct Entries<'a> {
    /// Every whole leaf.
    pub leaves: Vec<(usize, &'a [u8])>,
    /// Where a leaf begins that is not whole.
    pub torn_at: Option<usize>,
}

/// Reads a bundle as far as it goes.
pub fn entries(bundle: &[u8]) -> Entries<'_> {
    let (mut at, mut leaves) = (0, Vec::new());
    while at < bundle.len() {
        let leaf = bundle[at..].split_first_chunk::<2>().and_then(|(length, rest)| {
            let length = usize::from(u16::from_be_bytes(*length));
            rest.get(..length)
        });
        let Some(leaf) = leaf else {
            return Entries { leaves, torn_at: Some(at) };
        };
        leaves.push((at, leaf));
        at += 2 + leaf.len();
    }
    Entries { leaves, torn_at: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_specification() {
        assert_eq!(Row::Tile(0).path(1_234_067, 256), "tile/0/x001/x234/067");
        assert_eq!(Row::Entries.path(0, 256), "tile/entries/000");
        assert_eq!(Row::Tile(2).path(999, 17), "tile/2/999.p/17");
        assert_eq!(Row::Entries.partials(1000), "tile/entries/x001/000.p");
        assert_eq!(checkpoints(70_000), "checkpoints/x070/000");
    }

    #[test]
    fn a_number_reads_as_it_was_written_and_has_one_spelling() {
        for n in [0, 7, 999, 1000, 1_234_067, 999_999, 1_000_000, u64::MAX] {
            assert_eq!(parse_number(&number(n)), Some(n));
        }
        for other in ["", "7", "x001", "001/234", "x000/123", "x001/x234", "0001", "+01", "x001//234"] {
            assert_eq!(parse_number(other), None, "{other}");
        }
    }

    #[test]
    fn a_bundle_reads_as_far_as_it_is_whole() {
        let leaves: [&[u8]; 3] = [b"one", b"", b"three"];
        let bytes = bundle(leaves);
        assert_eq!(entries(&bytes).leaves, [(0, leaves[0]), (5, leaves[1]), (7, leaves[2])]);
        for end in 0..bytes.len() {
            let read = entries(&bytes[..end]);
            let whole = [5, 7, 14].iter().filter(|boundary| **boundary <= end).count();
            assert_eq!(read.leaves.len(), whole, "{end}");
            let boundary = [0, 5, 7].contains(&end);
            assert_eq!(read.torn_at.is_none(), boundary, "{end}");
        }
    }
}
