//! `annals verify`: everything is read again, and whatever is wrong is listed.
//!
//! It judges as recovery would, and changes nothing. It lists every finding and
//! does not stop at the first.

use std::path::Path;

use annals::inspect;
use serde::Serialize;

use crate::exit::{Ended, Exit};
use crate::human::{bytes, count, counted};
use crate::open;
use crate::out::{BAD, GOOD, Out};
use crate::progress::Progress;

#[derive(Serialize)]
struct Report {
    clean: bool,
    log_id: Option<String>,
    head: u64,
    events: u64,
    segments: u64,
    bytes: u64,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    kind: String,
    segment: Option<u64>,
    offset: Option<u64>,
    position: Option<u64>,
    file: String,
    message: String,
}

pub(crate) fn run(path: &Path, out: &mut Out) -> Ended {
    let progress = Progress::bytes(out.is_json(), "verifying", Some(0));
    let report = inspect::verify_with(path, &mut |done, total| progress.set(done, total));
    drop(progress);
    let report = report.map_err(|error| open::failed(path, &error))?;
    todo!("{report:?}")
}
