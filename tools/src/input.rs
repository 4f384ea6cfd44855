//! What `import` reads: a file or standard input, plain or gzip, and the name that it is tracked by.
//!
//! ```text
//!  FILE ──────────────► read for its digest ─► rewind ─► read for its lines
//!  -  ─► spooled to a temporary file ─┘
//!  with --source: no digest is needed, FILE and - are read once, as they come
//! ```
//!
//! The name of a source is `--source`, or `sha256:` and the digest of the
//! *content*: the same lines are the same source, packed or not, under any file name.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, Write};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::exit::Failure;
use crate::progress::Progress;

const BUFFER: usize = 256 * 1024;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// An input whose lines can be read.
pub(crate) struct Input {
    /// As a person would call it.
    pub(crate) shown: String,
    /// What its progress is tracked under.
    pub(crate) source: String,
    /// Its content, unpacked.
    pub(crate) content: Box<dyn BufRead>,
    /// Moves as the content is read.
    pub(crate) progress: Progress,
}

impl Input {
    /// Opens `path`, or standard input for `-`. Without a `source` the content is read
    /// once to name it, which also finds a damaged archive before anything is imported.
    pub(crate) fn open(path: &Path, source: Option<String>, json: bool) -> Result<Input, Failure> {
        let (shown, file, len) = if path == Path::new("-") {
            ("standard input".to_owned(), None, None)
        } else {
            let shown = path.display().to_string();
            let cannot = |error: io::Error| Failure::io(format!("cannot read {shown}")).because(&error);
            let file = File::open(path).map_err(cannot)?;
            let metadata = file.metadata().map_err(cannot)?;
            if metadata.is_dir() {
                return Err(Failure::io(format!("cannot read {shown}: it is a directory")).next("name a file of lines"));
            }
            // A pipe or a device has no length, and cannot be rewound.
            let len = metadata.is_file().then_some(metadata.len());
            (shown, Some(file), len)
        };
        let (source, raw, len): (String, Box<dyn Read>, Option<u64>) = match (source, file) {
            (Some(source), Some(file)) => (source, Box::new(file), len),
            (Some(source), None) => (source, Box::new(io::stdin()), None),
            (None, Some(file)) if len.is_some() => {
                let (source, file) = digest(file, len, &shown, json)?;
                (source, Box::new(file), len)
            }
            (None, unseekable) => {
                let unseekable: Box<dyn Read> = match unseekable {
                    Some(file) => Box::new(file),
                    None => Box::new(io::stdin()),
                };
                let (file, len) = spool(unseekable, &shown, json)?;
                let (source, file) = digest(file, Some(len), &shown, json)?;
                (source, Box::new(file), Some(len))
            }
        };
        let progress = Progress::bytes(json, "importing", len);
        let content = unpacked(progress.reading(raw)).map_err(|error| unreadable(&shown, &error))?;
        Ok(Input { shown, source, content, progress })
    }
}

/// Keeps what can be read only once in a temporary file that goes away by itself.
fn spool(mut input: impl Read, shown: &str, json: bool) -> Result<(File, u64), Failure> {
    let cannot = |error: &io::Error| {
        Failure::io(format!("cannot keep {shown} in {} to name its content", std::env::temp_dir().display()))
            .because(error)
            .next("name it yourself with --source NAME, or point TMPDIR at more space")
    };
    let progress = Progress::bytes(json, "receiving", None);
    let mut file = tempfile::tempfile().map_err(|error| cannot(&error))?;
    let mut buffer = vec![0; BUFFER];
    let mut len: u64 = 0;
    loop {
        let read = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(shown, &error)),
        };
        file.write_all(&buffer[..read]).map_err(|error| cannot(&error))?;
        len += read as u64;
        progress.set(len, len);
    }
    file.rewind().map_err(|error| cannot(&error))?;
    Ok((file, len))
}

/// Names the content by its digest, and rewinds the file.
fn digest(mut file: File, len: Option<u64>, shown: &str, json: bool) -> Result<(String, File), Failure> {
    let progress = Progress::bytes(json, "reading", len);
    let mut hasher = Sha256::new();
    let mut content = unpacked(progress.reading(&file)).map_err(|error| unreadable(shown, &error))?;
    loop {
        let chunk = match content.fill_buf() {
            Ok(chunk) => chunk,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => {
                let next = "nothing was imported; to take in the lines before the damage, give it a --source NAME";
                return Err(unreadable(shown, &error).next(next));
            }
        };
        if chunk.is_empty() {
            break;
        }
        hasher.update(chunk);
        let read = chunk.len();
        content.consume(read);
    }
    drop(content);
    file.rewind().map_err(|error| unreadable(shown, &error))?;
    let mut source = "sha256:".to_owned();
    for byte in hasher.finalize() {
        _ = write!(source, "{byte:02x}");
    }
    Ok((source, file))
}

/// The content, unpacked when it begins as gzip does.
fn unpacked<'a>(raw: impl Read + 'a) -> io::Result<Box<dyn BufRead + 'a>> {
    let mut raw = BufReader::with_capacity(BUFFER, raw);
    Ok(if raw.fill_buf()?.starts_with(&GZIP_MAGIC) {
        Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(raw)))
    } else {
        Box::new(raw)
    })
}

/// A cut or broken archive is a finding about the input; anything else is trouble reading it.
pub(crate) fn unreadable(shown: &str, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Failure::findings(format!("the gzip data of {shown} is damaged or cut off")).because(error)
        }
        _ => Failure::io(format!("cannot read {shown}")).because(error),
    }
}
