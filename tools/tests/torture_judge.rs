//! The judge of real processes can say no: a store is doctored, or what was said about it, and the right promise is named.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use annals::{Durability, EventStore, NewEvent, Options, Position};
use annals_cli::torture::process::said::Said;
use annals_cli::torture::process::work::{Asks, Batch, Name, batch};
use annals_cli::torture::process::{Arrival, End, Ledger, Verdict, judge, writer};
use annals_cli::torture::{Rule, Violation};
use tempfile::TempDir;

const SEED: u64 = 11;
/// How many batches each thread appends in a life.
const BATCHES: u32 = 30;

/// What two children wrote into one store, and said.
struct Written {
    dir: TempDir,
    /// Of each life.
    lines: [Vec<String>; 2],
}

impl Written {
    /// The store as it was after this life.
    fn after(&self, life: u32) -> PathBuf {
        self.dir.path().join(format!("after-{life}"))
    }
}

fn written() -> &'static Written {
    static WRITTEN: OnceLock<Written> = OnceLock::new();
    WRITTEN.get_or_init(|| {
        let dir = TempDir::new().unwrap();
        let store = dir.path().join("store");
        let lines = [1, 2].map(|life| {
            let output = writer(Path::new(env!("CARGO_BIN_EXE_annals")), &store, SEED, life, BATCHES).output().unwrap();
            assert!(output.status.success(), "{}", output.status);
            copy(&store, &dir.path().join(format!("after-{life}")));
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
        });
        Written { dir, lines }
    })
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A copy of the store, and what was said until then.
struct Case {
    _dir: TempDir,
    store: PathBuf,
    lives: Vec<Vec<String>>,
    with_errors: bool,
}

fn case(life: u32) -> Case {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    copy(&written().after(life), &store);
    Case { _dir: dir, store, lives: written().lines[..life as usize].to_vec(), with_errors: false }
}

impl Case {
    /// All that was said, heard.
    fn ledger(&self) -> Result<Ledger, Violation> {
        let mut ledger = Ledger::new(SEED);
        for (life, lines) in (1..).zip(&self.lives) {
            ledger.begin_life(life, self.with_errors);
            for line in lines {
                ledger.take(&Said::parse(line).unwrap_or_else(|| panic!("{line}")))?;
            }
        }
        Ok(ledger)
    }

    fn judge(&self) -> Result<Verdict, Violation> {
        judge(&self.store, &self.ledger()?, End::Kill)
    }

    /// The promise that is broken, whether it is heard or found.
    #[track_caller]
    fn breaks(&self, rule: Rule, seen: &str) {
        match self.judge() {
            Ok(verdict) => panic!("nothing was found: {verdict:?}"),
            Err(violation) => check_violation(&violation, rule, seen),
        }
    }

    /// Says one more thing in the last life, before it ends.
    fn say(&mut self, line: impl Into<String>) {
        let last = self.lives.last_mut().unwrap();
        last.insert(last.len() - 1, line.into());
    }

    /// Opens the store in the test's own name, and appends to it.
    fn append(&self, write: impl FnOnce(&EventStore)) {
        let store = EventStore::open(&self.store, &Options::new().background(false)).unwrap();
        write(&store);
        store.close().unwrap();
    }
}

#[track_caller]
fn check_violation(violation: &Violation, rule: Rule, seen: &str) {
    assert_eq!(violation.rule, rule, "{violation}");
    assert!(violation.seen.contains(seen), "no {seen:?} in {violation}");
}

/// The acknowledgements of a life, as name and the whole line.
fn done(lines: &[String]) -> Vec<(Name, String)> {
    let name = |line: &String| match Said::parse(line)? {
        Said::Done { name, outcome: annals::Outcome::Appended, .. } => Some((name, line.clone())),
        _ => None,
    };
    lines.iter().filter_map(name).collect()
}

/// A batch that nobody has appended yet, of some kind.
fn unused(is: impl Fn(&Batch) -> bool) -> (Name, Batch) {
    let names = (1000..).map(|number| Name { life: 1, thread: 0, number });
    names.map(|name| (name, batch(SEED, name))).find(|(_, batch)| is(batch)).unwrap()
}

/// Appends some of the events of a batch.
fn append_part(store: &EventStore, batch: &Batch, events: usize) {
    let parts = batch.events.iter().take(events);
    let builder = store.batch().durability(Durability::Sync);
    parts.fold(builder, |builder, event| builder.event(&*event.stream, event.new_event())).commit().unwrap();
}

#[test]
fn what_children_wrote_and_said_is_in_order() {
    for life in [1, 2] {
        let verdict = case(life).judge().unwrap();
        assert!(verdict.acknowledged > 20, "{verdict:?}");
        assert_eq!(verdict.given_up, 0, "{verdict:?}");
        assert!(verdict.retries.0 > 0 && verdict.looked_up > verdict.head.get(), "{verdict:?}");
        let segments = fs::read_dir(written().after(life).join("seg")).unwrap();
        let size: u64 = segments.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        assert!(verdict.unchanged > size, "{verdict:?}");
    }
}

#[test]
fn a_store_that_is_older_than_what_was_acknowledged_breaks_o1() {
    let older = Case { lives: written().lines.to_vec(), ..case(1) };
    older.breaks(Rule::AcknowledgedStays, "was durable");
}

#[test]
fn a_store_that_is_gone_breaks_o1() {
    let case = case(1);
    fs::remove_dir_all(&case.store).unwrap();
    case.breaks(Rule::AcknowledgedStays, "the store is gone");
}

#[test]
fn a_batch_at_another_position_than_acknowledged_breaks_o1() {
    let mut case = case(1);
    // A flush would notice at once.
    case.lives[0].retain(|line| !line.starts_with("flush"));
    let single = |line: &&(Name, String)| batch(SEED, line.0).events.len() == 1;
    let done = done(&case.lives[0]);
    let [one, other] = [0, 1].map(|nth| done.iter().filter(single).nth(nth).unwrap().clone());
    for line in &mut case.lives[0] {
        if *line == one.1 {
            *line = other.1.replace(&other.0.to_string(), &one.0.to_string());
        } else if *line == other.1 {
            *line = one.1.replace(&one.0.to_string(), &other.0.to_string());
        }
    }
    case.breaks(Rule::AcknowledgedStays, "and is at");
}

#[test]
fn another_content_than_was_acknowledged_breaks_o1() {
    let mut case = case(1);
    let (name, mut changed) = unused(|batch| batch.events.len() == 1 && batch.events[0].data.len() > 100);
    *changed.events[0].data.last_mut().unwrap() ^= 1;
    case.append(|store| append_part(store, &changed, 1));
    case.say(format!("intend {name}"));
    case.breaks(Rule::AcknowledgedStays, "another data");
}

#[test]
fn an_acknowledged_batch_begun_after_a_later_one_was_acknowledged_breaks_o1() {
    let mut case = case(1);
    let (name, line) = done(&case.lives[0])[0].clone();
    let intent = format!("intend {name}");
    case.lives[0].retain(|said| *said != intent && *said != line);
    case.say(intent);
    case.say(line);
    case.breaks(Rule::AcknowledgedStays, "was begun after");
}

#[test]
fn a_source_that_is_not_as_far_as_acknowledged_breaks_o1() {
    let mut case = case(1);
    let (name, _) = unused(|batch| batch.events.is_empty());
    let Some(Said::Closed { head }) = Said::parse(case.lives[0].last().unwrap()) else { panic!("it was closed") };
    case.say(format!("intend {name}"));
    case.say(format!("done {name} appended {} {head} sync", head.plus(1)));
    case.breaks(Rule::AcknowledgedStays, "was processed up to");
}

#[test]
fn a_flush_that_leaves_something_out_breaks_o1() {
    let mut case = case(1);
    case.say("flushing 0");
    case.say("flushed 0 1");
    case.breaks(Rule::AcknowledgedStays, "a flush says 1");
}

#[test]
fn the_next_life_that_opens_with_less_breaks_o1() {
    let mut case = case(2);
    case.lives[1][0] = "opened 3 clean".to_owned();
    case.breaks(Rule::AcknowledgedStays, "opens at position 3");
}

#[test]
fn a_batch_that_nobody_appended_breaks_o2() {
    let mut case = case(1);
    let (name, _) = done(&case.lives[0]).pop().unwrap();
    case.lives[0].retain(|line| !line.contains(&format!("{name}")));
    case.breaks(Rule::WholeOrAbsent, "nobody appended it");
}

#[test]
fn an_event_that_nobody_wrote_breaks_o2() {
    let case = case(1);
    case.append(|store| {
        store.batch().event("s-1", NewEvent::new("Begun", "hello\n")).commit().unwrap();
    });
    case.breaks(Rule::WholeOrAbsent, "nobody wrote the event");
}

#[test]
fn a_part_of_a_batch_breaks_o2() {
    let mut case = case(1);
    let (name, part) = unused(|batch| batch.events.len() > 2);
    case.append(|store| append_part(store, &part, 2));
    case.say(format!("intend {name}"));
    case.breaks(Rule::WholeOrAbsent, "the log ends after 2 of them");
}

#[test]
fn a_part_of_a_batch_before_another_one_breaks_o2() {
    let mut case = case(1);
    let (name, part) = unused(|batch| batch.events.len() == 3);
    let (other, whole) = unused(|batch| batch.events.len() == 4);
    case.append(|store| {
        append_part(store, &part, 2);
        append_part(store, &whole, 4);
    });
    case.say(format!("intend {name}"));
    case.say(format!("intend {other}"));
    case.breaks(Rule::WholeOrAbsent, "ends before its event 2");
}

#[test]
fn a_batch_without_its_first_event_breaks_o2() {
    let mut case = case(1);
    let (name, mut part) = unused(|batch| batch.events.len() > 2);
    part.events.remove(0);
    case.append(|store| append_part(store, &part, 1));
    case.say(format!("intend {name}"));
    case.breaks(Rule::WholeOrAbsent, "without those before it");
}

#[test]
fn a_batch_that_is_there_twice_breaks_o2() {
    let mut case = case(1);
    let (name, twice) = unused(|batch| !batch.can_be_retried() && !batch.events.is_empty());
    case.append(|store| {
        append_part(store, &twice, usize::MAX);
        append_part(store, &twice, usize::MAX);
    });
    case.say(format!("intend {name}"));
    case.breaks(Rule::WholeOrAbsent, "is there twice");
}

#[test]
fn a_batch_that_was_refused_and_is_there_breaks_o2() {
    let mut case = Case { with_errors: true, ..case(1) };
    let (name, there) = unused(|batch| !batch.events.is_empty());
    case.append(|store| append_part(store, &there, usize::MAX));
    case.say(format!("intend {name}"));
    case.say(format!("refused {name} full"));
    case.breaks(Rule::WholeOrAbsent, "was refused, and is at");
}

#[test]
fn a_batch_in_doubt_may_be_there_as_a_whole_and_may_be_gone() {
    // Those that a child left to themselves.
    let before = case(1).judge().unwrap();
    let mut case = case(1);
    let (there, batch) = unused(|batch| batch.events.len() == 1);
    let (gone, _) = unused(|batch| batch.events.len() > 1);
    case.append(|store| append_part(store, &batch, usize::MAX));
    case.say(format!("intend {there}"));
    case.say(format!("intend {gone}"));
    // Nobody closed it: that would have been an acknowledgement.
    case.lives[0].pop();
    let verdict = case.judge().unwrap();
    assert_eq!((verdict.kept, verdict.dropped), (before.kept + 1, before.dropped + 1), "{verdict:?}");
}

#[test]
fn a_source_that_is_further_than_any_batch_breaks_o2() {
    let case = case(1);
    case.append(|store| {
        store.batch().tracking("upstream-0", 1 << 60).commit().unwrap();
    });
    case.breaks(Rule::WholeOrAbsent, "the batches say");
}

#[test]
fn a_second_acknowledgement_of_what_is_there_breaks_o2() {
    let mut case = case(1);
    let (name, line) = done(&case.lives[0])[0].clone();
    case.say(format!("again {name}"));
    case.say(line);
    case.breaks(Rule::WholeOrAbsent, "was appended again");
}

/// A case that was judged, so that it is settled what there is; with a batch that was not there.
fn settled() -> (Case, Ledger, Name, Batch) {
    let mut case = case(1);
    let (gone, batch) =
        unused(|batch| !batch.can_be_retried() && !batch.events.is_empty() && batch.asks == Asks::Nothing);
    case.say(format!("intend {gone}"));
    let mut ledger = case.ledger().unwrap();
    let verdict = judge(&case.store, &ledger, End::Kill).unwrap();
    ledger.settle(&verdict);
    (case, ledger, gone, batch)
}

#[test]
fn what_was_dropped_and_returns_breaks_o3() {
    let (case, ledger, _, batch) = settled();
    case.append(|store| append_part(store, &batch, usize::MAX));
    check_violation(
        &judge(&case.store, &ledger, End::Kill).unwrap_err(),
        Rule::DroppedStaysGone,
        "was dropped, and is at",
    );
}

#[test]
fn what_was_dropped_and_is_found_by_a_retry_breaks_o3() {
    let (_, mut ledger, name, batch) = settled();
    ledger.begin_life(2, false);
    let take = |ledger: &mut Ledger, line: &str| ledger.take(&Said::parse(line).unwrap());
    take(&mut ledger, &format!("again {name}")).unwrap();
    let violation = take(&mut ledger, &format!("done {name} duplicate 1 {} sync", batch.events.len())).unwrap_err();
    check_violation(&violation, Rule::DroppedStaysGone, "was dropped");
}

#[test]
fn what_appears_behind_where_the_next_life_began_breaks_o3() {
    let mut case = case(2);
    // The batch of an earlier life that nobody answered for was not there when the next one began.
    let (_, batch) = unused(|batch| !batch.events.is_empty());
    let (name, _) = unused(|other| other.events == batch.events);
    case.append(|store| append_part(store, &batch, usize::MAX));
    let last = case.lives[0].len() - 1;
    case.lives[0].insert(last, format!("intend {name}"));
    case.breaks(Rule::DroppedStaysGone, "where no life that appended it was at work");
}

#[test]
fn what_a_life_appended_is_not_from_before_it_opened_the_store_or_o3_is_broken() {
    let mut case = case(1);
    let (name, batch) = unused(|batch| !batch.events.is_empty());
    let mut opened = Position::START;
    case.append(|store| {
        append_part(store, &batch, usize::MAX);
        opened = store.head();
    });
    case.lives.push(vec![format!("opened {opened} clean"), format!("intend {name}")]);
    case.breaks(Rule::DroppedStaysGone, "where no life that appended it was at work");
}

#[test]
fn a_store_that_shows_less_than_a_judge_has_seen_breaks_o4() {
    let (_, ledger, _, _) = settled();
    let untouched = case(1);
    check_violation(&judge(&untouched.store, &ledger, End::Kill).unwrap_err(), Rule::ShownStays, "before recovery");
}

#[test]
fn a_refusal_without_a_reason_breaks_o5() {
    for why in ["conflict", "condition", "tracking", "other"] {
        let mut case = case(1);
        let (name, _) = unused(|batch| batch.asks == Asks::Nothing && batch.tracking.is_none());
        case.say(format!("intend {name}"));
        case.say(format!("refused {name} {why}"));
        case.breaks(Rule::ReadsAgree, "there is no reason to");
    }
}

#[test]
fn an_append_to_where_its_stream_cannot_be_breaks_o5() {
    let mut case = case(1);
    let (name, _) = unused(|batch| batch.asks == Asks::Impossible && batch.events.len() == 1);
    case.say(format!("intend {name}"));
    case.say(format!("done {name} appended 100000 100000 sync"));
    case.breaks(Rule::ReadsAgree, "cannot be where");
}

#[test]
fn a_panic_and_a_child_that_hangs_break_o7() {
    let mut case = case(1);
    case.say("panicked it hangs: not done after 60s");
    case.breaks(Rule::NoPanic, "it hangs");
}

#[test]
fn an_acknowledgement_after_poison_breaks_o9() {
    let mut case = Case { with_errors: true, ..case(1) };
    let (name, _) = unused(|batch| batch.events.len() == 1);
    let poisoned = Name { number: name.number + 1, ..name };
    case.say(format!("intend {poisoned}"));
    case.say(format!("unknown {poisoned}"));
    case.say(format!("intend {name}"));
    case.say(format!("done {name} appended 100000 100000 sync"));
    case.breaks(Rule::FailuresAreTold, "an append succeeded after the store was poisoned");
}

#[test]
fn closing_or_flushing_after_poison_breaks_o9() {
    let mut case = Case { with_errors: true, ..case(1) };
    let (name, _) = unused(|_| true);
    case.say(format!("intend {name}"));
    case.say(format!("refused {name} poisoned"));
    case.breaks(Rule::FailuresAreTold, "closing succeeded after");
    case.say("flushing 0");
    case.say("flushed 0 1000000");
    case.breaks(Rule::FailuresAreTold, "a flush succeeded after");
}

#[test]
fn an_error_that_nobody_injected_breaks_o9() {
    for line in ["not-flushed 0", "refused 9/9/9 full", "not-opened io cannot sync it", "not-closed"] {
        let mut case = case(1);
        case.say("intend 9/9/9");
        case.say(line);
        case.breaks(Rule::FailuresAreTold, "no error was injected");
    }
}

#[test]
fn a_flipped_bit_in_what_was_durable_breaks_o10() {
    let case = case(2);
    let mut segments: Vec<PathBuf> =
        fs::read_dir(case.store.join("seg")).unwrap().map(|entry| entry.unwrap().path()).collect();
    segments.sort();
    // In the first event of a sealed segment, which only reading finds; and in the header of the last one.
    for (segment, at) in [(&segments[0], 4096 + 40), (segments.last().unwrap(), 20)] {
        let whole = fs::read(segment).unwrap();
        let mut hurt = whole.clone();
        hurt[at] ^= 1;
        fs::write(segment, hurt).unwrap();
        case.breaks(Rule::CrashIsNotDamage, "");
        fs::write(segment, whole).unwrap();
    }
    assert!(segments.len() > 2, "{segments:?}");
    case.judge().unwrap();
}

#[test]
fn a_child_that_is_told_of_damage_breaks_o10() {
    let mut case = case(1);
    case.lives.push(vec!["not-opened damaged segment 3 is damaged".to_owned()]);
    case.breaks(Rule::CrashIsNotDamage, "segment 3 is damaged");
}

#[test]
fn a_power_loss_may_take_what_was_not_heard_to_be_durable_and_nothing_else() {
    // The older store is what a power loss leaves of the newer one, if nothing of the second life reached the disk.
    let older = Case { lives: written().lines.to_vec(), ..case(1) };
    let ledger = older.ledger().unwrap();
    let heard_in_life_1 = Arrival(older.lives[0].len() as u64);
    let at = |heard| judge(&case(1).store, &ledger, End::PowerLoss { heard });
    let verdict = at(heard_in_life_1).unwrap();
    assert!(verdict.given_up > 20 && verdict.acknowledged > 20, "{verdict:?}");
    check_violation(&at(ledger.arrived()).unwrap_err(), Rule::AcknowledgedStays, "and is gone");

    // What was acknowledged as buffered only is not promised; what a later sync covers is.
    let Some(Said::Opened { head, .. }) = Said::parse(&older.lives[1][0]) else { panic!("it was opened") };
    let kept_in_life_1 = older.lives[0].iter().filter_map(|line| match Said::parse(line).unwrap() {
        Said::Kept { position } => Some(position),
        _ => None,
    });
    let kept = kept_in_life_1.max();
    let syncs = |line: &String| match Said::parse(line).unwrap() {
        Said::Done { last, durability: Durability::Sync, .. } => last > head,
        Said::Flushed { position, .. } => position > head,
        // So is how far the consumer was said to be.
        Said::Kept { position } => Some(position) > kept,
        _ => false,
    };
    let first_sync = older.lives[1].iter().position(syncs).unwrap();
    at(Arrival(heard_in_life_1.0 + first_sync as u64)).unwrap();
    at(Arrival(heard_in_life_1.0 + first_sync as u64 + 1)).unwrap_err();
}

#[test]
fn after_a_power_loss_another_child_may_find_less_but_all_that_was_durable() {
    let both = case(2);
    let durable_after_life_1 = both.lives[0].len() as u64;
    let Some(Said::Opened { head, .. }) = Said::parse(&both.lives[1][0]) else { panic!("it was opened") };
    let opens_at = |ledger: &Ledger, head| {
        let mut ledger = ledger.clone();
        ledger.begin_life(3, false);
        ledger.take(&Said::Opened { head, repaired: true })
    };
    let one_less = annals::Position::new(head.get() - 1);
    let mut ledger = both.ledger().unwrap();
    check_violation(&opens_at(&ledger, head).unwrap_err(), Rule::AcknowledgedStays, "was acknowledged");
    ledger.power_lost(Arrival(durable_after_life_1));
    opens_at(&ledger, head).unwrap();
    check_violation(&opens_at(&ledger, one_less).unwrap_err(), Rule::AcknowledgedStays, "was acknowledged");
    // What life 2 was told is no promise any more, whenever the power goes again; what life 1 was told still is.
    let end = End::PowerLoss { heard: ledger.arrived() };
    judge(&case(1).store, &ledger, end).unwrap();
    check_violation(
        &judge(&TempDir::new().unwrap().path().join("store"), &ledger, end).unwrap_err(),
        Rule::AcknowledgedStays,
        "is gone",
    );
}

#[test]
fn a_store_may_be_gone_with_the_power_until_it_was_heard_to_be_open() {
    let ledger = case(1).ledger().unwrap();
    let nothing = TempDir::new().unwrap();
    let at = |heard| {
        judge(&nothing.path().join(format!("store-{heard}")), &ledger, End::PowerLoss { heard: Arrival(heard) })
    };
    at(0).unwrap();
    check_violation(&at(1).unwrap_err(), Rule::AcknowledgedStays, "the store is gone");
}
