//! Proofs that others can check: that a leaf is in the log, and that a log went on from an earlier one (RFC 9162, sections
//! 2.1.3 and 2.1.4).
//!
//! They are made from perfect subtrees: `nodes(height, index)` gives the root over the leaves
//! `index · 2^height .. (index + 1) · 2^height`, from wherever the log is kept.

use std::ops::Range;

use crate::ids::Digest;
use crate::merkle;

/// Path of the leaf at `index` in the tree of the first `size` leaves, leaf side first. [`merkle::root_from_path`] checks it.
///
/// # Errors
/// What `nodes` says.
///
/// # Panics
/// When `index` is not below `size`.
pub fn inclusion<E>(
    index: u64,
    size: u64,
    mut nodes: impl FnMut(u32, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    assert!(index < size, "a leaf of the tree");
    let (mut tree, mut path) = (0..size, Vec::new());
    while tree.end - tree.start > 1 {
        let middle = middle(&tree);
        let sibling = if index < middle {
            let sibling = middle..tree.end;
            tree.end = middle;
            sibling
        } else {
            let sibling = tree.start..middle;
            tree.start = middle;
            sibling
        };
        path.push(root(sibling, &mut nodes)?);
    }
    path.reverse();
    Ok(path)
}

/// Proof that the tree of `to` leaves begins with that of `from` leaves. Empty when they are the same, or when `from` is 0.
///
/// # Errors
/// What `nodes` says.
///
/// # Panics
/// When `from` is above `to`.
pub fn consistency<E>(
    from: u64,
    to: u64,
    mut nodes: impl FnMut(u32, u64) -> Result<Digest, E>,
) -> Result<Vec<Digest>, E> {
    assert!(from <= to, "an earlier tree");
    if from == 0 {
        return Ok(Vec::new());
    }
    let (mut tree, mut path, mut whole) = (0..to, Vec::new(), true);
    while from < tree.end {
        let middle = middle(&tree);
        let sibling = if from <= middle {
            let sibling = middle..tree.end;
            tree.end = middle;
            sibling
        } else {
            whole = false;
            let sibling = tree.start..middle;
            tree.start = middle;
            sibling
        };
        path.push(root(sibling, &mut nodes)?);
    }
    if !whole {
        path.push(root(tree, &mut nodes)?);
    }
    path.reverse();
    Ok(path)
}

/// Whether `path` proves that the tree of `to.0` leaves with the root `to.1` begins with that of `from.0` leaves with the root
/// `from.1` (section 2.1.4.2).
pub fn is_consistent(from: (u64, Digest), to: (u64, Digest), path: &[Digest]) -> bool {
    let ((from_size, from_root), (to_size, to_root)) = (from, to);
    if from_size == 0 {
        return path.is_empty() && from_root == merkle::root(&[]);
    }
    if from_size >= to_size {
        return path.is_empty() && from == to;
    }
    // A perfect first tree is a node of the second one, and not said again.
    let first = from_size.is_power_of_two().then_some(from_root);
    let mut path = first.iter().chain(path);
    let Some(start) = path.next() else { return false };
    let shared = (from_size - 1).trailing_ones();
    let (mut node, mut last) = ((from_size - 1) >> shared, (to_size - 1) >> shared);
    let (mut old, mut new) = (*start, *start);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if node & 1 == 1 || node == last {
            old = merkle::node_hash(sibling, &old);
            new = merkle::node_hash(sibling, &new);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            new = merkle::node_hash(&new, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    last == 0 && old == from_root && new == to_root
}

/// The root over the first `size` leaves.
///
/// # Errors
/// What `nodes` says.
pub fn root_of<E>(size: u64, mut nodes: impl FnMut(u32, u64) -> Result<Digest, E>) -> Result<Digest, E> {
    if size == 0 { Ok(merkle::root(&[])) } else { root(0..size, &mut nodes) }
}

/// Where a tree parts: after the largest power of two below its size.
fn middle(tree: &Range<u64>) -> u64 {
    tree.start + (1 << (tree.end - tree.start - 1).ilog2())
}

/// The root over `range`, which is a subtree of the log: it begins at a multiple of a power of two that it fits into.
fn root<E>(range: Range<u64>, nodes: &mut impl FnMut(u32, u64) -> Result<Digest, E>) -> Result<Digest, E> {
    let (mut at, mut peaks) = (range.start, Vec::new());
    while at < range.end {
        let height = (range.end - at).ilog2();
        peaks.push(nodes(height, at >> height)?);
        at += 1 << height;
    }
    let root = peaks.into_iter().rev().reduce(|right, left| merkle::node_hash(&left, &right));
    Ok(root.unwrap_or_else(|| merkle::root(&[])))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;
    use tlog_tiles::tlog;

    use super::*;

    fn leaves(size: usize) -> Vec<Digest> {
        (0..size).map(|n| merkle::leaf_hash(&n.to_be_bytes())).collect()
    }

    fn nodes(leaves: &[Digest]) -> impl FnMut(u32, u64) -> Result<Digest, Infallible> + '_ {
        |height, index| {
            let (width, index) = (1usize << height, usize::try_from(index).expect("small"));
            Ok(merkle::root(&leaves[index * width..(index + 1) * width]))
        }
    }

    fn made<T>(result: Result<T, Infallible>) -> T {
        result.expect("never fails")
    }

    /// All hashes of a log in the order of the other implementation.
    struct Stored(Vec<tlog::Hash>);

    impl tlog::HashReader for Stored {
        fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog::Hash>, tlog::Error> {
            Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).expect("small")]).collect())
        }
    }

    fn stored(size: u64) -> Stored {
        let mut stored = Stored(Vec::new());
        for n in 0..size {
            let hashes = tlog::stored_hashes(n, &(n as usize).to_be_bytes(), &stored).expect("hashes");
            stored.0.extend(hashes);
        }
        stored
    }

    fn theirs(path: &[tlog::Hash]) -> Vec<Digest> {
        path.iter().map(|hash| Digest(hash.0)).collect()
    }

    #[test]
    fn proofs_and_roots_are_those_of_another_implementation_at_every_size() {
        const SIZE: u64 = 40;
        let (leaves, stored) = (leaves(SIZE as usize), stored(SIZE));
        for size in 1..=SIZE {
            let their_root = tlog::tree_hash(size, &stored).expect("a root");
            let our_root = made(root_of(size, nodes(&leaves)));
            assert_eq!(our_root, Digest(their_root.0), "{size}");
            assert_eq!(our_root, merkle::root(&leaves[..size as usize]), "{size}");
            for n in 0..size {
                let their_path = tlog::prove_record(size, n, &stored).expect("a path");
                assert_eq!(made(inclusion(n, size, nodes(&leaves))), theirs(&their_path), "{n} of {size}");
            }
            for from in 1..=size {
                let their_path = tlog::prove_tree(size, from, &stored).expect("a path");
                let path = made(consistency(from, size, nodes(&leaves)));
                assert_eq!(path, theirs(&their_path), "{from} to {size}");
                let roots = |n: u64| (n, merkle::root(&leaves[..n as usize]));
                assert!(is_consistent(roots(from), roots(size), &path), "{from} to {size}");
            }
        }
    }

    /// Section 2.1.5 of RFC 9162 draws a tree of seven leaves, and names the nodes of these proofs.
    #[test]
    fn proofs_are_those_of_the_rfcs_example() {
        let leaves = leaves(7);
        let root = |range: Range<usize>| merkle::root(&leaves[range]);
        let (a, b, c, d, e, f) = (leaves[0], leaves[1], leaves[2], leaves[3], leaves[4], leaves[5]);
        let (g, h, i, j) = (root(0..2), root(2..4), root(4..6), leaves[6]);
        let (k, l) = (root(0..4), root(4..7));
        let inclusions = [(0, vec![b, h, l]), (3, vec![c, g, l]), (4, vec![f, j, k]), (6, vec![i, k])];
        for (index, expected) in inclusions {
            assert_eq!(made(inclusion(index, 7, nodes(&leaves))), expected, "{index}");
        }
        let consistencies = [(3, vec![c, d, g, l]), (4, vec![l]), (6, vec![i, j, k])];
        for (from, expected) in consistencies {
            assert_eq!(made(consistency(from, 7, nodes(&leaves))), expected, "{from}");
        }
        assert_ne!(a, e);
    }

    #[test]
    fn every_log_begins_with_the_empty_one() {
        let empty = merkle::root(&[]);
        assert_eq!(made(consistency(0, 7, nodes(&leaves(7)))), []);
        assert!(is_consistent((0, empty), (7, Digest([1; 32])), &[]));
        assert!(is_consistent((0, empty), (0, empty), &[]));
        assert!(!is_consistent((0, Digest([1; 32])), (7, Digest([1; 32])), &[]));
        assert!(!is_consistent((0, empty), (7, Digest([1; 32])), &[empty]));
    }

    proptest! {
        #[test]
        fn a_proof_of_consistency_holds_for_its_own_trees_alone(
            to in 2u64..300,
            from in any::<prop::sample::Index>(),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            let from = 1 + from.index(to as usize) as u64;
            let leaves = leaves(to as usize);
            let root = |size: u64| merkle::root(&leaves[..size as usize]);
            let path = made(consistency(from, to, nodes(&leaves)));
            let (first, second) = ((from, root(from)), (to, root(to)));
            prop_assert!(is_consistent(first, second, &path));
            let flip = |digest: Digest| {
                let mut bytes = digest.0;
                bytes[at.index(32)] ^= 1 << bit;
                Digest(bytes)
            };
            prop_assert!(!is_consistent((from, flip(first.1)), second, &path));
            prop_assert!(!is_consistent(first, (to, flip(second.1)), &path));
            let mut longer = path.clone();
            longer.push(second.1);
            prop_assert!(!is_consistent(first, second, &longer));
            if let Some((_, shorter)) = path.split_last() {
                prop_assert!(!is_consistent(first, second, shorter));
                let mut other = path.clone();
                let place = at.index(other.len());
                other[place] = flip(other[place]);
                prop_assert!(!is_consistent(first, second, &other));
            }
            if from > 1 {
                prop_assert!(!is_consistent((from - 1, first.1), second, &path));
            }
        }
    }
}
