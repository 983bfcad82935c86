//! The terminal: taken on start, given back at the end, also after a panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

/// How often the key reader looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(100);

/// A terminal that shows the demo.
pub(super) struct Screen {
    /// What is drawn on.
    pub(super) terminal: DefaultTerminal,
    /// A word for each key that means "enough".
    pub(super) quit: mpsc::Receiver<()>,
    stop: Arc<AtomicBool>,
    keys: Option<JoinHandle<()>>,
}

impl Screen {
    /// Takes the terminal. A panic gives it back before it is printed.
    ///
    /// # Errors
    /// When there is no terminal to be had.
    pub(super) fn take() -> std::io::Result<Self> {
        let terminal = ratatui::try_init()?;
        let stop = Arc::new(AtomicBool::new(false));
        let (wanted, quit) = mpsc::channel(1);
        let stopped = Arc::clone(&stop);
        let mut screen = Self {
            terminal,
            quit,
            stop,
            keys: None,
        };
        let keys = std::thread::Builder::new()
            .name("demo-keys".to_owned())
            .spawn(move || read_keys(&stopped, &wanted))?;
        screen.keys = Some(keys);
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(keys) = self.keys.take() {
            // It ends within `LOOK`; a panic over there has been printed already.
            let _ = keys.join();
        }
        ratatui::restore();
    }
}

fn read_keys(stopped: &AtomicBool, wanted: &mpsc::Sender<()>) {
    while !stopped.load(Ordering::Relaxed) {
        let key = match event::poll(LOOK) {
            Ok(true) => event::read(),
            Ok(false) => continue,
            Err(_) => return,
        };
        if key.is_ok_and(|key| means_enough(&key)) {
            // When one is waiting already, that one does.
            let _ = wanted.try_send(());
        }
    }
}

fn means_enough(event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    let control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    let quit = matches!(key.code, KeyCode::Char('q' | 'Q') | KeyCode::Esc);
    key.kind == KeyEventKind::Press && (control_c || quit)
}
