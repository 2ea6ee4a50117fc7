//! Published vectors: RFC 9180 for sealing, the Certificate Transparency reference tests for RFC 9162, RFC 8032 for
//! Ed25519.

use hpke::aead::AesGcm256;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable, Kem as _, OpModeR, Serializable as _};
use schemas::ids::Digest;
use schemas::keys::{OpeningKey, SigningKey};
use schemas::merkle;
use serde_json::Value;

fn bytes(vector: &Value, field: &str) -> Vec<u8> {
    hex::decode(vector[field].as_str().expect(field)).expect(field)
}

fn list<'a>(vector: &'a Value, field: &str) -> &'a [Value] {
    vector[field].as_array().expect(field)
}

#[test]
fn the_suite_opens_the_vector_of_rfc_9180() {
    let vector: Value =
        serde_json::from_str(include_str!("../../golden/rfc9180-x25519-sha256-aes256gcm.json"))
            .expect("the vector is JSON");
    assert_eq!([&vector["mode"], &vector["kem_id"], &vector["kdf_id"], &vector["aead_id"]], [0, 32, 1, 2]);

    let (private, public) = X25519HkdfSha256::derive_keypair(&bytes(&vector, "ikmR"));
    // RFC 9180, section 7.1.2: a private key is clamped when it is written; the vectors are older than that clamp.
    let mut clamped = bytes(&vector, "skRm");
    clamped[0] &= 0xf8;
    clamped[31] = clamped[31] & 0x7f | 0x40;
    assert_eq!(private.to_bytes().to_vec(), clamped);
    assert_eq!(public.to_bytes().to_vec(), bytes(&vector, "pkRm"));

    // The keys that this crate hands out are those.
    let derived = OpeningKey::derive(&bytes(&vector, "ikmR"));
    assert_eq!(derived.to_raw().to_vec(), clamped);
    assert_eq!(derived.public().to_wire().raw, bytes(&vector, "pkRm"));
    let raw: [u8; 32] = bytes(&vector, "skRm").try_into().expect("32 bytes");
    assert_eq!(OpeningKey::from_raw(&raw).expect("a key").public(), derived.public());

    let enc = Deserializable::from_bytes(&bytes(&vector, "enc"));
    let mut context = hpke::setup_receiver::<AesGcm256, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &private,
        &enc.expect("32 bytes"),
        &bytes(&vector, "info"),
    )
    .expect("a shared secret");
    for export in list(&vector, "exports") {
        let mut exported = [0; 32];
        context.export(&bytes(export, "exporter_context"), &mut exported).expect("short enough");
        assert_eq!(exported.to_vec(), bytes(export, "exported_value"));
    }
    // One context counts its messages up: a failed opening does not count.
    let encryptions = list(&vector, "encryptions");
    for (sequence, encryption) in encryptions.iter().take(5).enumerate() {
        assert_eq!(encryption["sequence"], sequence);
        let mut wrong = bytes(encryption, "ct");
        wrong[0] ^= 1;
        assert!(context.open(&wrong, &bytes(encryption, "aad")).is_err());
        let opened = context.open(&bytes(encryption, "ct"), &bytes(encryption, "aad")).expect("opens");
        assert_eq!(opened, bytes(encryption, "pt"), "sequence {sequence}");
    }
}

/// Leaves, roots of their prefixes and every path of the tree of eight, computed apart from this crate and equal to
/// the reference tests of Certificate Transparency where those have them.
const LEAVES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const L0: &str = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
const L1: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const L2: &str = "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7";
const L3: &str = "07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7";
const L4: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const L5: &str = "4271a26be0d8a84f0bd54c8c302e7cb3a3b5d1fa6780a40bcce2873477dab658";
const L6: &str = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f";
const L7: &str = "46f6ffadd3d06a09ff3c5860d2755c8b9819db7df44251788c7d8e3180de8eb1";
const N01: &str = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125";
const N23: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const N45: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";
const N67: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const N03: &str = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7";
const N47: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const PATHS: [[&str; 3]; 8] = [
    [L1, N23, N47],
    [L0, N23, N47],
    [L3, N01, N47],
    [L2, N01, N47],
    [L5, N67, N03],
    [L4, N67, N03],
    [L7, N45, N03],
    [L6, N45, N03],
];

#[test]
fn every_path_of_the_tree_of_eight_is_that_of_the_reference() {
    let leaves: Vec<_> =
        LEAVES.iter().map(|leaf| merkle::leaf_hash(&hex::decode(leaf).expect("hex"))).collect();
    assert_eq!(leaves.iter().map(ToString::to_string).collect::<Vec<_>>(), [L0, L1, L2, L3, L4, L5, L6, L7]);
    let root = "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328";
    assert_eq!(merkle::root(&leaves).to_string(), root);
    for (index, expected) in PATHS.iter().enumerate() {
        let path = merkle::path(&leaves, index);
        assert_eq!(path.iter().map(ToString::to_string).collect::<Vec<_>>(), expected, "leaf {index}");
        let led_to = merkle::root_from_path(leaves[index], index as u64, 8, &path);
        assert_eq!(led_to.map(|root| root.to_string()).as_deref(), Some(root));
    }
}

#[test]
fn paths_of_uneven_trees_are_those_of_the_reference() {
    let leaves: Vec<_> =
        LEAVES.iter().map(|leaf| merkle::leaf_hash(&hex::decode(leaf).expect("hex"))).collect();
    let path = |size: usize, index| -> Vec<String> {
        merkle::path(&leaves[..size], index).iter().map(Digest::to_string).collect()
    };
    assert_eq!(path(1, 0), Vec::<String>::new());
    assert_eq!(path(3, 2), [N01]);
    assert_eq!(path(5, 1), [L0, N23, L4]);
}

#[test]
fn signatures_are_those_of_rfc_8032() {
    // Section 7.1, test 3: the tag and its separator are part of what this crate signs, so the public half shows it.
    let seed = hex::decode("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7").expect("hex");
    let key = SigningKey::from_seed(&seed.try_into().expect("32 bytes"));
    let public = "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025";
    assert_eq!(hex::encode(key.public().to_wire().raw), public);
}
