//! A damaged state file ends nothing.
#![no_main]

use std::cell::LazyCell;
use std::panic::{PanicHookInfo, set_hook, take_hook};

use tempfile::TempDir;

thread_local! {
    static FOLDER: LazyCell<TempDir> =
        LazyCell::new(|| tempfile::tempdir_in("/dev/shm").expect("a folder in memory"));
}

/// The database panics on some damage, which the store catches and tells as damage; every other
/// panic is a find.
fn allow_the_databases_panics() {
    let abort = take_hook();
    set_hook(Box::new(move |panic: &PanicHookInfo<'_>| {
        let file = panic.location().map(|place| place.file());
        if !file.is_some_and(|file| file.contains("/redb-")) {
            abort(panic);
        }
    }));
}

libfuzzer_sys::fuzz_target!(init: allow_the_databases_panics(), |input: &[u8]| {
    FOLDER.with(|folder| switchback::store::fuzzing::state_file(folder.path(), input));
});
