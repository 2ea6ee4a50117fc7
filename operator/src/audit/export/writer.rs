//! Leaves and checkpoints into files. In memory are the leaves of one bundle and the hashes of one tile a level.
//!
//! Files appear whole: each is written beside its place and renamed. `checkpoint` comes last, so that whoever sees it finds all
//! that it vouches for.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use schemas::audit::{Checkpoint, Frontier, paths};
use schemas::ids::Digest;
use schemas::merkle;
use schemas::registry::Key;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::{ExportError, Exported};
use crate::audit::codes::Code;
use crate::audit::finding::Finding;
use crate::audit::folder::{Folder, named};
use crate::audit::layout::{self, Row, WIDTH};
use crate::audit::notes;

/// Writes one export.
pub struct Writer {
    folder: Folder,
    origin: String,
    hub: Vec<Key>,
    /// Leaves that are in files or in `bundle`.
    size: u64,
    /// Leaves of the bundle that is not full.
    bundle: Vec<Bytes>,
    /// Hashes of the tile of each level that is not full.
    levels: Vec<Vec<Digest>>,
    /// For the root over `size` leaves.
    tree: Frontier,
    /// The largest checkpoint.
    signed: Option<(Checkpoint, String)>,
    next_offset: i64,
    /// A bundle that repeated leaves were compared with.
    compared: Option<(u64, Vec<u8>)>,
    exported: Exported,
}

#[derive(Serialize, Deserialize)]
struct State {
    next_offset: i64,
}

impl Writer {
    /// Goes on in a folder, or begins in an empty one. `origin` names the log, `hub` are the hub's keys.
    ///
    /// # Errors
    /// When the files in it do not fit together.
    pub fn open(out: &Path, origin: &str, hub: Vec<Key>) -> Result<Self, ExportError> {
        let folder = Folder::new(out);
        let mut writer = Self {
            folder,
            origin: origin.to_owned(),
            hub,
            size: 0,
            bundle: Vec::new(),
            levels: vec![Vec::new()],
            tree: Frontier::default(),
            signed: None,
            next_offset: 0,
            compared: None,
            exported: Exported::default(),
        };
        writer.load()?;
        Ok(writer)
    }

    /// Reads everything once more, and compares it.
    #[must_use]
    pub fn from_beginning(self) -> Self {
        Self { next_offset: 0, ..self }
    }

    /// The offset to read from.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    fn load(&mut self) -> Result<(), ExportError> {
        let Some(note) = self.folder.read(layout::CHECKPOINT)? else { return Ok(()) };
        let damaged = |what: &str| ExportError::Damaged(what.to_owned());
        let note = String::from_utf8(note).map_err(|_| damaged("checkpoint"))?;
        let checkpoint =
            Checkpoint::open(&note, &self.origin, &self.hub).map_err(|_| damaged("checkpoint"))?;
        let size = checkpoint.size;
        let (n, rest) = (size / WIDTH, items(size % WIDTH));
        let found = if rest > 0 { self.folder.widest(Row::Entries, n)? } else { None };
        let entries = found.as_ref().map(|found| layout::entries(&found.bytes).leaves).unwrap_or_default();
        self.bundle = entries.iter().take(rest).map(|(_, leaf)| Bytes::copy_from_slice(leaf)).collect();
        let hashes: Vec<Digest> = self.bundle.iter().map(|leaf| merkle::leaf_hash(leaf)).collect();
        self.levels = vec![hashes];
        for level in 1u8.. {
            let complete = size >> (8 * u32::from(level)).min(63);
            if complete == 0 {
                break;
            }
            let (n, rest) = (complete / WIDTH, items(complete % WIDTH));
            let found = if rest > 0 { self.folder.widest(Row::Tile(level), n)? } else { None };
            let mut hashes = found.and_then(|found| layout::hashes(&found.bytes)).unwrap_or_default();
            hashes.truncate(rest);
            self.levels.push(hashes);
        }
        self.size = size;
        let mut peaks = Vec::new();
        let mut at = 0;
        while at < size {
            let height = (size - at).ilog2();
            peaks.push(self.node(height, at >> height).map_err(|error| damaged(&error.to_string()))?);
            at += 1 << height;
        }
        self.tree = Frontier::new(size, peaks).map_err(|_| damaged("tiles"))?;
        if self.tree.root() != checkpoint.root {
            return Err(damaged("bundles and tiles do not lead to the root of `checkpoint`"));
        }
        self.signed = Some((checkpoint, note));
        let state = self.folder.read(layout::STATE)?.unwrap_or_default();
        // Without it everything is read and compared once more.
        self.next_offset = serde_json::from_slice::<State>(&state).map_or(0, |state| state.next_offset);
        Ok(())
    }

    /// Takes leaves, the first one at index `first`, from the record at `offset`.
    ///
    /// # Errors
    /// When they say something else of an index than the folder, or leave one out.
    pub fn leaves(&mut self, first: u64, leaves: &[Bytes], offset: i64) -> Result<(), ExportError> {
        if first > self.size {
            let text = format!("the record at offset {offset} goes on with entry {first}");
            return Err(Finding::new(Code::LOG_GAP, text).entry(self.size).into());
        }
        for (index, leaf) in (first..).zip(leaves) {
            if index < self.size {
                self.compare(index, leaf, offset)?;
            } else {
                self.push(leaf.clone())?;
                self.exported.new += 1;
            }
        }
        Ok(())
    }

    fn compare(&mut self, index: u64, leaf: &[u8], offset: i64) -> Result<(), ExportError> {
        let (n, place) = (index / WIDTH, items(index % WIDTH));
        let same = if n == self.size / WIDTH {
            self.bundle.get(place).is_some_and(|own| *own == leaf)
        } else {
            if self.compared.as_ref().is_none_or(|(compared, _)| *compared != n) {
                let found = self.folder.widest(Row::Entries, n)?;
                self.compared = Some((n, found.map(|found| found.bytes).unwrap_or_default()));
            }
            let bytes = self.compared.as_ref().map_or(&[][..], |(_, bytes)| bytes);
            layout::entries(bytes).leaves.get(place).is_some_and(|(_, own)| *own == leaf)
        };
        if same {
            return Ok(());
        }
        let text = format!("the record at offset {offset} has another leaf");
        Err(Finding::new(Code::HISTORY_CHANGED, text).entry(index).into())
    }

    fn push(&mut self, leaf: Bytes) -> Result<(), ExportError> {
        let hash = merkle::leaf_hash(&leaf);
        self.bundle.push(leaf);
        self.levels[0].push(hash);
        self.tree.push(hash);
        self.size += 1;
        if self.bundle.len() < items(WIDTH) {
            return Ok(());
        }
        let bundle = layout::bundle(self.bundle.drain(..).collect::<Vec<_>>().iter().map(|leaf| &leaf[..]));
        let n = self.size / WIDTH - 1;
        self.keep(&Row::Entries.path(n, WIDTH), &bundle, self.size)?;
        for level in 0u8.. {
            let at = usize::from(level);
            if self.levels[at].len() < items(WIDTH) {
                break;
            }
            let hashes = std::mem::take(&mut self.levels[at]);
            let n = (self.size >> (8 * (u32::from(level) + 1))) - 1;
            self.keep(&Row::Tile(level).path(n, WIDTH), &layout::tile(&hashes), self.size)?;
            if self.levels.len() == at + 1 {
                self.levels.push(Vec::new());
            }
            self.levels[at + 1].push(merkle::root(&hashes));
        }
        Ok(())
    }

    /// Takes a checkpoint from the record at `offset`.
    ///
    /// One that the hub did not sign is left out, and told at the end.
    ///
    /// # Errors
    /// When it is not of these leaves.
    pub fn checkpoint(&mut self, note: &str, offset: i64) -> Result<(), ExportError> {
        let Ok(checkpoint) = Checkpoint::open(note, &self.origin, &self.hub) else {
            self.exported.strange.push(offset);
            return Ok(());
        };
        let size = checkpoint.size;
        if size > self.size {
            let text = format!("the checkpoint at offset {offset} is of {size} entries");
            return Err(Finding::new(Code::LOG_GAP, text).entry(self.size).into());
        }
        let root = if size == self.size {
            self.tree.root()
        } else {
            paths::root_of(size, |height, index| self.node(height, index))?
        };
        if root != checkpoint.root {
            let text =
                format!("the checkpoint of {size} entries at offset {offset} is not the root of those here");
            return Err(Finding::new(Code::CHECKPOINT_FORK, text).into());
        }
        self.keep_note(&checkpoint, note)?;
        if self.signed.as_ref().is_none_or(|(largest, _)| largest.size <= size) {
            self.signed = Some((checkpoint, note.to_owned()));
        }
        if size == self.size {
            // What comes before is all there, and vouched for.
            self.next_offset = offset + 1;
        }
        Ok(())
    }

    /// Of several checkpoints with the same root the first and the last stay: a log that rests has one a minute.
    fn keep_note(&mut self, checkpoint: &Checkpoint, note: &str) -> Result<(), ExportError> {
        let path = layout::checkpoints(checkpoint.size);
        let kept = self.folder.read(&path)?.unwrap_or_default();
        let kept = String::from_utf8_lossy(&kept);
        let kept = notes::split(&kept);
        let text = match (kept.first(), kept.last()) {
            (Some(first), Some(last)) => {
                let last = Checkpoint::open(last, &self.origin, &self.hub)
                    .map_err(|_| ExportError::Damaged(path.clone()))?;
                if checkpoint.signed_at <= last.signed_at {
                    return Ok(());
                }
                format!("{first}{note}")
            }
            _ => note.to_owned(),
        };
        write(&self.folder.path().join(path), text.as_bytes())?;
        self.exported.checkpoints += 1;
        Ok(())
    }

    /// Writes what is not full, and says what was done.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn finish(mut self) -> Result<Exported, ExportError> {
        let Some((checkpoint, note)) = self.signed.take() else {
            self.exported.unsigned = self.size;
            return Ok(self.exported);
        };
        let n = self.size / WIDTH;
        // Leaves behind the checkpoint come again with the next one.
        let rest = checkpoint.size.saturating_sub(n * WIDTH);
        if rest > 0 {
            let leaves = self.bundle[..items(rest)].iter().map(|leaf| &leaf[..]);
            self.partial(Row::Entries, n, rest, &layout::bundle(leaves))?;
        }
        for (level, hashes) in (0u8..).zip(&self.levels) {
            let have = hashes.len() as u64;
            let width = if level == 0 { rest.min(have) } else { have };
            if width > 0 {
                let n = self.size >> (8 * (u32::from(level) + 1)).min(63);
                self.partial(Row::Tile(level), n, width, &layout::tile(&hashes[..items(width)]))?;
            }
        }
        let state = serde_json::json!({ "next_offset": self.next_offset }).to_string();
        write(&self.folder.path().join(layout::STATE), state.as_bytes())?;
        write(&self.folder.path().join(layout::CHECKPOINT), note.as_bytes())?;
        self.exported.signed = checkpoint.size;
        self.exported.unsigned = self.size - checkpoint.size;
        Ok(self.exported)
    }

    /// Writes a partial file, then removes the narrower ones.
    fn partial(&self, row: Row, n: u64, width: u64, bytes: &[u8]) -> io::Result<()> {
        write(&self.folder.path().join(row.path(n, width)), bytes)?;
        for narrower in self.folder.partial_widths(row, n)?.into_iter().filter(|other| *other < width) {
            fs::remove_file(self.folder.path().join(row.path(n, narrower)))?;
        }
        Ok(())
    }

    /// Writes a full file over the entries up to `until`, and removes the partial ones. It stays for ever as soon as a
    /// checkpoint vouches for all of it.
    fn keep(&self, path: &str, bytes: &[u8], until: u64) -> Result<(), ExportError> {
        let vouched = self.signed.as_ref().is_some_and(|(largest, _)| largest.size >= until);
        match self.folder.read(path)? {
            Some(kept) if kept == bytes => {}
            Some(_) if vouched => {
                return Err(
                    Finding::new(Code::HISTORY_CHANGED, format!("{path} is there, and differs")).into()
                );
            }
            Some(_) | None => write(&self.folder.path().join(path), bytes)?,
        }
        let partials = self.folder.path().join(format!("{path}.p"));
        if partials.try_exists()? {
            fs::remove_dir_all(partials)?;
        }
        Ok(())
    }

    /// A perfect subtree, from memory or from a tile.
    fn node(&self, height: u32, index: u64) -> io::Result<Digest> {
        let level = usize::try_from(height / 8).unwrap_or(usize::MAX);
        let width = 1u64 << (height % 8);
        let first = index * width;
        let open = self.size >> (8 * (height / 8 + 1)).min(63);
        if first / WIDTH != open {
            return self.folder.node(height, index);
        }
        let range = items(first % WIDTH)..items(first % WIDTH + width);
        let hashes = self.levels.get(level).and_then(|hashes| hashes.get(range));
        hashes.map(merkle::root).ok_or_else(|| io::Error::other(format!("no node {height}/{index}")))
    }
}

/// Writes a file that appears whole or not at all.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let write = || {
        let folder = path.parent().map_or_else(|| PathBuf::from("."), Path::to_owned);
        fs::create_dir_all(&folder)?;
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(bytes)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // Evidence is for others to read; a temporary file is for its owner.
            file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
        }
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|error: io::Error| named(path, &error))
}

/// At most 256.
fn items(width: u64) -> usize {
    usize::try_from(width).unwrap_or(usize::MAX)
}
