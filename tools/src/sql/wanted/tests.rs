//! What is wanted, beside what each event is.

use super::*;
use crate::time;
use annals_codec::Event;

const LOG: (i64, i64) = (11, 20);

fn one(column: Column, op: Op, given: Given) -> Result<Wanted, Nothing> {
    all(&[(column, op, given)])
}

fn all(terms: &[(Column, Op, Given)]) -> Result<Wanted, Nothing> {
    let plan = Plan {
        terms: terms.iter().map(|(column, op, _)| Term { column: *column, op: *op }).collect(),
        ..Plan::default()
    };
    Wanted::new(&plan, &terms.iter().map(|(.., given)| given.clone()).collect::<Vec<_>>(), LOG)
}

fn text(text: &str) -> Given {
    Given::Text(text.to_owned())
}

fn list(texts: &[&str]) -> Given {
    Given::List(texts.iter().copied().map(text).collect())
}

/// Whether the names let an event of this type and stream through.
fn lets(wanted: Result<Wanted, Nothing>, event_type: &str, stream: &str) -> bool {
    match wanted.and_then(|wanted| wanted.query()) {
        Ok(query) => {
            query.check().expect("what is asked of the store can be asked");
            query.matches(&Event::new(stream, event_type, b""))
        }
        Err(Nothing) => false,
    }
}

const COMPARE: [Op; 5] = [Op::Eq, Op::Gt, Op::Ge, Op::Lt, Op::Le];

fn compares<N: Copy + PartialOrd>(op: Op, one: N, other: N) -> bool {
    match op {
        Op::Eq => one == other,
        Op::Gt => one > other,
        Op::Ge => one >= other,
        Op::Lt => one < other,
        Op::Le => one <= other,
        Op::In | Op::Glob => unreachable!(),
    }
}

#[test]
#[expect(clippy::cast_precision_loss, reason = "they are small")]
fn positions_that_compare_as_asked_are_exactly_those_that_are_read() {
    for op in COMPARE {
        for value in 9..=22 {
            for halves in [0, 1] {
                let real = value as f64 + f64::from(halves) / 2.0;
                let given =
                    if halves == 0 { vec![Given::Integer(value), Given::Real(real)] } else { vec![Given::Real(real)] };
                for given in given {
                    let read = one(Column::Position, op, given.clone());
                    let is_read =
                        |position| read.as_ref().is_ok_and(|read| (read.first..=read.last).contains(&position));
                    for position in LOG.0..=LOG.1 {
                        assert_eq!(
                            is_read(position),
                            compares(op, position as f64, real),
                            "{position} {op:?} {given:?}"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn positions_at_the_ends_of_all_numbers_do_not_overflow() {
    for (op, value, is_something) in [
        (Op::Gt, i64::MAX, false),
        (Op::Ge, i64::MAX, false),
        (Op::Lt, i64::MAX, true),
        (Op::Le, i64::MAX, true),
        (Op::Eq, i64::MAX, false),
        (Op::Gt, i64::MIN, true),
        (Op::Ge, i64::MIN, true),
        (Op::Lt, i64::MIN, false),
        (Op::Le, i64::MIN, false),
        (Op::Eq, i64::MIN, false),
    ] {
        assert_eq!(one(Column::Position, op, Given::Integer(value)).is_ok(), is_something, "{op:?} {value}");
    }
    // What is as large as that is left to SQLite.
    for value in [1e16, -1e16, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
        for op in COMPARE {
            assert_eq!(one(Column::Position, op, Given::Real(value)), all(&[]), "{op:?} {value}");
        }
    }
}

#[test]
fn what_sqlite_compares_by_rules_of_its_own_narrows_nothing() {
    let everything = all(&[]).unwrap();
    assert_eq!((everything.first, everything.last, everything.has_times()), (11, 20, false));
    assert_eq!(everything.query(), Ok(Query::All));
    for given in [text("15"), text("x"), Given::Other] {
        assert_eq!(one(Column::Position, Op::Gt, given), Ok(everything.clone()));
    }
    for column in [Column::Stream, Column::Type, Column::RecordedAt, Column::Id] {
        for given in [Given::Integer(15), Given::Real(1.5), Given::Other] {
            assert_eq!(one(column, Op::Eq, given), Ok(everything.clone()), "{column:?}");
        }
    }
    let mixed = Given::List(vec![text("A"), Given::Integer(5)]);
    assert_eq!(one(Column::Type, Op::In, mixed), Ok(everything));
}

#[test]
fn nothing_compares_with_null() {
    for column in [Column::Position, Column::Stream, Column::Type, Column::RecordedAt, Column::Id] {
        for op in Op::ALL {
            assert_eq!(one(column, op, Given::Null), Err(Nothing), "{column:?} {op:?}");
        }
    }
    assert!(lets(one(Column::Type, Op::In, Given::List(vec![Given::Null, text("A")])), "A", "s"));
    assert!(!lets(one(Column::Type, Op::In, Given::List(vec![Given::Null])), "A", "s"));
}

#[test]
fn times_that_compare_as_asked_are_exactly_those_that_are_read() {
    let texts = [
        "2011",
        "2011-09-30",
        "2011-09-30 22:38:44",
        "2011-09-30T22:38:44.546Z",
        "2011-09-30T22:38:44.546000001+02:00",
    ];
    let edges = texts.map(|text| match times::moment(text).unwrap() {
        Moment::At(time) | Moment::JustBefore(time) => time,
    });
    let moments: Vec<i64> = edges.iter().flat_map(|edge| edge - 2..=edge + 2).collect();
    for text in texts {
        for op in COMPARE {
            let read = one(Column::RecordedAt, op, Given::Text(text.to_owned()));
            for &moment in &moments {
                let is_read = read.as_ref().is_ok_and(|read| (read.earliest..=read.latest).contains(&moment));
                let order = times::compare(&time::show_all_digits(moment), text);
                assert_eq!(is_read, compares(op, order as i32, 0), "{moment} {op:?} {text}");
            }
        }
    }
    // Each narrows what the others have left.
    let (since, before) = (text("2011-09-30"), text("2011-10-01"));
    let terms = [(Column::RecordedAt, Op::Ge, since), (Column::RecordedAt, Op::Lt, before)];
    let read = all(&terms).unwrap();
    assert_eq!(read.latest - read.earliest + 1, 24 * 3_600_000_000_000);
    assert!(read.has_times());
}

#[test]
fn names_are_looked_up_and_narrow_each_other() {
    let of_type = |op, given: Given| (Column::Type, op, given);
    let check = |terms: &[(Column, Op, Given)], through: &[&str]| {
        let found: Vec<&str> =
            ["Paid", "Placed", "paid", "P*d"].into_iter().filter(|name| lets(all(terms), name, "order-7")).collect();
        assert_eq!(found, through, "{terms:?}");
    };
    check(&[of_type(Op::Eq, text("Paid"))], &["Paid"]);
    check(&[of_type(Op::In, list(&["Paid", "Placed"]))], &["Paid", "Placed"]);
    check(&[of_type(Op::In, list(&["Paid", "Placed"])), of_type(Op::Eq, text("Placed"))], &["Placed"]);
    check(&[of_type(Op::Eq, text("Paid")), of_type(Op::Eq, text("Placed"))], &[]);
    check(&[of_type(Op::Glob, text("P*"))], &["Paid", "Placed", "P*d"]);
    check(&[of_type(Op::Glob, text("Pa?d"))], &["Paid"]);
    check(&[of_type(Op::Glob, text("Pl[a]ced"))], &["Placed"]);
    check(&[of_type(Op::Glob, text("Paid"))], &["Paid"]);
    check(&[of_type(Op::Glob, text("*"))], &["Paid", "Placed", "paid", "P*d"]);
    check(&[of_type(Op::Glob, text("P*")), of_type(Op::Glob, text("Pl*"))], &["Placed"]);
    check(&[of_type(Op::Glob, text("Pl*")), of_type(Op::Glob, text("P*"))], &["Placed"]);
    check(&[of_type(Op::Glob, text("Pl*")), of_type(Op::In, list(&["Paid", "Placed"]))], &["Placed"]);
    // Which of the two is right is left to SQLite.
    check(&[of_type(Op::Glob, text("Pl*")), of_type(Op::Glob, text("Pa*"))], &["Placed"]);
    let stream = (Column::Stream, Op::Eq, text("order-8"));
    check(&[of_type(Op::Eq, text("Paid")), stream], &[]);
}

#[test]
fn names_that_no_event_can_have_are_not_asked_for() {
    let long = "x".repeat(600);
    for name in ["", "a\0", &long] {
        for column in [Column::Stream, Column::Type] {
            assert_eq!(one(column, Op::Eq, text(name)).unwrap().query(), Err(Nothing));
            let also = one(column, Op::In, list(&[name, "s"])).unwrap();
            assert!(also.query().unwrap().matches(&Event::new("s", "s", b"")));
        }
    }
    for prefix in ["a\0*", &format!("{long}*")] {
        for column in [Column::Stream, Column::Type] {
            assert_eq!(one(column, Op::Glob, text(prefix)).unwrap().query(), Err(Nothing));
        }
    }
    assert!(lets(one(Column::Stream, Op::Eq, text("$redactions")), "Redacted", "$redactions"));
    assert!(lets(one(Column::Stream, Op::Glob, text("$*")), "Redacted", "$redactions"));
}

#[test]
fn a_list_that_is_too_long_to_look_up_is_left_to_sqlite() {
    let names: Vec<String> = (0..=MOST_NAMES).map(|number| format!("T{number}")).collect();
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    assert_eq!(one(Column::Type, Op::In, list(&names)), all(&[]));
    assert!(!lets(one(Column::Type, Op::In, list(&names[1..])), "T0", "s"));
}

#[test]
fn an_id_is_looked_up_as_it_is_printed() {
    let id = "01900000-0000-7000-8000-0000000000ab";
    let wanted = one(Column::Id, Op::Eq, text(id)).unwrap();
    assert_eq!(wanted.id.map(|id| id.to_string()).as_deref(), Some(id));
    for other in [&id.to_uppercase(), "01900000", ""] {
        assert_eq!(one(Column::Id, Op::Eq, text(other)), Err(Nothing), "{other}");
    }
    let twice = |second: &str| all(&[(Column::Id, Op::Eq, text(id)), (Column::Id, Op::Eq, text(second))]);
    assert_eq!(twice(id), Ok(wanted));
    assert_eq!(twice(&id.replace("ab", "cd")), Err(Nothing));
}
