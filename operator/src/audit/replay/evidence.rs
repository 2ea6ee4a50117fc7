//! Evidence: what a replay read and what it found, so that somebody else can look again.
//!
//! | file | what |
//! |---|---|
//! | `records.ndjson` | every record that was used: place, append time, SHA-256, size, what it said |
//! | `digests.ndjson` | every query: digests of log, topics and store |
//! | `differences.json` | the findings |
//! | `manifest.json` | what was asked, with which version, end offsets before and after, checkpoint, SHA-256 of each file |
//! | `manifest.sig` | the auditor's signature over the bytes of `manifest.json` |
//!
//! What must never happen here: a person, a phone number, or sealed bytes without `--with-records`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use plumbing::exit::{Exit, Failure};
use plumbing::key_file;
use schemas::ids::{Digest, KeyId};
use schemas::keys::{SigningKey, VerifyingKey};
use schemas::sign::{self, Tag};
use schemas::wire::{KeyAlgorithm, PublicKey};
use serde::{Deserialize, Serialize};

const RECORDS: &str = "records.ndjson";
const DIGESTS: &str = "digests.ndjson";
const DIFFERENCES: &str = "differences.json";
const MANIFEST: &str = "manifest.json";
const SIGNATURE: &str = "manifest.sig";

/// A record that was used.
#[derive(Clone, Debug, Serialize)]
pub struct RecordLine<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Append time, Unix milliseconds.
    pub appended_at_ms: i64,
    /// SHA-256 of its value.
    pub sha256: String,
    /// Length of its value.
    pub size: usize,
    /// What it says: `QUERY`, `ANSWERED`, `REFUSED`, `RETRY_LATER`, or the code of what is wrong with it.
    pub outcome: &'a str,
    /// The value itself, hexadecimal, with `--with-records`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

/// A folder of evidence that is being written.
pub struct Evidence {
    folder: PathBuf,
    records: BufWriter<File>,
    digests: BufWriter<File>,
    with_records: bool,
    key: Option<SigningKey>,
}

/// What was done, and what is in the folder. `asked` and `result` are documents of the command.
#[derive(Debug, Serialize)]
pub struct Manifest<'a, A, R> {
    /// Version of this command.
    pub version: &'a str,
    /// When it was done, RFC 3339.
    pub made_at: String,
    /// Which queries.
    pub asked: A,
    /// What was counted.
    pub result: R,
    /// End offset of every topic's partition before, and after.
    pub ends: BTreeMap<String, (i64, Option<i64>)>,
    /// The signed note of the largest checkpoint.
    pub checkpoint: Option<&'a str>,
    /// So many leaves from the first on are those that it vouches for.
    pub vouched: Option<u64>,
    /// SHA-256 of each file.
    pub files: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Signature {
    key_id: String,
    public: String,
    signature: String,
}

impl Evidence {
    /// A new folder, to be signed with the key in the file `sign_key`.
    ///
    /// # Errors
    /// Exit code 73 when it cannot be made, or is there; that of the key file.
    pub fn create(folder: &Path, with_records: bool, sign_key: Option<&Path>) -> Result<Self, Failure> {
        let read = |path| key_file::read("--sign-key", path).map(|seed| SigningKey::from_seed(&seed));
        let key = sign_key.map(read).transpose().map_err(|error| error.exit().because(error))?;
        let cannot = |error| cannot_create(folder, error);
        fs::create_dir(folder).map_err(cannot)?;
        let file = |name| File::create_new(folder.join(name)).map(BufWriter::new).map_err(cannot);
        Ok(Self {
            records: file(RECORDS)?,
            digests: file(DIGESTS)?,
            folder: folder.to_owned(),
            with_records,
            key,
        })
    }

    /// Adds a record, with its value when that was asked for.
    ///
    /// # Errors
    /// Exit code 73.
    pub fn record(&mut self, mut line: RecordLine<'_>, value: &[u8]) -> Result<(), Failure> {
        line.value = self.with_records.then(|| hex::encode(value));
        write_line(&mut self.records, &line).map_err(|error| cannot_create(&self.folder, error))
    }

    /// Adds what is known of a query.
    ///
    /// # Errors
    /// Exit code 73.
    pub fn digests(&mut self, line: &impl Serialize) -> Result<(), Failure> {
        write_line(&mut self.digests, line).map_err(|error| cannot_create(&self.folder, error))
    }

    /// Finishes the folder.
    ///
    /// # Errors
    /// Exit code 73.
    pub fn finish<A: Serialize, R: Serialize>(
        mut self,
        differences: &impl Serialize,
        mut manifest: Manifest<'_, A, R>,
    ) -> Result<(), Failure> {
        let cannot = |error| cannot_create(&self.folder, error);
        self.records.flush().map_err(cannot)?;
        self.digests.flush().map_err(cannot)?;
        fs::write(self.folder.join(DIFFERENCES), json(differences)?).map_err(cannot)?;
        for name in [RECORDS, DIGESTS, DIFFERENCES] {
            let digest = digest(&self.folder.join(name)).map_err(cannot)?;
            manifest.files.insert(name.to_owned(), digest);
        }
        let bytes = json(&manifest)?;
        fs::write(self.folder.join(MANIFEST), &bytes).map_err(cannot)?;
        if let Some(key) = &self.key {
            let signed = json(&signature(&bytes, key))?;
            fs::write(self.folder.join(SIGNATURE), signed).map_err(cannot)?;
        }
        Ok(())
    }
}

fn signature(manifest: &[u8], key: &SigningKey) -> Signature {
    Signature {
        key_id: key.id().to_string(),
        public: hex::encode(key.public().to_wire().raw),
        signature: hex::encode(sign::sign_bytes(Tag::AuditEvidence, manifest, key)),
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Failure> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| Exit::Software.because(error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn write_line(file: &mut BufWriter<File>, line: &impl Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *file, line)?;
    file.write_all(b"\n")
}

fn cannot_create(folder: &Path, error: std::io::Error) -> Failure {
    Exit::CannotCreate.because(format!("{}: {error}", folder.display()))
}

fn digest(path: &Path) -> std::io::Result<String> {
    Ok(Digest::of(&fs::read(path)?).to_string())
}

/// What is wrong with a folder of evidence; nothing when it is as it was made, and signed with `key` if there is one.
///
/// # Errors
/// Exit code 66 when there is none.
pub fn check(folder: &Path, key: Option<&VerifyingKey>) -> Result<Vec<String>, Failure> {
    #[derive(Deserialize)]
    struct Files {
        files: BTreeMap<String, String>,
    }
    let missing = |error: std::io::Error| Exit::NoInput.because(format!("{}: {error}", folder.display()));
    let manifest = fs::read(folder.join(MANIFEST)).map_err(missing)?;
    let mut wrong = Vec::new();
    if let Some(key) = key
        && let Err(what) = signed(folder, &manifest, key)
    {
        wrong.push(format!("{SIGNATURE}: {what}"));
    }
    let Ok(Files { files }) = serde_json::from_slice(&manifest) else {
        wrong.push(format!("{MANIFEST}: no manifest"));
        return Ok(wrong);
    };
    // Whoever may name files names no others: a name could lead out of the folder.
    for name in [RECORDS, DIGESTS, DIFFERENCES] {
        match (files.get(name), digest(&folder.join(name))) {
            (Some(named), Ok(found)) if *named == found => {}
            (Some(_), Ok(_)) => wrong.push(format!("{name}: was changed")),
            (None, _) => wrong.push(format!("{name}: not in the manifest")),
            (_, Err(error)) => wrong.push(format!("{name}: {error}")),
        }
    }
    Ok(wrong)
}

fn signed(folder: &Path, manifest: &[u8], key: &VerifyingKey) -> Result<(), String> {
    let text = fs::read(folder.join(SIGNATURE)).map_err(|error| error.to_string())?;
    let signature: Signature = serde_json::from_slice(&text).map_err(|_| "no signature".to_owned())?;
    let named = hex::decode(&signature.key_id).ok().and_then(|raw| KeyId::from_bytes(&raw).ok());
    if named != Some(key.id()) {
        return Err("signed with another key".to_owned());
    }
    let bytes = hex::decode(&signature.signature).map_err(|_| "no signature".to_owned())?;
    sign::verify_bytes(Tag::AuditEvidence, manifest, &bytes, key).map_err(|code| code.to_string())
}

/// An Ed25519 public key on the command line.
///
/// # Errors
/// Exit code 64.
pub fn public_key(text: &str) -> Result<VerifyingKey, Failure> {
    let raw = hex::decode(text).unwrap_or_default();
    VerifyingKey::from_wire(&PublicKey { algorithm: KeyAlgorithm::Ed25519.into(), raw: raw.into() })
        .map_err(|_| Exit::Usage.because("--key: not an Ed25519 public key in 64 hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(folder: &Path) -> VerifyingKey {
        let key = folder.join("key");
        fs::write(&key, "07".repeat(32)).expect("written");
        let out = folder.join("evidence");
        let mut evidence = Evidence::create(&out, false, Some(&key)).expect("a folder");
        let line = RecordLine {
            topic: "cardquery.reply.alpha.v1",
            partition: 0,
            offset: 7,
            appended_at_ms: 9,
            sha256: Digest::of(b"sealed").to_string(),
            size: 6,
            outcome: "ANSWERED",
            value: None,
        };
        evidence.record(line, b"sealed").expect("written");
        evidence.digests(&serde_json::json!({"query_id": "q"})).expect("written");
        let manifest = Manifest {
            version: "0",
            made_at: "then".to_owned(),
            asked: "all",
            result: 1,
            ends: BTreeMap::from([("t:0".to_owned(), (1, Some(1)))]),
            checkpoint: None,
            vouched: None,
            files: BTreeMap::new(),
        };
        evidence.finish(&["none"], manifest).expect("finished");
        SigningKey::from_seed(&[7; 32]).public()
    }

    #[test]
    fn evidence_is_what_was_signed_and_any_change_to_a_file_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = made(folder.path());
        let out = folder.path().join("evidence");
        assert_eq!(check(&out, Some(&key)).expect("evidence"), [""; 0]);
        let other = SigningKey::from_seed(&[8; 32]).public();
        assert_eq!(check(&out, Some(&other)).expect("evidence").len(), 1);
        for name in [RECORDS, DIGESTS, DIFFERENCES, MANIFEST] {
            let (path, before) = (out.join(name), fs::read(out.join(name)).expect("there"));
            fs::write(&path, [&before[..], b" "].concat()).expect("written");
            assert_eq!(check(&out, Some(&key)).expect("evidence").len(), 1, "{name}");
            fs::write(&path, before).expect("written");
        }
        fs::remove_file(out.join(SIGNATURE)).expect("removed");
        assert_eq!(check(&out, Some(&key)).expect("evidence").len(), 1);
        assert_eq!(check(&out, None).expect("evidence").len(), 0);
    }

    #[test]
    fn sealed_bytes_are_not_in_it_unless_they_are_asked_for() {
        let folder = tempfile::tempdir().expect("a folder");
        made(folder.path());
        let records = fs::read_to_string(folder.path().join("evidence").join(RECORDS)).expect("there");
        assert!(!records.contains(&hex::encode(b"sealed")) && !records.contains("value"), "{records}");
        let again =
            Evidence::create(&folder.path().join("evidence"), false, None).err().expect("it is there");
        assert_eq!(again.exit(), Exit::CannotCreate);
    }
}
