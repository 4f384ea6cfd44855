//! Checked short strings: the names that events carry.
//!
//! Each is non-empty UTF-8 without NUL, of a stated greatest length in bytes.
//! Once made, a name is known to be good everywhere; a clone shares the text.

use std::borrow::Borrow;
use std::convert::Infallible;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A text that cannot be the name it was meant to be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{what} {problem}")]
pub struct NameError {
    /// What the text was meant to be: "stream id", "event type", "tag", …
    pub what: &'static str,
    /// What is wrong with it.
    pub problem: NameProblem,
}

/// What is wrong with a name.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NameProblem {
    /// No name is empty.
    #[error("is empty")]
    Empty,
    /// Longer than such a name may be.
    #[error("is {len} bytes long; at most {max} are allowed")]
    TooLong {
        /// Its length, in bytes.
        len: usize,
        /// The greatest length, in bytes.
        max: usize,
    },
    /// Contains the byte 0.
    #[error("contains a NUL character")]
    Nul,
    /// Begins with `$`, which the store keeps for itself.
    #[error("begins with '$', which is reserved for the store")]
    Reserved,
    /// Some file system would not take it, or take it for something else.
    #[error("can only have the characters a-z A-Z 0-9 _ - and . inside, and not end in .tmp")]
    NoFileName,
    /// Two file systems would not agree on which directory that is, or one would take it for a device.
    #[error(
        "can only have the characters a-z 0-9 _ and inside also - and ., not end in .tmp, and not be that of a device, such as con or lpt1"
    )]
    NoStoreName,
    /// Not UTF-8 (only met in damaged or foreign bytes).
    #[error("is not UTF-8")]
    NotUtf8,
}

impl From<Infallible> for NameError {
    fn from(never: Infallible) -> NameError {
        match never {}
    }
}

/// What can be made a name of kind `N`: a text, which is checked, or such a name itself.
///
/// ```
/// use annals_codec::{IntoName, StreamId};
///
/// let stream: StreamId = "order-7".into_name()?;
/// assert_eq!((&stream).into_name(), Ok(stream));
/// # Ok::<(), annals_codec::NameError>(())
/// ```
pub trait IntoName<N> {
    /// Checks the text, if it is not checked yet.
    ///
    /// # Errors
    ///
    /// [`NameError`] says what is wrong with it.
    fn into_name(self) -> Result<N, NameError>;
}

impl<N, T> IntoName<N> for T
where
    T: TryInto<N>,
    T::Error: Into<NameError>,
{
    fn into_name(self) -> Result<N, NameError> {
        self.try_into().map_err(Into::into)
    }
}

fn check_stream_id(what: &'static str, max: usize, text: &str) -> Result<(), NameError> {
    check(what, max, text)?;
    if text.starts_with('$') && !is_of_lost_events(text) {
        return Err(NameError { what, problem: NameProblem::Reserved });
    }
    Ok(())
}

/// `$lost-` and a position: the stream of lost events of which nothing but their positions is known. A repair names
/// it; it is read, exported and imported as any other.
fn is_of_lost_events(text: &str) -> bool {
    let position = text.strip_prefix("$lost-").filter(|digits| (1..=19).contains(&digits.len()));
    position.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0'))
}

fn check_file_name(what: &'static str, max: usize, text: &str) -> Result<(), NameError> {
    check(what, max, text)?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    let has_dot_outside = text.starts_with('.') || text.ends_with('.');
    if !text.bytes().all(is_plain) || has_dot_outside || text.to_ascii_lowercase().ends_with(".tmp") {
        return Err(NameError { what, problem: NameProblem::NoFileName });
    }
    Ok(())
}

fn check_store_name(what: &'static str, max: usize, text: &str) -> Result<(), NameError> {
    check(what, max, text)?;
    // Capitals are other letters to some file systems, and the same to others. A dash in front is an option of a command.
    let is_plain = check_file_name(what, max, text).is_ok()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && !text.bytes().any(|byte| byte.is_ascii_uppercase());
    if !is_plain || is_device(text.split('.').next().unwrap_or(text)) {
        return Err(NameError { what, problem: NameProblem::NoStoreName });
    }
    Ok(())
}

/// Whether Windows takes it for a device, in whatever directory and with whatever ending.
fn is_device(name: &str) -> bool {
    let is_port =
        |of: &str| name.strip_prefix(of).is_some_and(|rest| rest.len() == 1 && rest.as_bytes()[0].is_ascii_digit());
    ["con", "prn", "aux", "nul"].contains(&name) || is_port("com") || is_port("lpt")
}

fn check(what: &'static str, max: usize, text: &str) -> Result<(), NameError> {
    let problem = if text.is_empty() {
        NameProblem::Empty
    } else if text.len() > max {
        NameProblem::TooLong { len: text.len(), max }
    } else if text.as_bytes().contains(&0) {
        NameProblem::Nul
    } else {
        return Ok(());
    };
    Err(NameError { what, problem })
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:literal, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The greatest length, in bytes.
            pub const MAX_LEN: usize = $max;

            /// Checks `text` and makes it such a name.
            ///
            /// # Errors
            ///
            /// [`NameError`] says what is wrong with it.
            pub fn new(text: &str) -> Result<$name, NameError> {
                $check($what, $max, text)?;
                Ok($name(Arc::from(text)))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Reads the name from bytes of a frame, checking that it is one.
            #[allow(dead_code, reason = "that of a store stands in none")]
            pub(crate) fn check_bytes(bytes: &[u8]) -> Result<&str, NameError> {
                let text = std::str::from_utf8(bytes)
                    .map_err(|_| NameError { what: $what, problem: NameProblem::NotUtf8 })?;
                check($what, $max, text)?;
                Ok(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = NameError;

            fn try_from(text: &str) -> Result<$name, NameError> {
                $name::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<$name, NameError> {
                $name::new(&text)
            }
        }

        impl TryFrom<&String> for $name {
            type Error = NameError;

            fn try_from(text: &String) -> Result<$name, NameError> {
                $name::new(text)
            }
        }

        impl From<&$name> for $name {
            fn from(name: &$name) -> $name {
                name.clone()
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, out)
            }
        }
    };
}

name!(
    /// The name of a stream: 1 to 512 bytes; a leading `$` is reserved for the store, which uses it for
    /// `$lost-<position>`: what a repair could say nothing more of.
    ///
    /// The text before the first `-` is the stream's [category](StreamId::category).
    ///
    /// ```
    /// use annals_codec::StreamId;
    ///
    /// let order = StreamId::new("order-7")?;
    /// assert_eq!(order.category(), "order");
    /// assert!(StreamId::new("$internal").is_err());
    /// # Ok::<(), annals_codec::NameError>(())
    /// ```
    StreamId,
    "stream id",
    512,
    check_stream_id
);
name!(
    /// What kind of event it is, such as `OrderPlaced`: 1 to 255 bytes.
    EventType,
    "event type",
    255,
    check
);
name!(
    /// A label to find events by, such as `customer:42`: 1 to 255 bytes.
    Tag,
    "tag",
    255,
    check
);
name!(
    /// Names a request, so that its retry is recognised: 1 to 128 bytes.
    IdempotencyKey,
    "idempotency key",
    128,
    check
);
name!(
    /// Whom personal data is about, such as `customer-42`: 1 to 255 bytes.
    Subject,
    "subject",
    255,
    check
);
name!(
    /// A foreign source whose progress is tracked in the log: 1 to 255 bytes.
    SourceName,
    "source name",
    255,
    check
);

name!(
    /// The name of what has a file of that name, such as a consumer: 1 to 64 letters, digits, `_`, `-` and
    /// inside also `.`, all ASCII; not one that ends in `.tmp`.
    ///
    /// ```
    /// use annals_codec::FileName;
    ///
    /// assert!(FileName::new("mailer-v1.2").is_ok());
    /// assert!(FileName::new("../mailer").is_err());
    /// # Ok::<(), annals_codec::NameError>(())
    /// ```
    FileName,
    "name of a file",
    64,
    check_file_name
);

name!(
    /// The name of one of several logs below a directory, which is that of its own directory: 1 to 64 letters a–z, digits and `_`, and
    /// inside also `-` and `.`; not one that ends in `.tmp`, nor that of a device, such as `con` or `lpt1`.
    ///
    /// So it is one name on every file system, whether that tells capitals apart or not, and no path.
    ///
    /// ```
    /// use annals_codec::StoreName;
    ///
    /// assert!(StoreName::new("tenant-42").is_ok());
    /// assert!(StoreName::new("Tenant-42").is_err());
    /// # Ok::<(), annals_codec::NameError>(())
    /// ```
    StoreName,
    "name of a store",
    64,
    check_store_name
);

impl StreamId {
    /// The stream of this name, as a decoded [`Event`](crate::Event) states it: checked
    /// when it was decoded, and perhaps one of the store's own.
    ///
    /// # Panics
    ///
    /// When no event can state it: it is empty, longer than [`MAX_LEN`](StreamId::MAX_LEN) or contains a NUL.
    pub fn stored(name: &str) -> StreamId {
        assert!(StreamId::can_be_stored(name), "no event has a name of {} bytes like this one", name.len());
        StreamId(Arc::from(name))
    }

    /// Whether an event can state this as its stream: one that anybody may append to, or one of the store's own.
    pub fn can_be_stored(name: &str) -> bool {
        (1..=StreamId::MAX_LEN).contains(&name.len()) && !name.as_bytes().contains(&0)
    }

    /// The text before the first `-`; all of it when there is none.
    pub fn category(&self) -> &str {
        self.0.split('-').next().unwrap_or(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_length_is_allowed_and_one_byte_more_is_not() {
        assert!(StreamId::new(&"x".repeat(512)).is_ok());
        assert_eq!(StreamId::new(&"x".repeat(513)).unwrap_err().problem, NameProblem::TooLong { len: 513, max: 512 });
        assert!(EventType::new(&"x".repeat(255)).is_ok());
        assert!(EventType::new(&"x".repeat(256)).is_err());
        assert!(Tag::new(&"x".repeat(256)).is_err());
        assert!(IdempotencyKey::new(&"x".repeat(129)).is_err());
    }

    #[test]
    fn a_name_that_no_event_has_is_not_taken_for_one_of_the_stores_own() {
        for name in ["", "nul\0", &"x".repeat(513), &"x".repeat(70_000)] {
            assert!(std::panic::catch_unwind(|| StreamId::stored(name)).is_err(), "{} bytes", name.len());
        }
        assert_eq!(&*StreamId::stored("$schema"), "$schema");
        assert_eq!(StreamId::stored(&"x".repeat(512)).len(), 512);
    }

    #[test]
    fn lengths_count_bytes_and_not_characters() {
        assert!(EventType::new(&"é".repeat(128)).is_err());
    }

    #[test]
    fn empty_nul_and_reserved_names_are_refused_with_a_message_that_names_the_field() {
        assert_eq!(StreamId::new("").unwrap_err().to_string(), "stream id is empty");
        assert_eq!(EventType::new("a\0").unwrap_err().to_string(), "event type contains a NUL character");
        assert_eq!(
            StreamId::new("$all").unwrap_err().to_string(),
            "stream id begins with '$', which is reserved for the store"
        );
        assert!(EventType::new("$fine").is_ok(), "only stream ids reserve the dollar");
        for lost in ["$lost-1", "$lost-9223372036854775807"] {
            assert_eq!(StreamId::new(lost).map(|name| name.category().to_owned()).as_deref(), Ok("$lost"));
        }
        for other in ["$lost", "$lost-", "$lost-0", "$lost-01", "$lost-1x", "$lost-+1", "$lost-99999999999999999999"] {
            assert_eq!(StreamId::new(other).unwrap_err().problem, NameProblem::Reserved, "{other}");
        }
    }

    #[test]
    fn a_name_of_a_file_is_that_of_one_file_in_its_folder_and_nothing_else() {
        for good in ["a", "A-b_c.9", "a..b", &"x".repeat(64)] {
            assert!(FileName::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", ".", "..", ".a", "a.", "a/b", "/a", "a\\b", "a b", "é", "a\0", "a.tmp", "a.TMP", &"x".repeat(65)]
        {
            assert!(FileName::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_category_ends_at_the_first_hyphen() {
        assert_eq!(StreamId::new("a-b-c").unwrap().category(), "a");
        assert_eq!(StreamId::new("ledger").unwrap().category(), "ledger");
    }

    #[test]
    fn a_store_has_a_name_that_is_one_directory_on_every_file_system_and_nothing_else_there() {
        for good in ["a", "0", "_", "orders", "tenant-42", "v1.2", "console", "com10", "con-7", "a..b", &"x".repeat(64)]
        {
            assert_eq!(StoreName::new(good).map(|name| name.to_string()).as_deref(), Ok(good));
        }
        for bad in [
            ".", "..", ".hidden", "a.", "../a", "a/b", "a\\b", "C:", "/", "-a", "a-", "Orders", "ä", "a b", "a\n",
            "a.tmp", "con", "nul.txt", "com1", "lpt9.log", "aux", "prn",
        ] {
            assert_eq!(StoreName::new(bad).map_err(|error| error.problem), Err(NameProblem::NoStoreName), "{bad:?}");
        }
        assert_eq!(StoreName::new("").map_err(|error| error.problem), Err(NameProblem::Empty));
        let long = StoreName::new(&"x".repeat(65)).map_err(|error| error.problem);
        assert_eq!(long, Err(NameProblem::TooLong { len: 65, max: 64 }));
    }
}
