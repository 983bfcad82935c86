//! A panic ends one connection, not the process: it is counted and logged, never silent.

use std::panic::{self, PanicHookInfo};

/// Counts panics.
const PANICS: &str = "switchback_panics_total";
/// Longest part of a panic's message that is logged, in characters.
const MESSAGE_CHARS: usize = 500;

/// From now on every panic of any thread is counted and logged as an error.
pub fn count_panics() {
    super::describe_counter(PANICS, "Panics, each of which ended one connection or task");
    panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    metrics::counter!(PANICS).increment(1);
    let place = panic.location().map(ToString::to_string);
    let thread = std::thread::current();
    tracing::error!(
        place = place.as_deref().unwrap_or("unknown"),
        thread = thread.name().unwrap_or("unnamed"),
        cause = message(panic),
        "panicked; this is a fault of the gateway's own, please report it"
    );
}

fn message(panic: &PanicHookInfo<'_>) -> String {
    let text = panic.payload_as_str().unwrap_or("not a text");
    text.chars().take(MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use crate::telemetry::{Counters, Page};

    use super::*;

    fn counted() -> u64 {
        let mut page = Page::default();
        Counters::install().render(&mut page);
        let page = page.finish();
        let line = page.lines().find(|line| line.starts_with(PANICS)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn a_panic_is_counted() {
        let usual = panic::take_hook();
        count_panics();
        let before = counted();

        let result = std::thread::spawn(|| panic!("on purpose")).join();

        panic::set_hook(usual);
        assert!(result.is_err());
        assert!(counted() > before);
    }
}
