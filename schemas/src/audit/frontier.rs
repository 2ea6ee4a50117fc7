//! The right edge of a Merkle tree: enough to add leaves and to know the root.

use crate::codes::Code;
use crate::ids::Digest;
use crate::merkle;

/// A tree that only grows, kept as the roots of its perfect subtrees, the largest first: one for each bit of its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Digest>,
}

impl Frontier {
    /// A tree of `size` leaves from the roots of its perfect subtrees.
    ///
    /// # Errors
    /// `MESSAGE_MALFORMED` when there is not one root for each bit of `size`.
    pub fn new(size: u64, peaks: Vec<Digest>) -> Result<Self, Code> {
        if peaks.len() != size.count_ones() as usize {
            return Err(Code::MESSAGE_MALFORMED);
        }
        Ok(Self { size, peaks })
    }

    /// Leaves so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the perfect subtrees, the largest first.
    pub fn peaks(&self) -> &[Digest] {
        &self.peaks
    }

    /// Adds a leaf by its hash ([`merkle::leaf_hash`]).
    pub fn push(&mut self, leaf: Digest) {
        let mut node = leaf;
        // Every trailing one is a perfect subtree as high as the new one.
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("one peak for each bit of the size");
            node = merkle::node_hash(&left, &node);
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The root (RFC 9162, section 2.1.1).
    pub fn root(&self) -> Digest {
        self.peaks
            .iter()
            .rev()
            .copied()
            .reduce(|right, left| merkle::node_hash(&left, &right))
            .unwrap_or_else(|| merkle::root(&[]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_root_is_that_of_the_whole_tree_at_every_size() {
        let leaves: Vec<Digest> = (0..300u32).map(|n| merkle::leaf_hash(&n.to_be_bytes())).collect();
        let mut frontier = Frontier::default();
        for size in 0..leaves.len() {
            assert_eq!(frontier.size(), size as u64);
            assert_eq!(frontier.root(), merkle::root(&leaves[..size]), "{size} leaves");
            assert_eq!(Frontier::new(frontier.size(), frontier.peaks().to_vec()), Ok(frontier.clone()));
            frontier.push(leaves[size]);
        }
    }

    #[test]
    fn peaks_that_do_not_fit_the_size_are_refused() {
        for (size, peaks) in [(0, 1), (1, 0), (3, 1), (4, 2), (7, 4)] {
            assert_eq!(Frontier::new(size, vec![Digest([0; 32]); peaks]), Err(Code::MESSAGE_MALFORMED));
        }
    }
}
