//! `state`: looking after the state file while no gateway has it.

use serde_json::json;

use super::args::{FileArgs, StateVerb};
use super::failure::{Exit, Failure};
use super::local;
use super::output::Output;
use crate::app::state;
use crate::config::{self, Config};

/// `switchback state`
pub(super) fn run(verb: StateVerb, output: Output) -> Result<Exit, Failure> {
    match verb {
        StateVerb::Check(file) => check(file, output),
        StateVerb::Migrate(args) => migrate(args.file, args.to, output),
    }
}

fn check(file: FileArgs, output: Output) -> Result<Exit, Failure> {
    let config = load(file, output)?;
    let seen = state::inspect(&config).map_err(|error| unusable(&error))?;
    let sound = seen.rows_unsound == 0;
    let answer = json!({
        "file": seen.file,
        "size_bytes": seen.size_bytes,
        "schema": seen.schema,
        "has_state": seen.has_state,
        "rows": seen.rows,
        "rows_unsound": seen.rows_unsound,
        "sound": sound,
    });
    output.answer(&answer, |_| {
        let state = if seen.has_state {
            "a state"
        } else {
            "no state yet"
        };
        format!(
            "{}: schema {}, {state}, {} rows of history, {} of them damaged",
            seen.file.display(),
            seen.schema,
            seen.rows + seen.rows_unsound,
            seen.rows_unsound,
        )
    })?;
    Ok(if sound { Exit::Done } else { Exit::Error })
}

fn migrate(file: FileArgs, to: u64, output: Output) -> Result<Exit, Failure> {
    let config = load(file, output)?;
    let done = state::migrate(&config, to).map_err(|error| unusable(&error))?;
    let answer = json!({ "from": done.from, "to": done.to, "backup": done.backup });
    output.answer(&answer, |_| match &done.backup {
        Some(backup) => format!(
            "brought from schema {} to {}; as it was: {}",
            done.from,
            done.to,
            backup.display()
        ),
        None => format!("has schema {to} already"),
    })?;
    Ok(Exit::Done)
}

fn load(file: FileArgs, output: Output) -> Result<Config, Failure> {
    let path = local::file(file)?;
    config::load(&path).map_err(|found| local::invalid(&path, &found, output))
}

fn unusable(error: &state::StoreError) -> Failure {
    Failure::new(Exit::Error, "cannot use the state").because(error)
}
