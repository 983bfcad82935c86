//! The token that proves who asks; and `switchback token`.
//!
//! A token that was given is sent to the gateway and shown to nobody: not in messages, not by
//! `Debug`. From the environment or a file it is not among the words of the process either,
//! which other people on the machine can see.

use std::convert::Infallible;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::str::FromStr;

use http::header::HeaderValue;
use serde_json::json;

use super::args::Globals;
use super::failure::{Exit, Failure};
use super::output::Output;
use crate::access::{Secret, mint};

/// Longest file that a token is read from.
const FILE_MAX_BYTES: u64 = 4096;

/// A token as it was given, good or not. Taking any text, it is never quoted in a complaint.
#[derive(Clone)]
pub(super) struct Given(String);

impl FromStr for Given {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given(…)")
    }
}

/// What goes into `Authorization`, when a token was given.
///
/// # Errors
/// When the file cannot be read, or what was given cannot be a token.
pub(super) fn credentials(globals: &Globals) -> Result<Option<HeaderValue>, Failure> {
    let token = match (&globals.token, &globals.token_file) {
        // First, since it was named just now: the other may be an old variable.
        (_, Some(file)) => read(file)?,
        // A variable that is set to nothing counts as one that is not set.
        (Some(Given(token)), None) if !token.is_empty() => token.clone(),
        (_, None) => return Ok(None),
    };
    let field = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
    let plain = !token.trim().is_empty() && !token.trim().contains(char::is_whitespace);
    match field {
        Ok(mut field) if plain => {
            field.set_sensitive(true);
            Ok(Some(field))
        }
        Ok(_) | Err(_) => Err(
            Failure::new(Exit::Usage, "what was given as a token is none")
                .mend("a token is one word of letters, digits and -._~+/="),
        ),
    }
}

fn read(file: &Path) -> Result<String, Failure> {
    let mut text = String::new();
    let read =
        File::open(file).and_then(|opened| opened.take(FILE_MAX_BYTES).read_to_string(&mut text));
    match read {
        Ok(_) => Ok(text),
        Err(error) => {
            let what = format!("cannot read the token file {}", file.display());
            Err(Failure::new(Exit::Usage, what).because(&error))
        }
    }
}

/// `switchback token new`
pub(super) fn new(output: Output) -> Result<Exit, Failure> {
    let token = mint().map_err(|error| {
        Failure::new(Exit::Error, "cannot get random bytes from the system").because(&error)
    })?;
    let hash = Secret::presented(&token).to_hex();
    let answer = json!({ "token": token, "sha256": hash });
    output.answer(&answer, |_| {
        format!(
            "token:  {token}\nsha256: {hash}\n\n\
             The token is for whoever asks (SWITCHBACK_TOKEN); the file needs its hash alone:\n  \
             admin: {{ tokens: [{{ name: NAME, role: deployer, sha256: {hash} }}] }}"
        )
    })?;
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::Cli;

    fn given(words: &[&str]) -> Result<Option<HeaderValue>, Failure> {
        let words = ["switchback", "status"].iter().chain(words);
        credentials(&Cli::try_parse_from(words).unwrap().globals)
    }

    #[test]
    fn a_token_comes_from_the_words_or_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        std::fs::write(&file, "from-a-file\n").unwrap();
        let file = file.to_str().unwrap();

        let field = |words: &[&str]| given(words).unwrap().unwrap();

        assert_eq!(field(&["--token", "word"]), "Bearer word");
        assert_eq!(field(&["--token-file", file]), "Bearer from-a-file");
        assert!(field(&["--token", "word"]).is_sensitive());
    }

    #[test]
    fn what_cannot_be_a_token_is_refused_without_being_shown() {
        for bad in ["hunter2 hunter2", "hunter2\nX: y", " "] {
            let failure = given(&["--token", bad]).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage);
            assert!(!failure.to_string().contains("hunter2"), "{failure}");
        }
        let failure = given(&["--token-file", "/nowhere/at/all"]).unwrap_err();
        assert!(failure.to_string().contains("/nowhere/at/all"));
        let cli = Cli::try_parse_from(["switchback", "status", "--token", "hunter2"]).unwrap();
        assert!(!format!("{cli:?}").contains("hunter2"));
    }
}
