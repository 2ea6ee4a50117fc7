//! Logs of made-up queries of the sample parties, and their exports.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bytes::Bytes;
use cardquery::audit::export::Writer;
use cardquery::audit::finding::Report;
use cardquery::audit::folder::Folder;
use cardquery::audit::layout;
use cardquery::audit::registry_file::Line;
use cardquery::audit::verify::{Witnessed, verify};
use cardquery::sample::{keys, registry};
use jiff::civil::{Date, date};
use prost::Message as _;
use schemas::audit::leaf::{Accepted, Chosen, Final, Outcome, Place, Word};
use schemas::audit::{Change, Checkpoint, Leaf, Proof};
use schemas::ids::{BankId, Digest, KeyId, Nonce, QueryId, Reference};
use schemas::keys::{SigningKey, VerifyingKey};
use schemas::registry::{Key, PartyName, Registry, SeenVersions};
use schemas::reply::{self, Unsigned};
use schemas::time::UnixMillis;
use schemas::{batch, erasure, merkle, request, wire};

pub(crate) const ORIGIN: &str = "cardquery.audit.v1";
pub(crate) const START: UnixMillis = UnixMillis(1_790_000_000_000);
pub(crate) const DAY: Date = date(2026, 10, 2);

/// Hands out what an auditor was given.
pub(crate) fn roots() -> Vec<VerifyingKey> {
    keys::roots()
}

pub(crate) fn roots_hex() -> String {
    let hex = |root: &VerifyingKey| hex::encode(&root.to_wire().raw);
    roots().iter().map(hex).collect::<Vec<_>>().join(",")
}

pub(crate) fn hub() -> SigningKey {
    keys::signing(&PartyName::hub())
}

pub(crate) fn lines() -> Vec<Line> {
    (0..).zip(registry::records()).map(|(offset, (key, value))| line(offset, key, value)).collect()
}

pub(crate) fn line(offset: i64, key: String, value: Vec<u8>) -> Line {
    Line { offset, append_time_ms: 1_700_000_000_000 + offset, key, value }
}

pub(crate) fn hub_keys() -> Vec<Key> {
    let mut registry = Registry::new(roots(), SeenVersions::default());
    for line in lines() {
        registry.apply(line.key.as_bytes(), &line.value, UnixMillis(line.append_time_ms)).unwrap();
    }
    registry.hub().unwrap().keys().to_vec()
}

pub(crate) fn banks() -> Vec<BankId> {
    registry::sample().banks.into_iter().map(|bank| bank.id).take(3).collect()
}

pub(crate) fn reference(n: u32) -> Reference {
    let mut id = [0x71; 16];
    id[..6].copy_from_slice(&[0x01, 0xa0, 0xc4, 0x1f, 0x00, 0x00]);
    id[8] = 0x9c;
    id[12..].copy_from_slice(&n.to_be_bytes());
    Reference { upstream: "wallet".parse().unwrap(), query: QueryId::from_bytes(&id).unwrap() }
}

fn at(n: u32) -> UnixMillis {
    UnixMillis(START.0 + i64::from(n) * 1000)
}

pub(crate) fn statement(n: u32, bank: &BankId) -> Digest {
    Digest::of(format!("{n} {bank}").as_bytes())
}

pub(crate) fn registered(n: u32) -> Leaf {
    let accepted = Accepted {
        content_digest: Digest::of(&n.to_be_bytes()),
        report_key: KeyId([2; 16]),
        record: Place { topic: "cardquery.query.wallet.v1".into(), partition: 3, offset: n.into() },
        accepted_at: at(n),
        reply_by: UnixMillis(at(n).0 + 84_600_000),
        deadline_at: UnixMillis(at(n).0 + 86_400_000),
        erase_on: DAY,
        statements: banks().into_iter().map(|bank| (bank.clone(), statement(n, &bank))).collect(),
    };
    Leaf::Query(reference(n), Change::Registered(accepted))
}

/// The first bank answers, the second refuses, the third is silent.
pub(crate) fn finalised(n: u32) -> Leaf {
    let chosen = |word| Chosen {
        word,
        segment: Digest::of(&n.to_le_bytes()),
        appended_at: UnixMillis(at(n).0 + 5_000),
        partition: 1,
        offset: n.into(),
    };
    let outcome = |outcome, reply| Outcome { outcome, conflict: false, reply };
    let outcomes =
        [outcome(1, Some(chosen(Word::Answered))), outcome(2, Some(chosen(Word::Refused))), outcome(6, None)];
    let report = Final {
        state: 4,
        finalised_at: UnixMillis(at(n).0 + 60_000),
        coverage: Digest([12; 32]),
        registry_offset: 13,
        outcomes: banks().into_iter().zip(outcomes).collect(),
    };
    Leaf::Query(reference(n), Change::Final(report))
}

pub(crate) fn bank_proof(n: u32, bank: &BankId, word: reply::Word, key: &SigningKey) -> Proof {
    let header = request::Header {
        reference: reference(n),
        bank: bank.clone(),
        statement_sha256: statement(n, bank),
        accepted_at: at(n),
        reply_by: UnixMillis(at(n).0 + 84_600_000),
        attempt: 1,
    };
    let reply = Unsigned::new(&header, word);
    let others = [Bytes::from_static(b"another"), reply.header.clone(), Bytes::from_static(b"one more")];
    let signed_at = UnixMillis(at(n).0 + 4_000);
    let proof = batch::sign_batch(bank, key, Nonce([3; 16]), &others, signed_at).unwrap().remove(1);
    let record = reply.with_proof(proof);
    let Some(wire::reply_record::Message::Reply(reply)) = record.message else { unreachable!("a reply") };
    let segment = wire::Segment {
        header: reply.header,
        proof: reply.proof,
        sealed_answer: Bytes::from_static(b"sealed"),
    };
    Proof::of_segment(&segment.encode_to_vec()).expect("a plain one")
}

fn key_of(bank: &BankId) -> SigningKey {
    keys::signing(&PartyName::bank(bank))
}

pub(crate) fn replies(n: u32) -> Leaf {
    let banks = banks();
    let answered =
        reply::Word::Answered { report_key: KeyId([2; 16]), sealed_answer: Bytes::from_static(b"sealed") };
    let refused = reply::Word::Refused(wire::Refusal::StatementInvalid);
    let proofs = [
        (banks[0].clone(), bank_proof(n, &banks[0], answered, &key_of(&banks[0]))),
        (banks[1].clone(), bank_proof(n, &banks[1], refused, &key_of(&banks[1]))),
    ];
    Leaf::Query(reference(n), Change::Replies(proofs.into()))
}

pub(crate) fn viewed(n: u32) -> Leaf {
    let change = Change::Viewed { nonce: Nonce([17; 16]), grant: Digest([16; 32]), at: at(n) };
    Leaf::Query(reference(n), change)
}

pub(crate) fn erased(n: u32) -> Leaf {
    Leaf::Query(reference(n), Change::Erased { erase_on: DAY, at: at(n) })
}

pub(crate) fn withdrawn(n: u32) -> Leaf {
    Leaf::Query(reference(n), Change::Withdrawn { at: at(n) })
}

pub(crate) fn receipt(day: Date, key: &SigningKey) -> Leaf {
    let receipt = erasure::Receipt {
        day: DAY.to_string(),
        tables: vec!["segment".into()],
        key_id: Digest([1; 32]),
        queries: 7,
        closed_at: START,
        dropped_at: START,
        key_destroyed_at: START,
        signed_at: START,
    };
    Leaf::Receipt(day, erasure::sign(&receipt, key))
}

/// The life of `queries` queries, one after the other, and the receipt of their day.
pub(crate) fn story(queries: u32) -> Vec<Bytes> {
    let mut leaves = Vec::new();
    for n in 0..queries {
        // Signatures take time.
        let third = if n % 8 == 3 { replies(n) } else { withdrawn(n) };
        leaves.extend([registered(n), finalised(n), third, viewed(n), erased(n)]);
    }
    leaves.push(receipt(DAY, &hub()));
    leaves.iter().map(Leaf::encode).collect()
}

pub(crate) fn checkpoint(leaves: &[Bytes], signed_at: UnixMillis) -> Checkpoint {
    let hashes: Vec<Digest> = leaves.iter().map(|leaf| merkle::leaf_hash(leaf)).collect();
    Checkpoint { origin: ORIGIN.into(), size: leaves.len() as u64, root: merkle::root(&hashes), signed_at }
}

pub(crate) fn note(leaves: &[Bytes]) -> String {
    checkpoint(leaves, UnixMillis(START.0 + leaves.len() as i64)).sign(&hub())
}

pub(crate) fn write_registry(out: &Path, lines: &[Line]) {
    let text: String = lines.iter().map(|line| line.to_text() + "\n").collect();
    fs::create_dir_all(out.join("registry")).unwrap();
    fs::write(out.join(layout::REGISTRY), text).unwrap();
}

/// Writes an export with checkpoints of these sizes, the last one of all leaves.
pub(crate) fn export(out: &Path, leaves: &[Bytes], sizes: &[usize]) {
    write_registry(out, &lines());
    let mut writer = Writer::open(out, ORIGIN, hub_keys()).unwrap();
    let mut from = 0;
    for size in sizes.iter().copied().chain([leaves.len()]) {
        writer.leaves(from as u64, &leaves[from..size], 0).unwrap();
        writer.checkpoint(&note(&leaves[..size]), 0).unwrap();
        from = size;
    }
    writer.finish().unwrap();
}

/// A log of some thousand leaves that is good, made once.
pub(crate) struct Good {
    pub(crate) leaves: Vec<Bytes>,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) const SIZES: [usize; 6] = [1, 100, 256, 700, 1024, 1500];

pub(crate) fn good() -> &'static Good {
    static GOOD: OnceLock<Good> = OnceLock::new();
    GOOD.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let leaves = story(400);
        export(folder.path(), &leaves, &SIZES);
        Good { leaves, folder }
    })
}

/// A copy to spoil.
pub(crate) struct Copy(tempfile::TempDir);

impl Copy {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        copy(good().folder.path(), folder.path());
        Self(folder)
    }

    /// An export of other leaves.
    pub(crate) fn of(leaves: &[Bytes], sizes: &[usize]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        export(folder.path(), leaves, sizes);
        Self(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn file(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    pub(crate) fn change(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs::read(self.file(path)).unwrap();
        change(&mut bytes);
        fs::write(self.file(path), bytes).unwrap();
    }

    pub(crate) fn verify(&self) -> Report {
        self.verify_with(&[])
    }

    pub(crate) fn verify_with(&self, witnessed: &[Witnessed]) -> Report {
        verify(&Folder::new(self.path()), &roots(), witnessed).unwrap()
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&to).unwrap();
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Every file of a folder, by its path in it.
pub(crate) fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(root: &Path, at: &Path, files: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, files);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    let mut files = Vec::new();
    walk(folder, folder, &mut files);
    files.sort();
    files
}

/// Leaves of every kind, in an order that can be.
pub(crate) fn one_of_each_kind() -> Vec<Leaf> {
    let code = || "A_CODE".to_owned();
    let record = || Place { topic: "cardquery.query.wallet.v1".into(), partition: 3, offset: 42 };
    let at = START;
    let Leaf::Query(_, Change::Registered(accepted)) = registered(2) else { unreachable!("registered") };
    let of = |n, change| Leaf::Query(reference(n), change);
    let content_digest = Digest([1; 32]);
    vec![
        registered(1),
        finalised(1),
        replies(1),
        viewed(1),
        of(1, Change::GrantRefused { grant: Digest([16; 32]), code: code(), at }),
        withdrawn(1),
        erased(1),
        receipt(DAY, &hub()),
        of(
            2,
            Change::Held {
                content_digest,
                report_key: KeyId([2; 16]),
                record: record(),
                accepted_at: at,
                release_from: at,
                release_until: at,
                code: code(),
            },
        ),
        of(
            2,
            Change::Risk {
                record: record(),
                decision: "HOLD".into(),
                pretext: 4,
                screen_shared: true,
                on_call: false,
                remote_control: true,
                new_device: false,
            },
        ),
        of(2, Change::ReleaseRefused { record: record(), code: code() }),
        of(2, Change::Released(accepted)),
        of(2, Change::Cancelled { at }),
        of(3, Change::Rejected { content_digest, record: record(), accepted_at: at, code: code() }),
    ]
}
