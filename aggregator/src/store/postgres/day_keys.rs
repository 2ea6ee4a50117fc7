//! The keys that content at rest is wrapped under: one per day of erasure, in files outside the database.
//!
//! ```text
//!  make_days ─▶ create ─▶ <key_dir>/2026-12-01.key ─▶ get ─▶ wrap, unwrap
//!                                     └────────────▶ destroy, when the day's tables are dropped
//! ```
//!
//! A backup of the database has no key, and once the file is destroyed nothing opens its rows. So the directory must lie
//! in no backup that outlives the days in it. All instances share it.
//!
//! What must never happen here: a key is made twice for a day, or a key is used that the database does not name.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use jiff::civil::Date;
use plumbing::exit::Exit;
use plumbing::key_file::{self, KeyFileError};
use schemas::fields::Fields;
use schemas::ids::{Digest, Reference};
use zeroize::Zeroizing;

use super::error::Unreadable;
use crate::store::{StoreError, StoreResult};

/// The form of what is bound to a wrapped value. Never change it: rows rest on it.
const FORM: &[u8] = b"at-rest/v1";

/// Tells the name of a key from every other digest of its bytes.
const KEY_ID: &[u8] = b"day-key/v1\0";

const NONCE: usize = 12;

// Columns that hold wrapped values, as they are bound into them.
pub(super) const SEGMENT: &str = "segment.sealed";
pub(super) const COVERAGE: &str = "coverage.signed";
pub(super) const CONTACT_STATEMENT: &str = "contact.statement";
pub(super) const CONTACT: &str = "contact.sealed";

/// Readable and writable by the service's user alone.
const MODE: u32 = 0o600;

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum DayKeyError {
    /// No directory is configured.
    #[error("erasure.key_dir: is not set")]
    NotSet,
    /// The directory cannot be used.
    #[error("erasure.key_dir: {0}: {1}")]
    Directory(PathBuf, #[source] io::Error),
    /// A file cannot be read, or holds no key.
    #[error(
        "the key of {0}: {1}; what is wrapped under it can be read by nothing else, and it is not made again"
    )]
    File(Date, #[source] KeyFileError),
    /// A file holds another key than the one that the database names.
    #[error("{0} is not the key of {1} that the database names")]
    Other(PathBuf, Date),
}

impl DayKeyError {
    /// The exit code of a process that does not start because of this.
    pub fn exit(&self) -> Exit {
        match self {
            Self::NotSet => Exit::Config,
            Self::Directory(_, error) if error.kind() == ErrorKind::PermissionDenied => Exit::Denied,
            Self::Directory(..) => Exit::NoInput,
            Self::File(_, error) => error.exit(),
            Self::Other(..) => Exit::BadData,
        }
    }
}

impl From<DayKeyError> for StoreError {
    fn from(error: DayKeyError) -> Self {
        Self(error.to_string())
    }
}

/// The keys in one directory. Clones share what was read.
#[derive(Clone, Debug)]
pub struct DayKeys(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    read: Mutex<BTreeMap<Date, Arc<DayKey>>>,
}

/// The key of one day. It is wiped when nobody holds it any more.
pub(super) struct DayKey {
    cipher: Aes256Gcm,
    id: Digest,
}

/// What a wrapped value is bound to besides its day: it cannot be moved to another row or column.
pub(super) struct Place<'a> {
    pub(super) column: &'static str,
    pub(super) day: Date,
    pub(super) reference: &'a Reference,
    /// Empty where a row is not a bank's.
    pub(super) bank: &'a str,
}

impl DayKeys {
    /// The keys in `directory`, which must be there.
    ///
    /// # Errors
    /// [`DayKeyError::NotSet`], [`DayKeyError::Directory`].
    pub fn open(directory: &Path) -> Result<Self, DayKeyError> {
        if directory.as_os_str().is_empty() {
            return Err(DayKeyError::NotSet);
        }
        let unusable = |error| DayKeyError::Directory(directory.to_owned(), error);
        fs::read_dir(directory).map_err(unusable)?;
        Ok(Self(Arc::new(Inner { directory: directory.to_owned(), read: Mutex::default() })))
    }

    fn path(&self, day: Date) -> PathBuf {
        self.0.directory.join(format!("{day}.key"))
    }

    /// First part of the names of files that are being made.
    fn unfinished(day: Date) -> String {
        format!(".{day}.")
    }

    /// The key of `day`; `None` when it has no file.
    ///
    /// # Errors
    /// [`DayKeyError::File`].
    pub(super) fn find(&self, day: Date) -> Result<Option<Arc<DayKey>>, DayKeyError> {
        match self.get(day) {
            Ok(key) => Ok(Some(key)),
            Err(DayKeyError::File(_, KeyFileError::Unreadable(_, error)))
                if error.kind() == ErrorKind::NotFound =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The key of `day`, which must have a file.
    ///
    /// # Errors
    /// [`DayKeyError::File`].
    pub(super) fn get(&self, day: Date) -> Result<Arc<DayKey>, DayKeyError> {
        if let Some(key) = self.read().get(&day) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(self.load(day)?);
        Ok(Arc::clone(self.read().entry(day).or_insert(key)))
    }

    fn load(&self, day: Date) -> Result<DayKey, DayKeyError> {
        let raw = key_file::read("erasure.key_dir", &self.path(day));
        Ok(DayKey::new(&*raw.map_err(|error| DayKeyError::File(day, error))?))
    }

    /// Looks whether the file of `day` still holds the key that the database names `id`, whatever was read of it before.
    ///
    /// # Errors
    /// [`DayKeyError::File`], [`DayKeyError::Other`].
    pub(super) fn expect(&self, day: Date, id: Digest) -> Result<(), DayKeyError> {
        if self.load(day)?.id == id { Ok(()) } else { Err(DayKeyError::Other(self.path(day), day)) }
    }

    /// Makes the key of a day that the database does not know yet, and returns its id. A file that is there already is of
    /// an instance that was stopped before it could tell the database, and nothing is wrapped under it: it is taken.
    ///
    /// # Errors
    /// [`DayKeyError`].
    pub(super) fn create(&self, day: Date) -> Result<Digest, DayKeyError> {
        let unusable = |error| DayKeyError::Directory(self.0.directory.clone(), error);
        if self.find(day)?.is_none() {
            self.write_new(day).map_err(unusable)?;
        }
        Ok(self.get(day)?.id)
    }

    /// The file appears whole or not at all, and never in the place of another.
    fn write_new(&self, day: Date) -> io::Result<()> {
        let mut raw = Zeroizing::new([0; 32]);
        rand::fill(raw.as_mut());
        let text = Zeroizing::new(hex::encode(raw.as_ref()));
        let fresh = self.0.directory.join(format!("{}{:016x}", Self::unfinished(day), rand::random::<u64>()));
        let mut file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        // Unlike a rename, a link fails when the name is taken: then another instance was faster.
        match fs::hard_link(&fresh, self.path(day)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        fs::remove_file(&fresh)?;
        self.sync_directory()
    }

    /// Destroys the key of `day`. It may be gone already.
    ///
    /// # Errors
    /// [`DayKeyError::Directory`] when a file of it could not be removed.
    pub(super) fn destroy(&self, day: Date) -> Result<(), DayKeyError> {
        self.read().remove(&day);
        self.remove(day).map_err(|error| DayKeyError::Directory(self.0.directory.clone(), error))
    }

    fn remove(&self, day: Date) -> io::Result<()> {
        let unfinished = Self::unfinished(day);
        let mut files = vec![self.path(day)];
        for entry in fs::read_dir(&self.0.directory)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(&unfinished) {
                files.push(entry.path());
            }
        }
        for file in files {
            match wipe(&file).and_then(|()| fs::remove_file(&file)) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.sync_directory()
    }

    fn sync_directory(&self) -> io::Result<()> {
        File::open(&self.0.directory)?.sync_all()
    }

    /// Forgets the keys of all days up to `day`: nobody needs them, whoever destroys their files.
    pub(super) fn forget_through(&self, day: Date) {
        self.read().retain(|of, _| *of > day);
    }

    fn read(&self) -> MutexGuard<'_, BTreeMap<Date, Arc<DayKey>>> {
        self.0.read.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes zeros over the content. Where the file system or the medium writes elsewhere this does nothing; then it is the
/// removal that counts.
fn wipe(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    let length = usize::try_from(file.metadata()?.len()).unwrap_or_default();
    file.write_all(&vec![0; length])?;
    file.sync_all()
}

impl DayKey {
    fn new(raw: &[u8; 32]) -> Self {
        let id = Digest::of(&Zeroizing::new([KEY_ID, raw].concat()));
        // From a slice, so that no copy of the key is left on the way.
        Self { cipher: Aes256Gcm::new_from_slice(raw).expect("a key of 32 bytes"), id }
    }

    /// The nonce, then what `content` became. Nonces are random: of the 2^32 rows that a key may wrap, a day has a few
    /// hundred million at most.
    pub(super) fn wrap(&self, place: &Place<'_>, content: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE] = rand::random();
        let bound = place.bound();
        let payload = Payload { msg: content, aad: bound.as_bytes() };
        let sealed = self.cipher.encrypt(&Nonce::from(nonce), payload);
        [nonce.as_slice(), &sealed.expect("rows are shorter than 64 GiB")].concat()
    }

    pub(super) fn unwrap(&self, place: &Place<'_>, wrapped: &[u8]) -> StoreResult<Vec<u8>> {
        let (nonce, sealed) = wrapped.split_first_chunk::<NONCE>().ok_or(Unreadable(place.column))?;
        let bound = place.bound();
        let payload = Payload { msg: sealed, aad: bound.as_bytes() };
        let opened = self.cipher.decrypt(&Nonce::from(*nonce), payload);
        Ok(opened.map_err(|_| Unreadable(place.column))?)
    }
}

impl fmt::Debug for DayKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DayKey({})", self.id)
    }
}

impl Place<'_> {
    fn bound(&self) -> Fields {
        Fields::new()
            .bytes(FORM)
            .text(self.column)
            .text(&self.day.to_string())
            .text(self.reference.upstream.as_str())
            .bytes(self.reference.query.as_bytes())
            .text(self.bank)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use schemas::ids::QueryId;

    use super::*;

    const DAY: Date = jiff::civil::date(2026, 12, 1);

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("readable");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn instances_that_make_a_key_at_once_have_the_same_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys: Vec<_> = (0..16).map(|_| DayKeys::open(folder.path()).expect("a directory")).collect();
        let ids: Vec<Digest> = std::thread::scope(|scope| {
            let made: Vec<_> = keys.iter().map(|keys| scope.spawn(|| keys.create(DAY))).collect();
            made.into_iter().map(|made| made.join().expect("no panic").expect("a key")).collect()
        });
        assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
        assert_eq!(names(folder.path()), ["2026-12-01.key"], "nothing else is left");
        let mode = fs::metadata(folder.path().join("2026-12-01.key")).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_key_of_another_name_is_not_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = DayKeys::open(folder.path()).expect("a directory");
        let id = keys.create(DAY).expect("made");
        assert_eq!(keys.create(DAY).expect("there"), id);
        keys.expect(DAY, id).expect("it is that one");
        let other = keys.expect(DAY, Digest::of(b"another key")).expect_err("not this one");
        assert_eq!(other.exit(), Exit::BadData);
        fs::remove_file(folder.path().join("2026-12-01.key")).expect("removed");
        let missing = keys.expect(DAY, id).expect_err("no file, although it was read before");
        assert!(missing.to_string().contains("2026-12-01"), "{missing}");
        assert_eq!(missing.exit(), Exit::NoInput);
    }

    #[test]
    fn a_directory_that_is_not_there_is_not_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = DayKeys::open(&folder.path().join("none")).expect_err("no directory");
        assert!(error.to_string().starts_with("erasure.key_dir: "), "{error}");
        assert_eq!(error.exit(), Exit::NoInput);
    }

    #[test]
    fn a_destroyed_key_leaves_nothing_behind_and_may_be_destroyed_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let keys = DayKeys::open(folder.path()).expect("a directory");
        keys.create(DAY).expect("made");
        // As an instance leaves it that was stopped before it removed its own name of the file.
        let second = folder.path().join(".2026-12-01.0");
        fs::hard_link(folder.path().join("2026-12-01.key"), &second).expect("linked");
        let content = fs::read(&second).expect("readable");
        let still_open = File::open(&second).expect("opened");
        keys.destroy(DAY).expect("destroyed");
        keys.destroy(DAY).expect("it is gone");
        assert_eq!(names(folder.path()), [""; 0]);
        assert!(keys.get(DAY).is_err(), "nor is it remembered");
        let wiped = io::read_to_string(&still_open).expect("readable");
        assert_eq!(wiped.as_bytes(), vec![0; content.len()]);
    }

    #[test]
    fn a_wrapped_value_opens_in_its_own_place_under_its_own_key_alone() {
        let (one, other) = (DayKey::new(&[1; 32]), DayKey::new(&[2; 32]));
        let reference = Reference { upstream: "wallet".parse().expect("an id"), query: QueryId::generate() };
        let elsewhere = Reference { query: QueryId::generate(), ..reference.clone() };
        let place = || Place { column: SEGMENT, day: DAY, reference: &reference, bank: "alpha" };
        let wrapped = one.wrap(&place(), b"sealed");
        assert_eq!(one.unwrap(&place(), &wrapped).expect("opens"), b"sealed");
        assert!(other.unwrap(&place(), &wrapped).is_err());
        let tomorrow = DAY.tomorrow().expect("a day after");
        for moved in [
            Place { column: CONTACT, ..place() },
            Place { day: tomorrow, ..place() },
            Place { reference: &elsewhere, ..place() },
            Place { bank: "beta", ..place() },
        ] {
            assert!(one.unwrap(&moved, &wrapped).is_err());
        }
        for cut in 0..wrapped.len() {
            assert!(one.unwrap(&place(), &wrapped[..cut]).is_err());
        }
        assert_ne!(one.wrap(&place(), b"sealed"), wrapped, "a nonce of its own");
    }
}
