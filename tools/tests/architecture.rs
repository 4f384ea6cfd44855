//! What must *not* be there: absences that are the architecture.
//!
//! Each test reads the sources, or what `cargo metadata` says of the
//! dependencies, and names every place that breaks a rule. Comments, strings
//! and test modules are left out of what is read: only code can break a rule.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tools lies in the workspace").to_owned()
}

/// A source file: its path below the workspace, and its code.
struct Source {
    path: String,
    code: String,
}

/// The code of a package's library or binary; its tests are not among it.
fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("a source folder can be listed").path();
            let is_test = path.file_stem().is_some_and(|name| name == "tests" || name == "testing");
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
                let text = fs::read_to_string(&path).expect("a source file is UTF-8");
                let path = path.strip_prefix(root()).expect("it lies in the workspace");
                found.push(Source { path: path.display().to_string(), code: without_tests(&code_of(&text)) });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn must_have_sources(folder: &str) -> Vec<Source> {
    let found = sources(folder);
    assert!(!found.is_empty(), "there is nothing in {folder}: has it moved?");
    found
}

/// The text with comments, strings and characters blanked out, line by line as it was.
fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let starts = |at: usize, what: &str| chars[at..].iter().take(what.len()).copied().eq(what.chars());
    while at < chars.len() {
        let end = if starts(at, "//") {
            (at..chars.len()).find(|&end| chars[end] == '\n').unwrap_or(chars.len())
        } else if starts(at, "/*") {
            (at + 2..chars.len()).find(|&end| starts(end, "*/")).map_or(chars.len(), |end| end + 2)
        } else if chars[at] == '"' {
            let mut end = at + 1;
            while end < chars.len() && chars[end] != '"' {
                end += if chars[end] == '\\' { 2 } else { 1 };
            }
            end + 1
        } else if chars[at] == 'r' && (starts(at, "r\"") || starts(at, "r#\"")) {
            let close = if starts(at, "r\"") { "\"" } else { "\"#" };
            let open = at + 1 + close.len();
            (open..chars.len()).find(|&end| starts(end, close)).map_or(chars.len(), |end| end + close.len())
        } else if starts(at, "'\\") {
            (at + 3..chars.len()).find(|&end| chars[end] == '\'').map_or(chars.len(), |end| end + 1)
        } else if chars[at] == '\'' && chars.get(at + 2) == Some(&'\'') {
            at + 3
        } else {
            out.push(chars[at]);
            at += 1;
            continue;
        };
        let end = end.min(chars.len());
        out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
        at = end;
    }
    out
}

/// The code without the items that only tests see.
fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        // The item ends with its block, or at the semicolon when it has none.
        let (block, semicolon) = (rest.find('{'), rest.find(';'));
        let end = match (block, semicolon) {
            (Some(block), semicolon) if semicolon.is_none_or(|semicolon| block < semicolon) => {
                let mut depth = 0;
                let closes = rest.char_indices().skip_while(|(at, _)| *at < block).find(|(_, c)| {
                    depth += i32::from(*c == '{') - i32::from(*c == '}');
                    depth == 0
                });
                closes.map_or(rest.len(), |(at, _)| at + 1)
            }
            (_, semicolon) => semicolon.map_or(rest.len(), |at| at + 1),
        };
        out.extend(rest[..end].chars().filter(|&c| c == '\n'));
        rest = &rest[end..];
    }
    out + rest
}

/// Where one of `words` stands as a whole word (`a::b` counts as one).
fn uses(sources: &[Source], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for (number, line) in source.code.lines().enumerate() {
            for word in words {
                let is_whole = |at: usize| {
                    let part = |c: char| c.is_alphanumeric() || c == '_';
                    let goes_on_before = word.starts_with(part) && line[..at].ends_with(part);
                    let goes_on_behind = word.ends_with(part) && line[at + word.len()..].starts_with(part);
                    !goes_on_before && !goes_on_behind
                };
                if line.match_indices(word).any(|(at, _)| is_whole(at)) {
                    found.push(format!("{}:{}: {word}", source.path, number + 1));
                }
            }
        }
    }
    found
}

#[track_caller]
fn must_not_be_there(found: &[String], rule: &str) {
    assert!(found.is_empty(), "{rule}, but:\n  {}", found.join("\n  "));
}

/// The modules of its own crate that a file names: the `x` of `crate::x` and `crate::{x, …}`.
fn modules_named(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 1;
            let mut item = String::new();
            for c in group.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 1 => {
                        found.insert(word(item.trim()));
                        item.clear();
                        continue;
                    }
                    _ => {}
                }
                if depth == 0 {
                    break;
                }
                item.push(c);
            }
            found.insert(word(item.trim()));
        } else {
            found.insert(word(rest));
        }
    }
    found
}

#[test]
fn this_test_reads_code_and_not_comments_strings_or_tests() {
    let text = "use a::B; // unsafe\n/* unsafe */ let c = '\"'; let s = \"unsafe \\\" unsafe\"; fn x<'a>() {}\n\
                #[cfg(test)]\nmod tests { fn f() { unsafe {} } }\nlet r = r#\"unsafe\"#; unsafe_code; real();";
    let source = Source { path: "x".to_owned(), code: without_tests(&code_of(text)) };
    assert_eq!(uses(std::slice::from_ref(&source), &["unsafe"]), [""; 0]);
    assert_eq!(uses(std::slice::from_ref(&source), &["real", "x", "a::B"]), ["x:1: a::B", "x:2: x", "x:5: real"]);
    let modules = modules_named("use crate::log::Tail; use crate::{a, b::{c, d}, e}; fn f(x: &crate::g::H) {}");
    assert_eq!(modules.into_iter().collect::<Vec<_>>(), ["a", "b", "e", "g", "log"]);
}

#[test]
fn codec_opens_no_file_reads_no_clock_takes_no_lock_and_starts_no_thread() {
    let words = [
        "std::fs",
        "std::io",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "std::time",
        "File",
        "SystemTime",
        "Instant",
        "Mutex",
        "RwLock",
        "Condvar",
        "OnceLock",
        "LazyLock",
        "thread_local!",
        "println!",
        "eprintln!",
    ];
    must_not_be_there(
        &uses(&must_have_sources("codec/src"), &words),
        "the codec turns bytes into facts and does nothing else",
    );
}

#[test]
fn in_the_engine_each_layer_names_only_those_below_it() {
    // An append under a condition asks a query, so append stands above read.
    let above: [(&str, &[&str]); 6] = [
        ("storage", &["log", "index", "append", "read", "subscription", "store"]),
        ("log", &["index", "append", "read", "subscription", "store"]),
        ("index", &["append", "read", "subscription", "store"]),
        ("append", &["subscription", "store"]),
        ("read", &["append", "subscription", "store"]),
        ("subscription", &["append", "store"]),
    ];
    let sources = must_have_sources("engine/src");
    let mut found = Vec::new();
    for (layer, forbidden) in above {
        let in_layer = |source: &&Source| {
            source.path.starts_with(&format!("engine/src/{layer}/")) || source.path == format!("engine/src/{layer}.rs")
        };
        for source in sources.iter().filter(in_layer) {
            for module in modules_named(&source.code) {
                if forbidden.contains(&module.as_str()) {
                    found.push(format!("{} names {module}", source.path));
                }
            }
        }
    }
    must_not_be_there(&found, "storage <- log <- index <- read <- append <- store");
}

#[test]
fn the_log_does_not_know_that_streams_exist() {
    let found = uses(&sources("engine/src/log"), &["StreamId", "StreamVersion", "ExpectedVersion", ".stream"]);
    must_not_be_there(&found, "the log orders batches of bytes; streams are the index's business");
}

#[test]
fn readers_never_take_the_writers_lock() {
    let found = uses(&sources("engine/src/read"), &["Mutex", "RwLock", ".lock()", ".write()", "Condvar"]);
    must_not_be_there(&found, "a reader pins the published view and is done with the writer");
}

#[test]
fn the_engine_takes_its_locks_atomics_and_threads_from_one_place() {
    let words = [
        "parking_lot",
        "std::thread",
        "std::sync::atomic",
        "std::sync::mpsc",
        "std::sync::Mutex",
        "std::sync::RwLock",
        "std::sync::Condvar",
        "std::sync::OnceLock",
        "std::sync::LazyLock",
        "std::sync::Barrier",
        "thread_local!",
        // Several names of it at once, of which one may be any of these.
        "std::sync::{",
    ];
    let mut found = uses(&must_have_sources("engine/src"), &words);
    // Which bug is planted is for a test to say, and nobody waits for it.
    found.retain(|place| !place.starts_with("engine/src/sync/") && !place.starts_with("engine/src/planted.rs:"));
    must_not_be_there(&found, "only what comes from engine/src/sync can be put under a scheduler");
}

#[test]
fn the_engine_does_not_know_projections() {
    let words = ["annals_projection", "projection", "Projection", "Snapshot"];
    must_not_be_there(&uses(&must_have_sources("engine/src"), &words), "projections are made of the engine, not in it");
}

#[test]
fn a_projection_names_no_file() {
    let words = ["std::fs", "File", "OpenOptions", "tempfile", "memmap2", "rustix"];
    must_not_be_there(&uses(&sources("projection/src"), &words), "a projection goes through the engine's storage");
}

#[test]
fn nothing_is_replaced_or_removed_in_an_archive() {
    let words = [
        "PutMode::Overwrite",
        "PutMode::Update",
        "PutMode::default",
        ".delete(",
        "delete_stream",
        ".rename(",
        ".copy(",
    ];
    let mut found = uses(&must_have_sources("archive/src"), &words);
    // This file renames and copies files of a store; it knows no object.
    found.retain(|place| !place.starts_with("archive/src/restore.rs:"));
    must_not_be_there(&found, "an object is put where nothing is, and stays");
    let puts = uses(&sources("archive/src"), &["put_opts", "put_multipart", "put_multipart_opts", ".put("]);
    let elsewhere = puts.iter().filter(|place| place.contains("put_") && !place.starts_with("archive/src/remote.rs:"));
    must_not_be_there(&elsewhere.cloned().collect::<Vec<_>>(), "only archive/src/remote.rs puts objects");
}

#[test]
fn unsafe_lives_in_one_file_of_the_engine_and_one_of_the_command() {
    let mut found = Vec::new();
    for folder in ["codec/src", "engine/src", "projection/src", "schema/src", "archive/src", "tools/src", "benches"] {
        found.extend(uses(&sources(folder), &["unsafe"]));
    }
    found.retain(|place| !place.starts_with("engine/src/storage/map.rs:"));
    let (table, elsewhere): (Vec<String>, Vec<String>) =
        found.into_iter().partition(|place| place.starts_with("tools/src/sql/table.rs:"));
    must_not_be_there(&elsewhere, "only engine/src/storage/map.rs may be unsafe, and argues each block");
    // What SQLite calls is promised to lie in memory as it should. There is no block of unsafe code there.
    assert_eq!(table.len(), 2, "two impls, and nothing else: {table:?}");
    let promised = uses(&sources("tools/src/sql"), &["unsafe impl"]);
    assert_eq!(promised.len(), 2, "{promised:?}");
}

#[test]
fn only_the_command_knows_sqlite() {
    let mut found = Vec::new();
    for folder in ["codec/src", "engine/src", "projection/src", "schema/src", "archive/src", "tools/src"] {
        found.extend(uses(&sources(folder), &["rusqlite"]));
    }
    found.retain(|place| {
        !["tools/src/sql/", "tools/src/cmd/sql.rs:", "tools/src/tables/sqlite/"]
            .iter()
            .any(|part| place.starts_with(part))
    });
    must_not_be_there(&found, "SQL is asked of a store from outside");
}

#[test]
fn only_one_folder_of_the_command_knows_arrow_and_parquet() {
    let mut found = Vec::new();
    for folder in ["codec/src", "engine/src", "projection/src", "schema/src", "archive/src", "tools/src"] {
        found.extend(uses(&sources(folder), &["arrow_array", "arrow_ipc", "arrow_schema", "parquet::arrow"]));
    }
    assert!(!found.is_empty(), "nobody knows it: has it moved?");
    found.retain(|place| !place.starts_with("tools/src/columnar/"));
    must_not_be_there(&found, "files and folders are made of batches that one place makes");
}

#[test]
fn only_the_package_of_schemas_knows_json_schema_and_it_names_no_file() {
    let mut found = Vec::new();
    for folder in ["codec/src", "engine/src", "projection/src", "archive/src", "tools/src"] {
        found.extend(uses(&sources(folder), &["jsonschema"]));
    }
    must_not_be_there(&found, "the engine asks who admits events, and does not know what they look like");
    let words = ["std::fs", "File", "OpenOptions", "tempfile"];
    must_not_be_there(&uses(&must_have_sources("schema/src"), &words), "schemas are events of the log");
}

#[test]
fn byte_order_lives_in_one_file() {
    let words =
        ["to_le_bytes", "from_le_bytes", "to_ne_bytes", "from_ne_bytes", "to_be_bytes", "from_be_bytes", "swap_bytes"];
    let mut found = Vec::new();
    for folder in ["codec/src", "engine/src", "projection/src", "schema/src", "archive/src", "tools/src"] {
        found.extend(uses(&sources(folder), &words));
    }
    found.retain(|place| {
        let is_the_place = place.starts_with("codec/src/wire.rs:");
        // The order of the bytes of a UUID is RFC 9562's, not the format's.
        let is_a_uuid = place.starts_with("codec/src/ids.rs:") && place.ends_with("to_be_bytes");
        !is_the_place && !is_a_uuid
    });
    must_not_be_there(&found, "only codec/src/wire.rs knows the byte order");
}

#[test]
fn bincode_lives_in_one_file() {
    let mut found = Vec::new();
    for folder in ["codec/src", "engine/src", "projection/src", "schema/src", "archive/src", "tools/src"] {
        found.extend(uses(&sources(folder), &["bincode"]));
    }
    found.retain(|place| !place.starts_with("codec/src/payload.rs:"));
    must_not_be_there(&found, "only codec/src/payload.rs knows bincode");
}

/// The direct dependencies of each package of the workspace, tests' own ones left out.
fn dependencies(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    let Some(package) = packages.iter().find(|found| found["name"] == package) else { return Vec::new() };
    let all = package["dependencies"].as_array().expect("a list of dependencies").iter();
    all.filter(|dependency| dependency["kind"].is_null())
        .map(|dependency| dependency["name"].as_str().expect("a name").to_owned())
        .collect()
}

#[test]
fn codec_depends_on_little_and_on_nothing_of_ours() {
    let allowed = ["bytes", "crc32fast", "blake3", "sha2", "serde", "bincode", "thiserror", "twox-hash", "roaring"];
    let mut found = dependencies("annals-codec");
    assert!(!found.is_empty(), "the package has a checksum at least: has it been renamed?");
    found.retain(|name| !allowed.contains(&name.as_str()));
    must_not_be_there(&found, "the codec needs bytes, a checksum, hashes, sets of numbers");
}

#[test]
fn dependencies_between_our_packages_point_one_way() {
    let order = [
        "annals-codec",
        "annals",
        "annals-projection",
        "annals-schema",
        "annals-archive",
        "annals-cli",
        "annals-benches",
    ];
    for (place, package) in order.iter().enumerate() {
        let mut found = dependencies(package);
        found.retain(|name| order[place..].contains(&name.as_str()));
        must_not_be_there(&found, &format!("{package} may depend on those before it in {order:?}"));
    }
}

#[test]
fn the_engine_brings_nothing_heavy() {
    let heavy = ["tokio", "futures", "clap", "serde_json", "duckdb", "rusqlite", "arrow", "parquet", "reqwest", "jiff"];
    let mut found = dependencies("annals");
    found.retain(|name| heavy.contains(&name.as_str()));
    must_not_be_there(&found, "heavy things are features or live in tools");
}
