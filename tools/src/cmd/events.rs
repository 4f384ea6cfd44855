//! Printing events, one a line: what `export`, `get`, `read` and `tail` have in common.
//!
//! ```text
//!        1  2026-01-02T03:04:05.678Z  loan-173688 @1  A_SUBMITTED  {"amount_requested":20000,…
//! position  recorded                  stream, version type         data
//! ```
//!
//! With a ring of keys, what was encrypted with one of them is shown as it was, and where the key was destroyed,
//! that it was.

use std::path::Path;

use annals::shred::{Content, KeyRing};
use annals::{ContentType, Event, EventStore, ReadError, Reader, Redactions};

use crate::exit::{Exit, Failure};
use crate::human::{preview, printable};
use crate::ndjson;
use crate::open;
use crate::out::{BOLD, DIM, Out};
use crate::time;

/// How many characters of a payload a person is shown.
const PREVIEW: usize = 120;

/// Prints every event of `reader` up to `last`, of which `place` says how far along it is.
///
/// Damage is told on standard error and, if `skip_damaged`, read over.
pub(super) struct Printing<'a> {
    pub(super) out: &'a mut Out,
    /// Whether what is damaged is left out, or ends it.
    pub(super) skip_damaged: bool,
    /// Whether the events are printed as `import` takes them, whoever reads.
    pub(super) as_lines: bool,
    keys: Option<KeyRing>,
    /// Where it is looked up what is known of redacted events.
    store: &'a EventStore,
    redactions: Redactions,
    line: Vec<u8>,
    exit: Exit,
}

impl<'a> Printing<'a> {
    pub(super) fn new(store: &'a EventStore, out: &'a mut Out, skip_damaged: bool) -> Printing<'a> {
        let as_lines = out.is_json();
        let redactions = Redactions::default();
        Printing { out, skip_damaged, as_lines, keys: None, store, redactions, line: Vec::new(), exit: Exit::Fine }
    }

    /// Also shows what was encrypted with the keys of the ring in `dir`, if one is given.
    pub(super) fn decrypting(mut self, dir: Option<&Path>) -> Result<Printing<'a>, Failure> {
        self.keys = dir.map(super::keys::for_reading).transpose()?;
        Ok(self)
    }

    /// Prints the events as long as `more` says so; it sees each before it is printed.
    pub(super) fn all(&mut self, reader: Reader, mut more: impl FnMut(&Event<'_>) -> bool) -> Result<(), Failure> {
        let mut reader = if self.skip_damaged { reader.skip_damaged() } else { reader };
        loop {
            match reader.next_event() {
                Ok(Some(event)) if more(&event) => self.event(&event)?,
                Ok(_) => return Ok(()),
                Err(error) => self.unread(&error)?,
            }
        }
    }

    /// Tells of events that cannot be read; it is the end, unless they are damaged and to be left out.
    pub(super) fn unread(&mut self, error: &ReadError) -> Result<(), Failure> {
        if !self.skip_damaged || !matches!(error, ReadError::Corrupt(_)) {
            return Err(open::unread(error));
        }
        // What was printed before stands before it.
        self.out.flush()?;
        self.exit = open::unread(error).next("going on behind it").tell(self.out.is_json());
        Ok(())
    }

    /// Prints one event.
    pub(super) fn event(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        if event.redacted {
            return self.redacted(event);
        }
        let Some(keys) = self.keys.as_ref().filter(|_| event.content_type == ContentType::ENCRYPTED) else {
            return self.as_it_is(event);
        };
        let mut shown = *event;
        match keys.decrypt(event) {
            Ok(Content::Readable(content)) => {
                shown.data = &content.data;
                shown.metadata = content.metadata.as_deref();
                shown.content_type = content.content_type;
                self.as_it_is(&shown)
            }
            // Programs see from its content type that it is encrypted still.
            Ok(Content::Shredded { .. }) if self.as_lines => self.as_it_is(event),
            Ok(Content::Shredded { destroyed_at }) => {
                let data = format!("(cannot be read any more: its key was destroyed {})", time::show(destroyed_at));
                shown.data = data.as_bytes();
                self.as_it_is(&shown)
            }
            Err(error) => {
                self.out.flush()?;
                let what = format!("cannot decrypt the event at position {}", event.position);
                self.exit = Failure::findings(what).because(&error).next("going on").tell(self.out.is_json());
                self.as_it_is(event)
            }
        }
    }

    fn redacted(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        // Where what is known of it cannot be read, that is told when the reader gets there.
        let known = self.store.redaction_in(&mut self.redactions, event.position).ok().flatten();
        if self.as_lines {
            self.line.clear();
            ndjson::write_event_knowing(&mut self.line, event, known);
            return self.out.bytes(&self.line);
        }
        let text = match known {
            Some(known) => format!("(redacted: {}; SHA-256 {}…)", known.reason, &known.digest.to_string()[..16]),
            None => "(redacted)".to_owned(),
        };
        let mut shown = *event;
        shown.data = text.as_bytes();
        self.as_it_is(&shown)
    }

    fn as_it_is(&mut self, event: &Event<'_>) -> Result<(), Failure> {
        if self.as_lines {
            self.line.clear();
            ndjson::write_event(&mut self.line, event);
            return self.out.bytes(&self.line);
        }
        self.out.say(format_args!(
            "{:>9}  {DIM}{:<30}{DIM:#}  {} {DIM}@{}{DIM:#}  {BOLD}{}{BOLD:#}  {}",
            event.position.get(),
            time::show(event.recorded_at),
            printable(event.stream),
            event.version,
            printable(event.event_type),
            preview(event.data, PREVIEW),
        ))
    }

    /// How it ended: damage that was read over is a finding all the same.
    pub(super) fn exit(&self) -> Exit {
        self.exit
    }
}
