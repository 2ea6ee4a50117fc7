//! Sorting more records than fit into memory: sorted runs in temporary files, merged at the end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read, Seek, Write};

/// Takes records in any order and gives them in ascending order.
pub(super) struct Sorter<const N: usize> {
    buffer: Vec<[u8; N]>,
    in_memory: usize,
    runs: Vec<File>,
}

impl<const N: usize> Sorter<N> {
    /// One that keeps up to `in_memory` records in memory.
    pub(super) fn new(in_memory: usize) -> Self {
        Self { buffer: Vec::new(), in_memory: in_memory.max(1), runs: Vec::new() }
    }

    /// Takes a record.
    ///
    /// # Errors
    /// When a temporary file cannot be written.
    pub(super) fn push(&mut self, record: [u8; N]) -> io::Result<()> {
        self.buffer.push(record);
        if self.buffer.len() < self.in_memory {
            return Ok(());
        }
        self.buffer.sort_unstable();
        let mut run = BufWriter::new(tempfile::tempfile()?);
        for record in self.buffer.drain(..) {
            run.write_all(&record)?;
        }
        let mut run = run.into_inner().map_err(io::IntoInnerError::into_error)?;
        run.rewind()?;
        self.runs.push(run);
        Ok(())
    }

    /// Hands over every record in ascending order.
    ///
    /// # Errors
    /// When a temporary file cannot be read, or what `each` says.
    pub(super) fn finish(mut self, mut each: impl FnMut(&[u8; N]) -> io::Result<()>) -> io::Result<()> {
        self.buffer.sort_unstable();
        let mut rest = std::mem::take(&mut self.buffer).into_iter();
        let mut runs: Vec<_> = self.runs.into_iter().map(BufReader::new).collect();
        let last = runs.len();
        let mut next = |run: usize| match runs.get_mut(run) {
            Some(run) => read(run),
            None => Ok(rest.next()),
        };
        let mut heads = BinaryHeap::new();
        for run in 0..=last {
            heads.extend(next(run)?.map(|record| Reverse((record, run))));
        }
        while let Some(Reverse((record, run))) = heads.pop() {
            each(&record)?;
            heads.extend(next(run)?.map(|record| Reverse((record, run))));
        }
        Ok(())
    }
}

fn read<const N: usize>(run: &mut impl Read) -> io::Result<Option<[u8; N]>> {
    let mut record = [0; N];
    match run.read_exact(&mut record) {
        Ok(()) => Ok(Some(record)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_out_sorted_whether_or_not_they_fit_into_memory() {
        let records: Vec<[u8; 2]> = (0..1000u32).map(|n| [(n * 7 % 251) as u8, (n % 13) as u8]).collect();
        let mut expected = records.clone();
        expected.sort_unstable();
        for in_memory in [1, 7, 1000, 5000] {
            let mut sorter = Sorter::new(in_memory);
            for record in &records {
                sorter.push(*record).expect("kept");
            }
            let mut sorted = Vec::new();
            sorter
                .finish(|record| {
                    sorted.push(*record);
                    Ok(())
                })
                .expect("read");
            assert_eq!(sorted, expected, "{in_memory}");
        }
    }
}
