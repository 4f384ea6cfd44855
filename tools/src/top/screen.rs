//! The terminal: keys and sizes in, cells out, until somebody leaves.
//!
//! What is always true:
//!
//! - Nothing waits for the store or for a key: each has a thread of its own, and what comes first is answered at once.
//! - However this ends, by a key, a signal, an error or a panic, the terminal is as it was before.

use std::io::{self, IsTerminal as _};
use std::iter;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use annals::EventStore;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::crossterm::terminal::is_raw_mode_enabled;

use super::ask::Request;
use super::look::Look;
use super::model::{Input, Model};
use crate::exit::{Ended, Exit, Failure};

/// How late a signal, or a terminal that is gone, is noticed at most.
const PATIENCE: Duration = Duration::from_millis(100);

/// Shows the screens until somebody leaves; a look at the store every so often.
pub(crate) fn run(store: EventStore, path: &Path, every: Duration) -> Ended {
    let (asks, asked) = mpsc::channel();
    let (news, told) = mpsc::channel();
    let look = Look::new(store, path);
    let keys = news.clone();
    let reading = thread::spawn(move || serve(look, every, &asked, &news));
    // It waits for a key when all others have ended, and ends with the process.
    let listen = move || thread::spawn(move || listen(&keys));
    let ended = on_a_terminal(|terminal| {
        listen();
        let is_read = || !reading.is_finished();
        show(terminal, Model::new(path.display().to_string()), &asks, &told, &is_read)
    });
    // Nobody asks any more: the thread ends.
    drop(asks);
    match (reading.join(), ended) {
        (Ok(()), ended) => ended,
        (Err(_), _) => Err(Failure::io("the thread that reads the store has panicked")),
    }
}

fn on_a_terminal(show: impl FnOnce(&mut DefaultTerminal) -> Ended) -> Ended {
    // Also after a half of the beginning. A panic, of whatever thread, gives it back before it says what it is.
    let _restored = Restored;
    let mut terminal =
        ratatui::try_init().map_err(|error| Failure::io("cannot take over the terminal").because(&error))?;
    show(&mut terminal)
}

/// Gives the terminal back.
struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        // After a panic that is done already: once more, and what was said since would be written over.
        if is_raw_mode_enabled().unwrap_or(true) {
            ratatui::restore();
        }
    }
}

fn show(
    terminal: &mut DefaultTerminal,
    mut model: Model,
    asks: &Sender<Request>,
    told: &Receiver<Input>,
    is_read: &dyn Fn() -> bool,
) -> Ended {
    let failed = |error: io::Error| Failure::io("cannot use the terminal").because(&error);
    let is_to_end = told_to_end().map_err(failed)?;
    let size = terminal.size().map_err(failed)?;
    let mut inputs = vec![Input::Rows(size.height)];
    loop {
        let has_changed = !inputs.is_empty();
        for input in inputs.drain(..) {
            if let Some(request) = model.update(input)
                && asks.send(request).is_err()
            {
                // It has panicked, and whoever joins it says so.
                return Ok(Exit::Fine);
            }
        }
        if model.is_over() || is_to_end.load(Ordering::Relaxed) {
            return Ok(Exit::Fine);
        }
        if has_changed {
            terminal.draw(|frame| super::draw::draw(&model, frame)).map_err(failed)?;
        }
        match told.recv_timeout(PATIENCE) {
            Ok(input) => inputs.extend(iter::once(input).chain(told.try_iter())),
            // Of a terminal that is gone the keys' thread hears nothing, and signals may be ignored (nohup).
            Err(RecvTimeoutError::Timeout) if io::stdin().is_terminal() && is_read() => {}
            Err(_) => return Ok(Exit::Fine),
        }
    }
}

/// Tells of keys and sizes, as long as somebody listens.
fn listen(keys: &Sender<Input>) {
    loop {
        let input = match event::read() {
            Ok(Event::Key(key)) if key.kind != KeyEventKind::Release => Input::Key(key),
            Ok(Event::Resize(_, rows)) => Input::Rows(rows),
            Ok(_) => continue,
            // The terminal is gone, which is noticed by others.
            Err(_) => return,
        };
        if keys.send(input).is_err() {
            return;
        }
    }
}

/// What says, from now on, whether the process was told to end.
fn told_to_end() -> io::Result<Arc<AtomicBool>> {
    let is_to_end = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&is_to_end))?;
    }
    Ok(is_to_end)
}

/// Looks at the store every so often, and answers meanwhile, until nobody asks any more.
fn serve(mut look: Look, every: Duration, asked: &Receiver<Request>, news: &Sender<Input>) {
    let began = Instant::now();
    let mut next = began;
    loop {
        let input = match asked.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Request { number, ask }) => Input::Answer(number, look.answer(&ask)),
            Err(RecvTimeoutError::Timeout) => {
                next = Instant::now() + every;
                Input::Sample(look.sample(began.elapsed()))
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if news.send(input).is_err() {
            return;
        }
    }
}
