//! `annals schema`: what events of a type look like, said in the log; and whether all of them do.

use std::io::Read as _;
use std::path::Path;

use annals::{EventType, Options, Position};
use annals_schema::{
    Difference, NewSchema, RegisterError, Registered, RegisteredSchema, SchemaFault, SchemaMode, Schemas,
};
use serde::Serialize;
use serde_json::value::RawValue;

use super::schema_check;
use crate::args::schema::{AddArgs, SchemaCommand};
use crate::exit::{Ended, Exit, Failure};
use crate::human::{count, printable};
use crate::open;
use crate::out::{BAD, BOLD, Out};
use crate::time;

pub(crate) fn run(command: SchemaCommand, out: &mut Out) -> Ended {
    match command {
        SchemaCommand::Add(args) => add(&args, out),
        SchemaCommand::List { store } => list(&store, out),
        SchemaCommand::Show { store, event_type, version } => show(&store, &event_type, version, out),
        SchemaCommand::Check { store, strict } => schema_check::run(&store, strict, out),
    }
}

fn add(args: &AddArgs, out: &mut Out) -> Ended {
    EventType::new(&args.event_type).map_err(|error| Failure::usage("TYPE").because(&error))?;
    let text = read(&args.file)?;
    let mut new = NewSchema::new(&*args.event_type, text).force(args.force);
    if let Some(version) = args.version {
        new = new.version(version);
    }
    if let Some(compatibility) = args.compatibility {
        new = new.compatibility(compatibility);
    }
    let schemas = Schemas::new(SchemaMode::Off);
    let done = if args.dry_run {
        schemas.plan(&open::for_reading(&args.store)?, &new)
    } else {
        let store = open::for_writing(&args.store, &Options::new().create(false).background(false))?;
        let done = schemas.register(&store, new);
        store.close().map_err(|error| Failure::io("cannot close the store").because(&error))?;
        done
    };
    match done {
        Ok(done) => {
            told(&done, args.dry_run, out)?;
            Ok(Exit::Fine)
        }
        Err(error) => Err(refused(args, &error, out)?),
    }
}

/// The text of a schema.
fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(file).map(|read| text = read)
    };
    read.map_err(|error| Failure::io(format!("cannot read {}", file.display())).because(&error))?;
    Ok(text)
}

#[derive(Serialize)]
struct Row<'a> {
    event_type: &'a str,
    version: u16,
    /// The position of the event that says it; null where it is only planned.
    position: Option<u64>,
    compatibility: &'static str,
    /// Whether it was registered although it does not fit the version before it.
    forced: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    was_there: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_at: Option<String>,
    /// Why this program cannot use it.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<&'a RawValue>,
}

fn told(done: &Registered, is_dry: bool, out: &mut Out) -> Result<(), Failure> {
    let said = &done.registration;
    if out.is_json() {
        return out.object(&Row {
            event_type: &said.event_type,
            version: said.version,
            position: done.position.map(Position::get),
            compatibility: said.compatibility.as_str(),
            forced: said.forced,
            was_there: Some(done.was_there),
            recorded_at: None,
            fault: None,
            schema: None,
        });
    }
    let name = printable(&said.event_type);
    let what = match (done.was_there, is_dry) {
        (true, _) => "there already",
        (false, true) => "would be registered",
        (false, false) => "registered",
    };
    let at = done.position.map_or_else(String::new, |position| format!(" at position {}", count(position.get())));
    out.say(format_args!("{BOLD}{what}{BOLD:#}: version {} of {name}{at}.", said.version))?;
    if let Some(comparison) = done.comparison.as_ref().filter(|comparison| !comparison.is_compatible()) {
        out.say(format_args!("By force, though it is not {}-compatible for sure:", comparison.required))?;
        comparison.differences.iter().try_for_each(|difference| tell_difference(difference, out))?;
    }
    Ok(())
}

#[derive(Serialize)]
struct DifferenceRow<'a> {
    direction: &'static str,
    verdict: &'static str,
    path: &'a str,
    rule: &'a str,
    what: &'a str,
}

fn tell_difference(difference: &Difference, out: &mut Out) -> Result<(), Failure> {
    let Difference { path, rule, what, .. } = difference;
    let (direction, verdict) = (difference.direction.as_str(), difference.verdict.as_str());
    if out.is_json() {
        return out.object(&DifferenceRow { direction, verdict, path, rule, what });
    }
    let place = if path.is_empty() { "the schema" } else { path };
    let (place, what) = (printable(place), printable(what));
    out.say(format_args!("  {BAD}{verdict}{BAD:#} {direction}: {place}: {what}"))
}

#[derive(Serialize)]
struct FaultRow<'a> {
    path: &'a str,
    rule: &'a str,
    problem: &'a str,
}

fn tell_fault(fault: &SchemaFault, out: &mut Out) -> Result<(), Failure> {
    let SchemaFault { path, rule, problem, .. } = fault;
    if out.is_json() {
        return out.object(&FaultRow { path, rule, problem });
    }
    out.say(format_args!("  {}", printable(&fault.to_string())))
}

/// Why a schema was not registered; what speaks against it is printed, one a line.
fn refused(args: &AddArgs, error: &RegisterError, out: &mut Out) -> Result<Failure, Failure> {
    let (name, file) = (&args.event_type, args.file.display());
    Ok(match error {
        RegisterError::Invalid(invalid) => {
            invalid.faults.iter().try_for_each(|fault| tell_fault(fault, out))?;
            Failure::findings(format!("{file} is no JSON Schema")).next("nothing was registered")
        }
        RegisterError::Incompatible { comparison, version, newest, required, .. } => {
            comparison.differences.iter().try_for_each(|difference| tell_difference(difference, out))?;
            let what =
                format!("version {version} of {name} does not fit version {newest}, to which it has to be {required}");
            Failure::findings(what).next("change it, or register it with --force or another --compatibility")
        }
        RegisterError::Taken { .. } | RegisterError::NoVersion { .. } => {
            Failure::findings("cannot register the schema").because(error)
        }
        RegisterError::InvalidName(error) => Failure::usage("TYPE").because(error),
        RegisterError::Read(error) => open::unread(error),
        error => Failure::io("cannot register the schema").because(error),
    })
}

fn row<'a>(listed: &'a RegisteredSchema, schema: Option<&'a RawValue>) -> Row<'a> {
    let said = &listed.registration;
    Row {
        event_type: &said.event_type,
        version: said.version,
        position: Some(listed.position.get()),
        compatibility: said.compatibility.as_str(),
        forced: said.forced,
        was_there: None,
        recorded_at: Some(time::show(listed.recorded_at)),
        fault: listed.fault.as_deref(),
        schema,
    }
}

/// All that is registered in a store.
fn registered(path: &Path) -> Result<Vec<RegisteredSchema>, Failure> {
    let store = open::for_reading(path)?;
    Schemas::new(SchemaMode::Off).list(&store).map_err(|error| open::unread(&error))
}

fn list(path: &Path, out: &mut Out) -> Ended {
    let listed = registered(path)?;
    if out.is_json() {
        listed.iter().try_for_each(|listed| out.object(&row(listed, None)))?;
        return Ok(Exit::Fine);
    }
    if listed.is_empty() {
        out.say(format_args!("No schema is registered; `annals schema add` does that."))?;
        return Ok(Exit::Fine);
    }
    let row = |listed: &RegisteredSchema| {
        let said = &listed.registration;
        let note = match (&listed.fault, said.forced) {
            (Some(fault), _) => format!("cannot be used: {fault}"),
            (None, true) => "by force".to_owned(),
            (None, false) => String::new(),
        };
        let version = said.version.to_string();
        let position = count(listed.position.get());
        vec![
            said.event_type.to_string(),
            version,
            said.compatibility.to_string(),
            position,
            time::show(listed.recorded_at),
            note,
        ]
    };
    let rows: Vec<_> = listed.iter().map(row).collect();
    out.table(&["type", "#version", "compatibility", "#position", "registered", ""], &rows)?;
    Ok(Exit::Fine)
}

fn show(path: &Path, event_type: &str, version: Option<u16>, out: &mut Out) -> Ended {
    let listed = registered(path)?;
    let is_wanted = |listed: &&RegisteredSchema| {
        let said = &listed.registration;
        *said.event_type == *event_type && version.is_none_or(|version| said.version == version)
    };
    let found = listed.iter().rfind(is_wanted);
    let Some(found) = found else {
        let version = version.map_or_else(String::new, |version| format!("version {version} of "));
        let what = format!("there is no schema of {version}{event_type:?}");
        return Err(Failure::findings(what).next("`annals schema list` shows what there is"));
    };
    if out.is_json() {
        let schema: Option<&RawValue> = serde_json::from_str(&found.registration.schema).ok();
        out.object(&row(found, schema))?;
    } else {
        // Names in it come from strangers, and escapes stay escapes: nothing that steers a terminal is in JSON text.
        for line in found.registration.spread().lines() {
            out.say(format_args!("{}", printable(line)))?;
        }
    }
    Ok(Exit::Fine)
}
