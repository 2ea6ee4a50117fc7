use prost::Message;
use rdkafka::mocking::MockCluster;
use schemas::codes::Code;
use schemas::keys::SigningKey;
use schemas::registry::{SAMPLE_ROOTS, sign_entry};
use schemas::wire::{KeyUse, PartyKey, PartyKind, PartyState, RegistryEntry};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::kafka::{OutRecord, Producer};

fn root(seed: u8) -> String {
    hex::encode(SigningKey::from_seed(&[seed; 32]).public().to_wire().raw)
}

fn config(texts: &[String]) -> RegistryConfig {
    RegistryConfig { roots: texts.to_vec(), ..RegistryConfig::default() }
}

fn roots(texts: &[String]) -> Result<usize, RootsError> {
    config(texts).roots().map(|roots| roots.len())
}

#[test]
fn two_different_root_keys_are_needed_and_every_one_must_be_a_key() {
    assert_eq!(roots(&[root(1), root(2)]), Ok(2));
    assert_eq!(roots(&[root(1)]), Err(RootsError::TooFew));
    assert_eq!(roots(&[root(1), root(1)]), Err(RootsError::Twice(1)));
    assert_eq!(roots(&[root(1), "00".repeat(32)]), Err(RootsError::NotAKey(1)));
    assert_eq!(roots(&[root(1), "hunter2".into()]), Err(RootsError::NotAKey(1)));
}

#[test]
fn a_root_whose_private_half_is_public_is_refused_unless_that_is_said() {
    let sample = "83baf970422f9701ef301cbc31d2cf2c0d667787ea3d4bcfeddd6b8351670ee8".to_owned();
    let key = verifying_key(&sample).expect("a key");
    assert_eq!(key.id().to_string(), SAMPLE_ROOTS[0]);
    let mut config = config(&[root(1), sample, root(2)]);
    assert_eq!(config.roots(), Err(RootsError::Sample(1)));
    config.allow_sample_roots = true;
    assert_eq!(config.roots().map(|roots| roots.len()), Ok(3));
}

/// Version `version` of a bank with these keys, signed by both roots, and by `rotation` for its new keys.
fn record(version: u64, keys: &[&SigningKey], rotation: Option<&SigningKey>) -> Vec<u8> {
    let key = |key: &&SigningKey| PartyKey {
        r#use: KeyUse::Sign.into(),
        key: Some(key.public().to_wire()),
        ..PartyKey::default()
    };
    let entry = RegistryEntry {
        kind: PartyKind::Bank.into(),
        id: "alpha".into(),
        version,
        state: PartyState::Active.into(),
        keys: keys.iter().map(key).collect(),
        ..RegistryEntry::default()
    };
    let roots = [1, 2].map(|seed| SigningKey::from_seed(&[seed; 32]));
    sign_entry(&entry, &roots, rotation).encode_to_vec()
}

/// What a reader has in the end that knows version 1, and then reads a topic that holds `records`.
async fn read(records: &[Vec<u8>], first: &[u8]) -> Arc<Registry> {
    let cluster = MockCluster::new(1).expect("a broker");
    cluster.create_topic("registry", 1, 1).expect("created");
    let kafka = KafkaConfig::in_process(cluster.bootstrap_servers(), "test");
    let producer = Producer::new(&kafka).expect("a producer");
    for value in records {
        let (topic, key) = ("registry".to_owned(), Some(b"bank/alpha".to_vec()));
        let record = OutRecord { topic, key, value: value.clone(), headers: Vec::new() };
        producer.send(record).await.expect("acknowledged");
    }
    let roots = config(&[root(1), root(2)]).roots().expect("roots");
    let mut known = Registry::new(roots, SeenVersions::default());
    known.apply(b"bank/alpha", first, UnixMillis(1)).expect("accepted");
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let fold = Fold::start(&kafka, "registry".into(), known, take, stop).await.expect("readable");
    fold.get()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_missed_a_compacted_version_goes_on_and_one_that_missed_none_refuses() {
    let [one, two, three] = [11, 12, 13].map(|seed| SigningKey::from_seed(&[seed; 32]));
    let (alpha, now) = ("alpha".parse().expect("an id"), UnixMillis(i64::MAX));
    let first = record(1, &[&one], None);
    let third = record(3, &[&one, &two, &three], Some(&two));

    // Compaction left the newest version alone.
    let registry = read(std::slice::from_ref(&third), &first).await;
    let party = registry.bank(&alpha).expect("registered");
    assert_eq!(party.version(), 3);
    assert!(party.verifying_key(three.id(), now).is_ok());

    // Nothing was removed: version 2 never was, and its key is nobody's.
    let registry = read(&[first.clone(), third], &first).await;
    let party = registry.bank(&alpha).expect("registered");
    assert_eq!(party.version(), 1);
    assert_eq!(party.verifying_key(three.id(), now), Err(Code::KEY_UNKNOWN));
}
