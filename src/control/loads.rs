//! Reading the file again, off this thread.

use std::sync::Arc;

use crate::config::{self, Config, Diagnostics};

use super::actor::{Askers, Control, FileRead, Load};
use super::author::Author;
use super::certificates::Renewal;
use super::change::{Answer, Change, Draft};
use super::command::Reply;
use super::error::ControlError;
use super::event::What;
use super::reload::ReloadReport;
use super::timestamp::Timestamp;
use super::wish;

/// Askers that wait for one reload.
const ASKERS_MAX: usize = 64;

impl Control {
    /// Reads the file; if it is being read already, reads it once more after that, since it may
    /// have changed in between.
    pub(super) fn ask_for_load(&mut self, author: Author, reply: Reply<ReloadReport>) {
        if self.load.is_none() && self.loaded.is_none() {
            self.start_load(vec![(author, reply)]);
        } else if self.load_again.len() < ASKERS_MAX {
            self.load_again.push((author, reply));
        } else {
            // Whoever asked may have left.
            let _ = reply.send(Err(ControlError::Busy));
        }
    }

    fn start_load(&mut self, asked: Askers) {
        let path = self.config.path().to_owned();
        let (certificates, keys) = (self.certificates.clone(), self.keys.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let config = config::load(path)?;
            let renewal = certificates.prepare(&config)?;
            keys.prepare(&config);
            Ok((config, renewal))
        });
        self.load = Some(Load { reading, asked });
    }

    /// The file has been read.
    pub(super) fn read(&mut self, read: FileRead) {
        let Some(Load { asked, .. }) = self.load.take() else {
            return;
        };
        match read {
            Ok(Ok((file, renewal))) => self.loaded = Some((Arc::new(file), renewal, asked)),
            Ok(Err(diagnostics)) => self.refuse_file(diagnostics, asked),
            Err(error) => {
                let why = format!("reading the config file failed: {error}");
                answer(asked, &Err(ControlError::Invalid(why)));
            }
        }
        self.load_next();
    }

    fn load_next(&mut self) {
        if !self.load_again.is_empty() && self.load.is_none() && self.loaded.is_none() {
            let asked = std::mem::take(&mut self.load_again);
            self.start_load(asked);
        }
    }

    fn refuse_file(&mut self, diagnostics: Diagnostics, asked: Askers) {
        self.pending = None;
        let known = self.refusal.as_ref();
        // Whoever asks again and again for the same broken file learns nothing new, and must not
        // push everything else out of the history.
        if known.is_none_or(|known| known.as_slice() != diagnostics.as_slice()) {
            self.tell_of_refusal(&diagnostics, author_of(&asked));
        }
        let refusal = Arc::new(diagnostics);
        self.refusal = Some(Arc::clone(&refusal));
        self.show();
        answer(asked, &Err(ControlError::Config(refusal)));
    }

    fn tell_of_refusal(&mut self, diagnostics: &Diagnostics, author: Author) {
        // The event has the first one; whoever has only the log needs them all.
        for mistake in diagnostics.as_slice() {
            let hint = mistake.hint.as_deref();
            tracing::error!(%mistake, hint, "a mistake in the config file");
        }
        let first = diagnostics.as_slice().first().map(ToString::to_string);
        self.tell(Draft {
            route: None,
            rollout: None,
            author,
            what: What::ConfigRefused {
                errors: diagnostics.len() as u64,
                first: first.unwrap_or_default(),
            },
        });
    }

    /// Puts a file in force that has been read.
    pub(super) fn submit_file(&mut self, file: Arc<Config>, renewal: Renewal, asked: Askers) {
        if file.fingerprint() == self.config.fingerprint() {
            self.confirm_file(asked);
        } else if let cut_off = wish::cut_off(&self.desired, file.spec())
            && !cut_off.is_empty()
        {
            self.refuse_file(file.refuse(cut_off), asked);
        } else {
            let (change, report) = self.ground().reload(file, &author_of(&asked));
            let replies = asked.into_iter().map(|(_, reply)| reply).collect();
            self.submit(Change {
                answer: Answer::Reloaded(replies, report),
                renewal: Some(renewal),
                ..change
            });
        }
        self.load_next();
    }

    /// The file says what it said before.
    fn confirm_file(&mut self, asked: Askers) {
        // Whoever asks may have changed files that the config only names.
        self.certificates.look_again();
        self.refusal = None;
        self.pending = None;
        self.loaded_at = Timestamp::now();
        self.show();
        let report = ReloadReport {
            generation: self.desired.generation,
            at: self.loaded_at,
            changed: false,
            notes: Vec::new(),
        };
        answer(asked, &Ok(report));
    }
}

fn author_of(asked: &Askers) -> Author {
    let first = asked.first().map(|(author, _)| author.clone());
    first.unwrap_or_else(|| Author::new("file", None))
}

fn answer(asked: Askers, with: &Result<ReloadReport, ControlError>) {
    for (_, reply) in asked {
        // Whoever asked may have left.
        let _ = reply.send(with.clone());
    }
}
