//! The tree, entry by entry, against tiles and checkpoints.

use std::io;

use schemas::audit::{Checkpoint, Frontier};
use schemas::ids::Digest;
use schemas::merkle;

use super::content::Content;
use super::{Notes, difference};
use crate::audit::codes::Code;
use crate::audit::finding::{Finding, Report};
use crate::audit::folder::{Folder, Found};
use crate::audit::layout::{self, Row, WIDTH};

/// One pass over an export.
pub(super) struct Walk<'a> {
    folder: &'a Folder,
    notes: Notes<'a>,
    content: Content<'a>,
    report: &'a mut Report,
    trees: Trees,
    /// The first place since then where entries and tiles differ, which is why the trees are two.
    suspect: Option<Suspect>,
    /// The first hash of a higher tile that is not that of the tree, and the entries under it.
    upper: Option<Upper>,
    /// The next of the sizes that have checkpoints.
    next: usize,
    good: Good,
    /// The first checkpoint after the good ones that the log does not lead to.
    broken: Option<(String, Checkpoint)>,
    /// Hashes of the tree in the tile of each level that is not complete; level 0 is done tile by tile.
    levels: Vec<Level>,
}

/// The tree of the entries and that of the tiles, for as long as they are the same one; later each, for as long as there is
/// something of it.
enum Trees {
    Same(Frontier),
    Two { entries: Option<Frontier>, tiles: Option<Frontier> },
}

struct Suspect {
    entry: u64,
    hashes: (Option<Digest>, Option<Digest>),
    /// When the tiles are right.
    of_entry: Finding,
    /// When the entries are.
    of_tile: Finding,
}

struct Upper {
    from: u64,
    until: u64,
    finding: Finding,
}

/// The largest checkpoint that the log leads to.
#[derive(Default)]
struct Good {
    size: u64,
    name: String,
}

#[derive(Default)]
struct Level {
    tiles: u64,
    hashes: Vec<Digest>,
    file: Option<(Option<Found>, Vec<Digest>)>,
}

/// Whether the pass goes on.
#[derive(PartialEq, Eq)]
enum Go {
    On,
    Ended,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        folder: &'a Folder,
        notes: Notes<'a>,
        content: Content<'a>,
        report: &'a mut Report,
    ) -> io::Result<Self> {
        Ok(Self {
            folder,
            notes,
            content,
            report,
            trees: Trees::Same(Frontier::default()),
            suspect: None,
            upper: None,
            next: 0,
            good: Good::default(),
            broken: None,
            levels: Vec::new(),
        })
    }

    pub(super) fn run(mut self) -> io::Result<()> {
        let (mut size, mut end) = (0, Go::On);
        if self.checkpoints(0)? == Go::On {
            for tile in 0.. {
                let (read, go) = self.tile(tile)?;
                size = tile * WIDTH + read;
                if go == Go::Ended || read < WIDTH {
                    end = go;
                    break;
                }
            }
        }
        self.report.entries = size;
        // What ended the pass may be all that is wrong with what follows.
        if end == Go::On {
            self.close(size)?;
        }
        self.content.finish(self.report)
    }

    /// Reads one bundle and its tile; gives how many entries the log has there.
    fn tile(&mut self, n: u64) -> io::Result<(u64, Go)> {
        let base = n * WIDTH;
        let bundle = self.folder.widest(Row::Entries, n)?;
        let tile = self.folder.widest(Row::Tile(0), n)?;
        let Some(bundle) = bundle else {
            let goes_on = tile.is_some()
                || self.folder.has(Row::Entries, n + 1)?
                || self.folder.has(Row::Tile(0), n + 1)?;
            if goes_on {
                let path = Row::Entries.path(n, WIDTH);
                self.report
                    .add(Finding::new(Code::BUNDLE_MISSING, "and the log goes on").entry(base).file(path));
                return Ok((0, Go::Ended));
            }
            return Ok((0, Go::On));
        };
        let entries = layout::entries(&bundle.bytes);
        let found: Vec<Digest> = entries.leaves.iter().map(|(_, leaf)| merkle::leaf_hash(leaf)).collect();
        let tile_width = tile.as_ref().map_or(0, |tile| tile.width);
        let width = bundle.width.max(tile_width);
        let hashes = self.hashes(tile.as_ref(), Row::Tile(0), n, width, base, &found);
        let tile_path = tile.map_or_else(|| Row::Tile(0).path(n, width), |tile| tile.path);

        let end = entries.torn_at.unwrap_or(bundle.bytes.len());
        let byte = |at: usize| entries.leaves.get(at).map_or(end, |(byte, _)| *byte);
        let difference = difference::first(&found, &hashes, items(width), base).or_else(|| {
            let at = items(width);
            let text = "the bundle goes on after its last entry".to_owned();
            let torn = entries.torn_at.is_some();
            torn.then_some(difference::Difference { at, code: Code::BUNDLE_TOO_LONG, text })
        });
        if let Some(difference::Difference { at, code, text }) = &difference
            && self.suspect.is_none()
        {
            let (entry, place) = (base + *at as u64, *at);
            let of_entry = Finding::new(*code, text.clone()).entry(entry).file(&bundle.path).at(byte(place));
            if *code == Code::BUNDLE_TOO_LONG {
                // No tree is about what lies behind its last entry.
                self.report.add(of_entry);
            } else {
                let text = "the entry leads to the signed root, and the tile does not";
                let of_tile =
                    Finding::new(Code::TILE_HASH_MISMATCH, text).entry(entry).file(tile_path).at(place * 32);
                let hashes = (found.get(place).copied(), hashes.get(place).copied());
                self.suspect = Some(Suspect { entry, hashes, of_entry, of_tile });
            }
        }
        for at in 0..items(width) {
            let (own, other) = (found.get(at).copied(), hashes.get(at).copied());
            let index = base + at as u64;
            self.trees.push(own, other);
            if own != other
                && let Some(suspect) = self.suspect.as_mut().filter(|suspect| suspect.hashes == (other, own))
            {
                suspect.of_entry.code = Code::LEAVES_SWAPPED;
                suspect.of_entry.text = format!("with entry {index}");
            }
            if own == other
                && let Some((byte, leaf)) = entries.leaves.get(at)
            {
                self.content.take(index, leaf, &bundle.path, *byte, self.report)?;
            }
            if self.checkpoints(index + 1)? == Go::Ended {
                return Ok((at as u64 + 1, Go::Ended));
            }
        }
        if width == WIDTH {
            self.complete(&hashes)?;
        } else if self.folder.has(Row::Entries, n + 1)? || self.folder.has(Row::Tile(0), n + 1)? {
            let text = format!("the bundle holds {width} entries, and the log goes on");
            self.report.add(
                Finding::new(Code::BUNDLE_TRUNCATED, text).entry(base + width).file(bundle.path).at(end),
            );
            return Ok((width, Go::Ended));
        }
        Ok((width, Go::On))
    }

    /// The hashes of a tile of level 0, filled up with those of the entries where it has none.
    fn hashes(
        &mut self,
        tile: Option<&Found>,
        row: Row,
        n: u64,
        width: u64,
        base: u64,
        found: &[Digest],
    ) -> Vec<Digest> {
        let read = tile.and_then(|tile| layout::hashes(&tile.bytes));
        let mut hashes = match (tile, read) {
            (None, _) => {
                let finding = Finding::new(Code::TILE_MISSING, "with the hashes of these entries");
                self.report.add(finding.entry(base).until(base + width).file(row.path(n, width)));
                Vec::new()
            }
            (Some(tile), read) => {
                let read = read.unwrap_or_default();
                if read.len() != items(tile.width) || tile.bytes.len() != items(tile.width) * 32 {
                    let text = format!("{} bytes instead of {}", tile.bytes.len(), tile.width * 32);
                    let finding = Finding::new(Code::TILE_TRUNCATED, text).file(&tile.path);
                    self.report.add(finding.entry(base + read.len().min(items(tile.width)) as u64));
                } else if tile.width < width {
                    let finding = Finding::new(Code::TILE_MISSING, "there is only a narrower one");
                    self.report.add(finding.entry(base + tile.width).file(row.path(n, width)));
                }
                read
            }
        };
        hashes.truncate(items(width));
        let have = hashes.len();
        hashes.extend(found.iter().take(items(width)).skip(have));
        hashes
    }

    /// Takes the root of a full tile of level 0 to the levels above.
    fn complete(&mut self, hashes: &[Digest]) -> io::Result<()> {
        let mut root = merkle::root(hashes);
        for level in 1.. {
            if self.levels.len() < level {
                self.levels.push(Level::default());
            }
            let row = Row::Tile(u8::try_from(level).unwrap_or(u8::MAX));
            self.compare(level, row, root)?;
            let state = &mut self.levels[level - 1];
            state.hashes.push(root);
            if state.hashes.len() < items(WIDTH) {
                break;
            }
            root = merkle::root(&state.hashes);
            *state = Level { tiles: state.tiles + 1, ..Level::default() };
        }
        Ok(())
    }

    /// Compares the next hash of a level with the one in its tile.
    fn compare(&mut self, level: usize, row: Row, root: Digest) -> io::Result<()> {
        let state = &mut self.levels[level - 1];
        let slot = state.hashes.len();
        let n = state.tiles;
        if state.file.is_none() {
            let found = self.folder.widest(row, n)?;
            let hashes = found.as_ref().and_then(|found| layout::hashes(&found.bytes)).unwrap_or_default();
            if let Some(found) = &found
                && found.bytes.len() != items(found.width) * 32
            {
                let text = format!("{} bytes instead of {}", found.bytes.len(), found.width * 32);
                self.report.add(Finding::new(Code::TILE_TRUNCATED, text).file(&found.path));
            }
            state.file = Some((found, hashes));
        }
        let Some((found, hashes)) = &state.file else { return Ok(()) };
        let under = 1u64 << (8 * level).min(63);
        let from = (n * WIDTH + slot as u64) * under;
        let path = found.as_ref().map_or_else(|| row.path(n, WIDTH), |found| found.path.clone());
        // An export that was interrupted has tiles that no checkpoint vouches for yet.
        let vouched = self.notes.sizes().last().is_some_and(|largest| from + under <= *largest);
        match hashes.get(slot) {
            Some(hash) if *hash == root => {}
            Some(_) if self.upper.is_none() => {
                let text = format!("the hash over entries {from} to {} is not theirs", from + under - 1);
                let finding = Finding::new(Code::TILE_HASH_MISMATCH, text).file(path).at(slot * 32);
                self.upper = Some(Upper { from, until: from + under, finding });
            }
            Some(_) => {}
            None if vouched && (slot == 0 || slot == hashes.len()) => {
                let text = format!("it has no hash over entries {from} to {}", from + under - 1);
                // A torn tile is told once.
                let torn = found.as_ref().is_some_and(|found| found.bytes.len() != items(found.width) * 32);
                if !torn {
                    self.report.add(Finding::new(Code::TILE_MISSING, text).file(path));
                }
            }
            None => {}
        }
        Ok(())
    }

    /// Compares the tree of `size` entries with the checkpoints of that size.
    fn checkpoints(&mut self, size: u64) -> io::Result<Go> {
        if self.notes.sizes().get(self.next) != Some(&size) {
            return Ok(Go::On);
        }
        self.next += 1;
        for (name, checkpoint) in self.notes.of(size, self.report)? {
            if self.judge(name, checkpoint) == Go::Ended {
                return Ok(Go::Ended);
            }
        }
        Ok(Go::On)
    }

    fn judge(&mut self, name: String, checkpoint: Checkpoint) -> Go {
        let entries_lead = self.trees.entries().is_some_and(|tree| tree.root() == checkpoint.root);
        let tiles_lead = self.trees.tiles().is_some_and(|tree| tree.root() == checkpoint.root);
        if !entries_lead && !tiles_lead {
            let same_size = self.good.size == checkpoint.size && !self.good.name.is_empty();
            if same_size {
                self.fork(&name, &checkpoint, &self.good.name.clone(), self.good.size);
            } else if self.broken.is_none() {
                self.broken = Some((name, checkpoint));
            }
            return Go::On;
        }
        if let Some((other, forked)) = self.broken.take() {
            self.fork(&other, &forked, &name, checkpoint.size);
        }
        self.report.checkpoints += 1;
        self.report.signed = checkpoint.size;
        self.report.root = checkpoint.root.to_string();
        self.report.signed_at_ms = checkpoint.signed_at.0;
        self.good = Good { size: checkpoint.size, name };
        if let Some(suspect) = self.suspect.take_if(|_| !(entries_lead && tiles_lead)) {
            self.report.add(if entries_lead { suspect.of_tile } else { suspect.of_entry });
            return Go::Ended;
        }
        if let Some(upper) = self.upper.take_if(|upper| upper.until <= checkpoint.size) {
            self.report.add(upper.finding);
            return Go::Ended;
        }
        Go::On
    }

    fn fork(&mut self, name: &str, forked: &Checkpoint, good: &str, good_size: u64) {
        let text = format!(
            "signed with root {} for {} entries; the log leads to {good} of {good_size} entries, and not to this one",
            forked.root, forked.size
        );
        self.report.add(Finding::new(Code::CHECKPOINT_FORK, text).file(name));
    }

    /// Says what is left when the log is at its end.
    fn close(&mut self, size: u64) -> io::Result<()> {
        if let Some((name, checkpoint)) = self.broken.take() {
            let range = self.good.size..checkpoint.size;
            let suspect = self.suspect.take_if(|suspect| range.contains(&suspect.entry));
            let narrowed = self
                .upper
                .take()
                .filter(|upper| upper.from < range.end && range.start < upper.until)
                .map_or(range.clone(), |upper| upper.from.max(range.start)..upper.until.min(range.end));
            self.report.add(suspect.map_or_else(
                || {
                    let text = format!(
                        "they do not lead to the root of {name}, of {} entries; those before lead to the one of {}",
                        checkpoint.size, range.start
                    );
                    Finding::new(Code::ROOT_MISMATCH, text).entry(narrowed.start).until(narrowed.end)
                },
                |suspect| suspect.of_entry,
            ));
            return Ok(());
        }
        if let Some(suspect) = self.suspect.take() {
            self.report.add(suspect.of_entry);
            return Ok(());
        }
        if let Some(upper) = self.upper.take() {
            self.report.add(upper.finding);
        }
        self.narrow_tiles()?;
        let mut short = None;
        for at in self.next..self.notes.sizes().len() {
            let vouched = self.notes.sizes()[at];
            short = short.or(self.notes.of(vouched, self.report)?.into_iter().next());
        }
        if let Some((name, checkpoint)) = short {
            let text = format!("{name} vouches for {} entries, and there are {size}", checkpoint.size);
            let row = Row::Entries.path(size / WIDTH, WIDTH);
            self.report.add(Finding::new(Code::LOG_CUT_SHORT, text).entry(size).file(row));
        }
        if size > self.good.size {
            let text = format!("{} entries", size - self.good.size);
            let finding = Finding::new(Code::ENTRIES_UNSIGNED, text).entry(self.good.size).until(size);
            self.report.add(finding);
        }
        Ok(())
    }

    /// Tiles above that hold more than the tree has.
    fn narrow_tiles(&mut self) -> io::Result<()> {
        for level in 1..=self.levels.len() + 1 {
            let row = Row::Tile(u8::try_from(level).unwrap_or(u8::MAX));
            let (n, have) =
                self.levels.get(level - 1).map_or((0, 0), |level| (level.tiles, level.hashes.len()));
            if let Some(found) = self.folder.widest(row, n)?
                && items(found.width) > have
            {
                let text = format!("it has {} hashes, and the tree {have}", found.width);
                self.report.add(Finding::new(Code::TILE_HASH_MISMATCH, text).file(found.path).at(have * 32));
            }
        }
        Ok(())
    }
}

impl Trees {
    fn push(&mut self, entry: Option<Digest>, tile: Option<Digest>) {
        if let Self::Same(tree) = self
            && (entry.is_none() || entry != tile)
        {
            *self = Self::Two { entries: Some(tree.clone()), tiles: Some(std::mem::take(tree)) };
        }
        match self {
            Self::Same(tree) => entry.into_iter().for_each(|hash| tree.push(hash)),
            Self::Two { entries, tiles } => {
                grow(entries, entry);
                grow(tiles, tile);
            }
        }
    }

    fn entries(&self) -> Option<&Frontier> {
        match self {
            Self::Same(tree) => Some(tree),
            Self::Two { entries, .. } => entries.as_ref(),
        }
    }

    fn tiles(&self) -> Option<&Frontier> {
        match self {
            Self::Same(tree) => Some(tree),
            Self::Two { tiles, .. } => tiles.as_ref(),
        }
    }
}

/// A tree with a gap is none.
fn grow(tree: &mut Option<Frontier>, hash: Option<Digest>) {
    match (tree.as_mut(), hash) {
        (Some(tree), Some(hash)) => tree.push(hash),
        (_, None) => *tree = None,
        (None, Some(_)) => {}
    }
}

/// At most 256.
fn items(width: u64) -> usize {
    usize::try_from(width).unwrap_or(usize::MAX)
}
