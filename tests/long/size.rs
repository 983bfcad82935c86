//! How much a test does.

use std::fmt::Debug;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The size of a test: `short` as a rule, `full` in `./test --long`, and whatever the variable
/// `SWITCHBACK_LONG_<name>` says. Printed, so that a run tells what it held.
pub fn of<T: FromStr + Debug>(name: &str, short: T, full: T) -> T {
    let asked = std::env::var(format!("SWITCHBACK_LONG_{}", name.to_uppercase()));
    let size = match asked {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("SWITCHBACK_LONG_{name}: {text:?}")),
        Err(_) if std::env::var_os("SWITCHBACK_LONG").is_some() => full,
        Err(_) => short,
    };
    println!("{name}: {size:?}");
    size
}

/// The machine for one test alone: figures of memory, files and time mean nothing beside another.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    // A poisoned lock only says that the test before failed.
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
