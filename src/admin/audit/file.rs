//! The file: appended to, put aside when it is large, found again when somebody moved it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::thread::Keep;
use crate::admin::wire::AuditEntryBody;

/// How much of the file's end is searched for its last whole line.
const TAIL_BYTES: u64 = 64 * 1024;

/// The file that lines are added to.
#[derive(Debug)]
pub(super) struct AuditFile {
    keep: Keep,
    open: Option<Open>,
    /// Of the last line that was written, also through restarts.
    sequence: u64,
}

#[derive(Debug)]
struct Open {
    file: File,
    bytes: u64,
    /// Whether the file ends within a line.
    torn: bool,
}

impl AuditFile {
    /// A file that is opened with its first line.
    pub(super) fn new(keep: Keep) -> Self {
        Self {
            keep,
            open: None,
            sequence: 0,
        }
    }

    /// Goes on elsewhere or within other bounds; the numbers of lines go on too.
    pub(super) fn go_on(&mut self, keep: Keep) {
        if keep.path != self.keep.path {
            self.open = None;
        }
        self.keep = keep;
    }

    /// Adds lines, each made from its number, and returns when they are on disk if they are to be.
    ///
    /// # Errors
    /// What the system said; then none of them counts as written, though some may be.
    pub(super) fn add<'a>(
        &mut self,
        lines: impl Iterator<Item = &'a super::Line>,
        flush: Flush,
    ) -> io::Result<()> {
        self.find()?;
        let mut text = String::new();
        let mut sequence = self.sequence;
        for line in lines {
            sequence += 1;
            text.push_str(&line.text(sequence));
        }
        let Some(open) = &mut self.open else {
            return Err(io::ErrorKind::NotFound.into());
        };
        // A cut line stays for itself, and what comes after it is whole again.
        if open.torn {
            text.insert(0, '\n');
        }
        open.torn = true;
        open.file.write_all(text.as_bytes())?;
        open.torn = false;
        open.bytes += text.len() as u64;
        self.sequence = sequence;
        if flush == Flush::Disk {
            open.file.sync_data()?;
        }
        Ok(())
    }

    /// Opens the file, unless the open one is still what is there and has room.
    fn find(&mut self) -> io::Result<()> {
        if let Some(open) = &self.open {
            let ours = open.file.metadata()?;
            let there = fs::metadata(&self.keep.path);
            let moved = there.is_ok_and(|it| (it.dev(), it.ino()) == (ours.dev(), ours.ino()));
            if moved && open.bytes < self.keep.max_bytes {
                return Ok(());
            }
            self.open = None;
        }
        if fs::metadata(&self.keep.path).is_ok_and(|it| it.len() >= self.keep.max_bytes) {
            self.put_aside()?;
        }
        self.open = Some(self.reopen()?);
        Ok(())
    }

    /// `audit.jsonl` becomes `audit.jsonl.1`, that one `.2`, and the last one goes.
    fn put_aside(&self) -> io::Result<()> {
        for number in (0..self.keep.files).rev() {
            let from = aside(&self.keep.path, number);
            match fs::rename(&from, aside(&self.keep.path, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<Open> {
        if let Some(folder) = self.keep.path.parent() {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(folder)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&self.keep.path)?;
        let bytes = file.metadata()?.len();
        let mut last = last_line(&mut file, bytes)?;
        if bytes == 0
            && self.sequence == 0
            && let Ok(mut before) = File::open(aside(&self.keep.path, 1))
        {
            // Put aside right before a restart: the numbers go on.
            let bytes = before.metadata()?.len();
            last.sequence = last_line(&mut before, bytes)?.sequence;
        }
        self.sequence = self.sequence.max(last.sequence);
        Ok(Open {
            file,
            bytes,
            torn: last.torn,
        })
    }
}

/// Whether lines are to be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flush {
    /// The system may take its time.
    Later,
    /// They are on disk when the call returns.
    Disk,
}

/// The file with this number behind it; none for 0.
pub(super) fn aside(path: &Path, number: u16) -> PathBuf {
    if number == 0 {
        return path.to_owned();
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{number}"));
    name.into()
}

struct Last {
    sequence: u64,
    torn: bool,
}

fn last_line(file: &mut File, bytes: u64) -> io::Result<Last> {
    let from = bytes.saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    let numbers = tail.split(|byte| *byte == b'\n').rev().filter_map(|line| {
        let entry: AuditEntryBody = serde_json::from_slice(line).ok()?;
        Some(entry.sequence)
    });
    Ok(Last {
        sequence: numbers.max().unwrap_or(0),
        torn: !matches!(tail.last(), None | Some(b'\n')),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::audit::line::{Line, entry};

    fn file(folder: &Path, max_bytes: u64) -> AuditFile {
        AuditFile::new(Keep {
            path: folder.join("deep/audit.jsonl"),
            max_bytes,
            files: 2,
        })
    }

    fn add(file: &mut AuditFile, target: &str) {
        let line = Line::new(entry(target));
        file.add([line].iter(), Flush::Disk).unwrap();
    }

    fn numbers(path: &Path) -> Vec<u64> {
        let text = fs::read_to_string(path).unwrap();
        let each = text
            .lines()
            .filter_map(|line| serde_json::from_str::<AuditEntryBody>(line).ok());
        each.map(|entry| entry.sequence).collect()
    }

    #[test]
    fn numbers_go_on_through_restarts_and_cut_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/audit.jsonl");
        add(&mut file(folder.path(), 1 << 20), "a");
        let mut written = fs::read(&path).unwrap();
        written.extend_from_slice(b"{\"sequence\":9,\"at");
        fs::write(&path, written).unwrap();

        let mut again = file(folder.path(), 1 << 20);
        add(&mut again, "b");
        add(&mut again, "c");

        assert_eq!(numbers(&path), [1, 2, 3]);
        let mode = fs::metadata(&path).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_large_file_is_put_aside_and_old_ones_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/audit.jsonl");
        let mut file = file(folder.path(), 1);
        for target in ["a", "b", "c", "d", "e"] {
            add(&mut file, target);
        }

        assert_eq!(numbers(&path), [5]);
        assert_eq!(numbers(&aside(&path, 1)), [4]);
        assert_eq!(numbers(&aside(&path, 2)), [3]);
        assert!(!aside(&path, 3).exists());
    }

    #[test]
    fn numbers_go_on_when_the_file_was_put_aside_before_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/audit.jsonl");
        add(&mut file(folder.path(), 1), "a");
        add(&mut file(folder.path(), 1), "b");

        assert_eq!(numbers(&path), [2]);
    }

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/audit.jsonl");
        let mut file = file(folder.path(), 1 << 20);
        add(&mut file, "a");
        fs::rename(&path, folder.path().join("elsewhere")).unwrap();

        add(&mut file, "b");

        assert_eq!(numbers(&path), [2]);
    }
}
