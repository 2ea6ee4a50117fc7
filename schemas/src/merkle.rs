//! Merkle trees with the hashing of RFC 9162, section 2.1.

use sha2::{Digest as _, Sha256};

use crate::ids::Digest;

/// Hash of a leaf: SHA-256(0x00 ‖ leaf).
pub fn leaf_hash(leaf: &[u8]) -> Digest {
    Digest(Sha256::new().chain_update([0]).chain_update(leaf).finalize().into())
}

/// Hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &Digest, right: &Digest) -> Digest {
    Digest(Sha256::new().chain_update([1]).chain_update(left.0).chain_update(right.0).finalize().into())
}

/// Root over leaf hashes (section 2.1.1). The root of no leaves is SHA-256 of nothing.
pub fn root(leaves: &[Digest]) -> Digest {
    match leaves {
        [] => Digest::of(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// Inclusion path of the leaf at `index`, leaf side first (section 2.1.3.1).
///
/// # Panics
/// When `index` is not below the number of leaves.
pub fn path(leaves: &[Digest], index: usize) -> Vec<Digest> {
    assert!(index < leaves.len(), "a leaf of the tree");
    if leaves.len() == 1 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut path, sibling) = if index < left.len() {
        (self::path(left, index), root(right))
    } else {
        (self::path(right, index - left.len()), root(left))
    };
    path.push(sibling);
    path
}

/// The root and every inclusion path, in the order of the leaves, with as many hashes as the tree has nodes.
pub fn root_and_paths(leaves: &[Digest]) -> (Digest, Vec<Vec<Digest>>) {
    let mut paths = vec![Vec::new(); leaves.len()];
    let mut level = leaves.to_vec();
    let mut height = 0;
    while level.len() > 1 {
        for (index, path) in paths.iter_mut().enumerate() {
            // A last node without a sibling goes up as it is: the left subtrees are whole.
            path.extend(level.get((index >> height) ^ 1));
        }
        level = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => node_hash(left, right),
                rest => rest[0],
            })
            .collect();
        height += 1;
    }
    (level.first().copied().unwrap_or_else(|| root(&[])), paths)
}

/// Largest power of two below `n`.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

/// The root that a leaf hash, its place and its path lead to, or `None` when the path has the wrong length for that
/// place (section 2.1.3.2).
pub fn root_from_path(leaf: Digest, index: u64, size: u64, path: &[Digest]) -> Option<Digest> {
    if index >= size {
        return None;
    }
    let (mut node, mut last) = (index, size - 1);
    let mut hash = leaf;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if node & 1 == 1 || node == last {
            hash = node_hash(sibling, &hash);
            while node & 1 == 0 && node != 0 {
                node >>= 1;
                last >>= 1;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        node >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The eight leaves of the Certificate Transparency reference tests, whose hashing RFC 9162 keeps.
    const LEAVES: [&str; 8] =
        ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];

    fn leaves(n: usize) -> Vec<Digest> {
        LEAVES[..n].iter().map(|leaf| leaf_hash(&hex::decode(leaf).expect("hex"))).collect()
    }

    #[test]
    fn roots_are_those_of_the_reference_vectors() {
        let expected = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        for (n, expected) in expected.iter().enumerate() {
            assert_eq!(root(&leaves(n + 1)).to_string(), *expected, "{} leaves", n + 1);
        }
        assert_eq!(root(&[]).to_string(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    }

    #[test]
    fn a_path_is_that_of_the_reference_vectors() {
        let path: Vec<_> = path(&leaves(8), 5).iter().map(ToString::to_string).collect();
        assert_eq!(
            path,
            [
                "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
                "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
                "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            ]
        );
    }

    #[test]
    fn all_paths_at_once_are_the_paths_one_by_one() {
        for size in 0..70usize {
            let leaves: Vec<_> = (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect();
            let one_by_one = (0..size).map(|index| path(&leaves, index)).collect();
            assert_eq!(root_and_paths(&leaves), (root(&leaves), one_by_one), "{size} leaves");
        }
    }

    proptest! {
        #[test]
        fn every_leaf_leads_to_the_root_and_to_no_other_place(size in 1usize..70, at in any::<prop::sample::Index>()) {
            let leaves: Vec<_> = (0..size).map(|i| leaf_hash(&i.to_be_bytes())).collect();
            let index = at.index(size);
            let path = path(&leaves, index);
            let root = root(&leaves);
            prop_assert_eq!(root_from_path(leaves[index], index as u64, size as u64, &path), Some(root));
            for other in (0..size).filter(|other| *other != index) {
                prop_assert_ne!(root_from_path(leaves[index], other as u64, size as u64, &path), Some(root));
            }
            let mut longer = path.clone();
            longer.push(root);
            prop_assert_eq!(root_from_path(leaves[index], index as u64, size as u64, &longer), None);
            if let Some((_, shorter)) = path.split_last() {
                prop_assert_eq!(root_from_path(leaves[index], index as u64, size as u64, shorter), None);
            }
        }
    }
}
