//! A command that other builds of `annals` have is no unknown word: the error names the feature that brings it.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory as _, Error};

use super::Args;

/// The commands that a feature brings, that feature, and whether it is here.
const OPTIONAL: [(&str, &str, bool); 4] = [
    ("archive", "archive", cfg!(feature = "archive")),
    ("schema", "schema", cfg!(feature = "schema")),
    ("top", "tui", cfg!(feature = "tui")),
    ("torture", "torture", cfg!(feature = "torture")),
];

/// The same error, or a better one where a command is asked for that this build lacks.
pub(crate) fn explained(error: Error) -> Error {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let Some(ContextValue::String(asked)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    match OPTIONAL.iter().find(|(command, _, here)| command == asked && !here) {
        Some((command, feature, _)) => Args::command().error(
            ErrorKind::InvalidSubcommand,
            format!(
                "this `annals` was built without the feature `{feature}`, which brings `annals {command}`: build it with \
                 `--features {feature}`"
            ),
        ),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn said(command: &str) -> String {
        explained(Args::try_parse_from(["annals", command]).unwrap_err()).to_string()
    }

    #[test]
    fn a_command_that_this_build_lacks_is_named_with_its_feature() {
        for (command, feature, here) in OPTIONAL {
            let text = format!("without the feature `{feature}`, which brings `annals {command}`");
            if here {
                let parsed = Args::try_parse_from(["annals", command]).map_err(|error| error.kind());
                assert_ne!(parsed.err(), Some(ErrorKind::InvalidSubcommand), "{command}");
            } else {
                assert!(said(command).contains(&text), "{}", said(command));
            }
        }
    }

    #[test]
    fn a_command_that_no_build_has_is_unknown() {
        assert!(said("tortoise").contains("unrecognized subcommand 'tortoise'"), "{}", said("tortoise"));
    }
}
