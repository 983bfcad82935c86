//! Reading the log, latest first.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use super::file::aside;
use super::thread::Keep;
use crate::admin::wire::AuditEntryBody;

/// How much is read at once.
const BLOCK_BYTES: usize = 64 * 1024;
/// Longest line that is read; none is written that long.
const LINE_MAX_BYTES: usize = 128 * 1024;

/// Which entries to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) struct Page {
    /// Only those with a smaller number.
    pub(in crate::admin) before: Option<u64>,
    /// At most this many.
    pub(in crate::admin) limit: usize,
}

/// The latest entries of the file and of those put aside. Blocks on the disk.
///
/// # Errors
/// What the system said; a file that is not there has no entries.
pub(in crate::admin) fn read(keep: &Keep, page: Page) -> io::Result<Vec<AuditEntryBody>> {
    let mut entries = Vec::new();
    for number in 0..=keep.files {
        let mut file = match File::open(aside(&keep.path, number)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if page
            .before
            .is_some_and(|before| is_later(&mut file, before))
        {
            continue;
        }
        backwards(file, |line| {
            let read = serde_json::from_slice::<AuditEntryBody>(line).ok();
            let wanted = |it: &AuditEntryBody| page.before.is_none_or(|at| it.sequence < at);
            entries.extend(read.filter(wanted));
            entries.len() < page.limit
        })?;
        if entries.len() >= page.limit {
            break;
        }
    }
    Ok(entries)
}

/// Whether the whole file is later than what is asked for, so that it need not be read.
fn is_later(file: &mut File, before: u64) -> bool {
    let mut first = Vec::new();
    let mut start = BufReader::new(file).take(LINE_MAX_BYTES as u64);
    let read = start.read_until(b'\n', &mut first);
    let entry = serde_json::from_slice::<AuditEntryBody>(&first);
    read.is_ok() && entry.is_ok_and(|entry| entry.sequence >= before)
}

/// Gives the lines of a file, the last one first, until somebody has enough.
fn backwards(mut file: File, mut more: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut end = file.seek(SeekFrom::End(0))?;
    // What was read and belongs to a line that begins further up.
    let mut rest: Vec<u8> = Vec::new();
    while end > 0 {
        let size = end.min(BLOCK_BYTES as u64);
        end -= size;
        file.seek(SeekFrom::Start(end))?;
        let mut block = Vec::new();
        Read::by_ref(&mut file).take(size).read_to_end(&mut block)?;
        block.extend_from_slice(&rest);
        let mut lines = block.split(|byte| *byte == b'\n');
        let first = lines.next().unwrap_or_default().to_vec();
        let whole: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
        for line in whole.into_iter().rev() {
            if !more(line) {
                return Ok(());
            }
        }
        rest = first;
        if rest.len() > LINE_MAX_BYTES {
            // Not one of ours: passed over, up to where it begins.
            rest.clear();
        }
    }
    if !rest.is_empty() {
        more(&rest);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::audit::file::{AuditFile, Flush};
    use crate::admin::audit::line::{Line, entry};

    fn log(folder: &std::path::Path, max_bytes: u64, count: usize) -> Keep {
        let keep = Keep {
            path: folder.join("audit.jsonl"),
            max_bytes,
            files: 3,
        };
        let mut file = AuditFile::new(keep.clone());
        for number in 0..count {
            let line = Line::new(entry(&"x".repeat(number % 200)));
            file.add([line].iter(), Flush::Later).unwrap();
        }
        keep
    }

    fn numbers(keep: &Keep, before: Option<u64>, limit: usize) -> Vec<u64> {
        let entries = read(keep, Page { before, limit }).unwrap();
        entries.iter().map(|entry| entry.sequence).collect()
    }

    #[test]
    fn pages_follow_on_one_another_over_blocks_and_files() {
        let folder = tempfile::tempdir().unwrap();
        let keep = log(folder.path(), 100_000, 1500);
        let mut read = Vec::new();
        let mut before = None;
        loop {
            let page = numbers(&keep, before, 97);
            let Some(last) = page.last() else { break };
            before = Some(*last);
            read.extend(page);
        }

        let expected: Vec<u64> = (1..=1500).rev().collect();
        assert_eq!(read, expected);
        assert!(aside(&keep.path, 1).exists());
    }

    #[test]
    fn what_is_no_entry_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let keep = log(folder.path(), 1 << 20, 3);
        let mut text = std::fs::read_to_string(&keep.path).unwrap();
        text.insert_str(0, &("y".repeat(300_000) + "\n{}\n\n"));
        text.push_str("{\"sequence\":");
        std::fs::write(&keep.path, text).unwrap();

        assert_eq!(numbers(&keep, None, 10), [3, 2, 1]);
        std::fs::remove_file(&keep.path).unwrap();
        assert!(numbers(&keep, None, 10).is_empty());
    }
}
