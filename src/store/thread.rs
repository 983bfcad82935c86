//! The thread that does the disk's work, and the two doors to it.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use redb::Database;
use tokio::sync::{mpsc, oneshot};

use super::care;
use super::disk::{self, Folder, Opener};
use super::error::StoreError;
use super::journal::{self, Batches, Journal, JournalEntry};
use super::sessions::{self, SessionRow, SessionRows};
use super::tables::{self, Batch, Contents, Query, Row};

/// Reads and writes that may wait for the disk.
const QUEUE: usize = 64;

/// Writes and reads. There is one; when it is dropped, what was asked for is finished first.
#[derive(Debug)]
pub struct Store {
    jobs: Option<mpsc::Sender<Job>>,
    path: PathBuf,
    thread: Option<JoinHandle<()>>,
}

/// Reads only, from anywhere.
#[derive(Clone, Debug)]
pub struct StoreReader {
    jobs: mpsc::WeakSender<Job>,
    path: PathBuf,
}

enum Job {
    Save(Batch, oneshot::Sender<Result<(), StoreError>>),
    Keep(SessionRows, oneshot::Sender<Result<(), StoreError>>),
    Note(JournalEntry, oneshot::Sender<Result<(), StoreError>>),
    Read(Query, oneshot::Sender<Result<Vec<Row>, StoreError>>),
    Release(oneshot::Sender<()>),
    Reclaim(oneshot::Sender<Result<(), StoreError>>),
}

impl Store {
    /// Takes the state folder and reads what is in it; makes both when they are missing.
    ///
    /// Blocks on the disk.
    pub fn open(folder: &Path) -> Result<(Self, Contents), StoreError> {
        let folder = Folder::take(folder)?;
        folder.make_file()?;
        let database = care::bring_forth(&folder)?;
        let path = folder.file();
        let file = path.clone();
        let open = Box::new(move || disk::open(&file));
        Self::start(path, open, Some((folder, database)))
    }

    /// A store over whatever `open` opens.
    #[cfg(test)]
    pub(super) fn over(path: PathBuf, open: Opener) -> Result<(Self, Contents), StoreError> {
        Self::start(path, open, None)
    }

    fn start(
        path: PathBuf,
        open: Opener,
        taken: Option<(Folder, Database)>,
    ) -> Result<(Self, Contents), StoreError> {
        let (folder, database) = taken.unzip();
        let mut worker = Worker {
            identity: identity(&path),
            path: path.clone(),
            open,
            database,
            commit: 0,
            folder,
            released: false,
        };
        let mut contents = worker.contents()?;
        let (sessions, latest) = worker.sessions()?;
        contents.sessions = sessions;
        let (callers, latest_callers) = worker.journal(Journal::Callers)?;
        let (ties, latest_ties) = worker.journal(Journal::Ties)?;
        (contents.callers, contents.ties) = (callers, ties);
        let latest = latest.max(latest_callers).max(latest_ties);
        worker.commit = contents.commit.max(latest);
        let (jobs, queue) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || worker.run(queue))
            .map_err(|source| StoreError::io("starting the thread for", &path, source))?;
        let store = Self {
            jobs: Some(jobs),
            path,
            thread: Some(thread),
        };
        Ok((store, contents))
    }

    /// Asks for a batch to be written. The answer comes when it is on disk, or was refused.
    ///
    /// Batches are written in the order of the calls, also when nobody waits for the answer.
    pub fn save(&self, batch: Batch) -> oneshot::Receiver<Result<(), StoreError>> {
        self.write(|reply| Job::Save(batch, reply))
    }

    /// Asks for rows of sessions to be written, in the same order and with the same answer.
    pub fn keep(&self, rows: SessionRows) -> oneshot::Receiver<Result<(), StoreError>> {
        self.write(|reply| Job::Keep(rows, reply))
    }

    /// Asks for an entry of a journal to be written, in the same order and with the same answer.
    pub fn note(&self, entry: JournalEntry) -> oneshot::Receiver<Result<(), StoreError>> {
        self.write(|reply| Job::Note(entry, reply))
    }

    fn write(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<(), StoreError>>) -> Job,
    ) -> oneshot::Receiver<Result<(), StoreError>> {
        let (reply, answer) = oneshot::channel();
        let refused = match &self.jobs {
            Some(jobs) => jobs.try_send(job(reply)).err(),
            None => None,
        };
        if let Some(
            mpsc::error::TrySendError::Full(
                Job::Save(_, reply) | Job::Keep(_, reply) | Job::Note(_, reply),
            )
            | mpsc::error::TrySendError::Closed(
                Job::Save(_, reply) | Job::Keep(_, reply) | Job::Note(_, reply),
            ),
        ) = refused
        {
            let path = self.path.clone();
            // Nobody may be waiting any more, which is fine.
            let _ = reply.send(Err(StoreError::Busy { path }));
        }
        answer
    }

    /// Lets go of the folder, so that another process can take it, when everything that was
    /// asked for before is done. Until [`Store::reclaim`] nothing is read or written.
    pub fn release(&self) -> oneshot::Receiver<()> {
        let (reply, answer) = oneshot::channel();
        self.ask(Job::Release(reply));
        answer
    }

    /// Takes the folder back after [`Store::release`].
    pub fn reclaim(&self) -> oneshot::Receiver<Result<(), StoreError>> {
        let (reply, answer) = oneshot::channel();
        self.ask(Job::Reclaim(reply));
        answer
    }

    /// Whoever asked learns of a refusal by the job being dropped.
    fn ask(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            let _ = jobs.try_send(job);
        }
    }

    /// A door for reading.
    pub fn reader(&self) -> StoreReader {
        StoreReader {
            jobs: match &self.jobs {
                Some(jobs) => jobs.downgrade(),
                None => mpsc::channel(1).0.downgrade(),
            },
            path: self.path.clone(),
        }
    }

    /// Lets go of a store whose disk hangs: what was asked for is finished if the disk ever
    /// comes back, and nobody waits for that.
    pub fn abandon(mut self) {
        self.jobs = None;
        self.thread = None;
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

impl StoreReader {
    /// Rows of the history, latest first.
    pub async fn history(&self, query: Query) -> Result<Vec<Row>, StoreError> {
        let stopped = || StoreError::Stopped {
            path: self.path.clone(),
        };
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.upgrade().ok_or_else(stopped)?;
        let busy = || StoreError::Busy {
            path: self.path.clone(),
        };
        // Readers never take the places that writes need.
        if jobs.capacity() <= QUEUE / 2 {
            return Err(busy());
        }
        jobs.try_send(Job::Read(query, reply)).map_err(|_| busy())?;
        drop(jobs);
        answer.await.map_err(|_| stopped())?
    }
}

/// Owned by the thread.
struct Worker {
    path: PathBuf,
    open: Opener,
    /// `None` after a failure, until the next job opens it anew.
    database: Option<Database>,
    /// The file that was opened; `None` where there is no file.
    identity: Option<Identity>,
    /// The number of the last commit.
    commit: u64,
    /// The folder, while it is ours; `None` after a release, and where there is no folder.
    folder: Option<Folder>,
    released: bool,
}

/// What tells a file from another one of the same name: device and inode.
type Identity = (u64, u64);

fn identity(path: &Path) -> Option<Identity> {
    std::fs::metadata(path)
        .ok()
        .map(|file| (file.dev(), file.ino()))
}

impl Worker {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        // Whoever asked may have left.
        while let Some(job) = queue.blocking_recv() {
            match job {
                Job::Save(batch, reply) => {
                    let _ = reply.send(self.save(&batch));
                }
                Job::Keep(rows, reply) => {
                    let _ = reply.send(self.keep(&rows));
                }
                Job::Note(entry, reply) => {
                    let _ = reply.send(self.note(&entry));
                }
                Job::Read(query, reply) => {
                    let rows = self.with("reading", |database| tables::history(database, &query));
                    let _ = reply.send(rows);
                }
                Job::Release(reply) => {
                    self.database = None;
                    self.folder = None;
                    self.released = true;
                    let _ = reply.send(());
                }
                Job::Reclaim(reply) => {
                    let _ = reply.send(self.reclaim());
                }
            }
        }
    }

    fn save(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.is_in_place()?;
        let commit = self.commit + 1;
        self.with("writing", |database| tables::save(database, batch, commit))?;
        self.commit = commit;
        Ok(())
    }

    fn keep(&mut self, rows: &SessionRows) -> Result<(), StoreError> {
        self.is_in_place()?;
        let commit = self.commit + 1;
        self.with("writing", |database| sessions::keep(database, rows, commit))?;
        self.commit = commit;
        Ok(())
    }

    fn note(&mut self, entry: &JournalEntry) -> Result<(), StoreError> {
        self.is_in_place()?;
        let commit = self.commit + 1;
        self.with("writing", |database| {
            journal::write(database, entry, commit)
        })?;
        self.commit = commit;
        Ok(())
    }

    fn journal(&mut self, journal: Journal) -> Result<(Batches, u64), StoreError> {
        let path = self.path.clone();
        let read = self.with("reading", |database| Ok(journal::all(database, journal)))?;
        read.map_err(|unreadable| StoreError::unreadable(&path, unreadable))
    }

    fn sessions(&mut self) -> Result<(Vec<SessionRow>, u64), StoreError> {
        let path = self.path.clone();
        let read = self.with("reading", |database| Ok(sessions::all(database)))?;
        read.map_err(|unreadable| StoreError::unreadable(&path, unreadable))
    }

    /// Whoever had the folder in between may have written, or made the file anew.
    fn reclaim(&mut self) -> Result<(), StoreError> {
        if !self.released {
            return Ok(());
        }
        if let Some(folder) = self.path.parent() {
            let folder = Folder::take(folder)?;
            folder.make_file()?;
            self.folder = Some(folder);
        }
        self.released = false;
        self.identity = identity(&self.path);
        match self.contents() {
            Ok(contents) => {
                self.commit = self.commit.max(contents.commit);
                Ok(())
            }
            Err(error) => {
                self.folder = None;
                self.released = true;
                Err(error)
            }
        }
    }

    /// Somebody may have removed or replaced the file under us: what is written to it then is
    /// not there at the next start, so it must not be acknowledged.
    fn is_in_place(&self) -> Result<(), StoreError> {
        if self.identity.is_none() || identity(&self.path) == self.identity {
            return Ok(());
        }
        let gone = io::Error::new(
            io::ErrorKind::NotFound,
            "the file was removed or replaced; start the gateway again to make a new one",
        );
        Err(StoreError::io("writing", &self.path, gone))
    }

    fn contents(&mut self) -> Result<Contents, StoreError> {
        let path = self.path.clone();
        let read = self.with("reading", |database| Ok(tables::contents(database)))?;
        read.map_err(|unreadable| StoreError::unreadable(&path, unreadable))
    }

    /// Does one thing with the database, and lets go of it when that fails: the database
    /// refuses everything after a failed write until it is opened again.
    fn with<T>(
        &mut self,
        tried: &'static str,
        job: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        if self.released {
            return Err(StoreError::HandedOver {
                path: self.path.clone(),
            });
        }
        let path = self.path.clone();
        care::guarded(&path, || {
            let database = match self.database.take() {
                Some(database) => database,
                None => (self.open)()?,
            };
            let done = job(&database).map_err(|e| StoreError::database(tried, &self.path, e))?;
            self.database = Some(database);
            Ok(done)
        })
    }
}
