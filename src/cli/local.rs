//! Verbs that need no admin API: serve, check, schema, completions; and healthcheck.

use std::path::{Path, PathBuf};

use clap::CommandFactory;
use clap_complete::Shell;
use serde_json::json;

use super::api::Api;
use super::args::{Cli, FileArgs, ServeArgs};
use super::failure::{Exit, Failure};
use super::output::Output;
use crate::app::{self, AppError, Running, Start};
use crate::config::{self, Config, Diagnostics, Render};

/// The file that is used when none is named.
const DEFAULT_FILE: &str = "switchback.yaml";

/// `switchback serve`
pub(super) fn serve(args: ServeArgs, output: Output) -> Result<Exit, Failure> {
    let path = file(args.file)?;
    let start = Start {
        recover: args.recover,
        takeover: args.takeover,
    };
    let tell = |running: &Running| {
        let listening = json!({
            "file": path.display().to_string(),
            "listeners": running.listener_addresses(),
            "admin": running.admin_address(),
        });
        // The gateway runs also when nobody reads where.
        let _ = output.answer(&listening, |_| started(&path, running));
    };
    match app::serve(&path, start, tell) {
        Ok(()) => Ok(Exit::Done),
        Err(AppError::Config(found)) => Err(invalid(&path, &found, output)),
        Err(error) => Err(Failure::new(Exit::Error, "cannot run the gateway").because(&error)),
    }
}

/// Shows everything that is wrong with a file.
pub(super) fn invalid(path: &Path, found: &Diagnostics, output: Output) -> Failure {
    output.note(found.render(style(output)).trim_end());
    let what = format!("the config file {} is not valid", path.display());
    Failure::new(Exit::Usage, what)
}

fn started(path: &Path, running: &Running) -> String {
    let addresses: Vec<String> = running
        .listener_addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    format!(
        "switchback {} by {}: traffic on {}, admin API on {}",
        env!("CARGO_PKG_VERSION"),
        path.display(),
        addresses.join(", "),
        running.admin_url(),
    )
}

/// `switchback check`
pub(super) fn check(args: FileArgs, output: Output) -> Result<Exit, Failure> {
    let path = file(args)?;
    let (diagnostics, said) = match app::check(&path) {
        Ok(config) => (Vec::new(), praise(&config)),
        Err(found) => {
            let problems = match found.len() {
                1 => "1 problem".to_owned(),
                many => format!("{many} problems"),
            };
            let drawn = found.render(style(output));
            let said = format!("{drawn}{}: {problems}", path.display());
            (found.as_slice().to_vec(), said)
        }
    };
    let exit = if diagnostics.is_empty() {
        Exit::Done
    } else {
        Exit::Usage
    };
    let answer = json!({
        "file": path.display().to_string(),
        "valid": diagnostics.is_empty(),
        "diagnostics": diagnostics,
    });
    output.answer(&answer, |_| said)?;
    Ok(exit)
}

fn praise(config: &Config) -> String {
    let spec = config.spec();
    let some = |number: usize, thing: &str| match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    };
    format!(
        "{}: valid, {}, {}, {}",
        config.path().display(),
        some(spec.listeners.len(), "listener"),
        some(spec.routes.len(), "route"),
        some(spec.backends.len(), "backend"),
    )
}

fn style(output: Output) -> Render {
    if output.has_colour() {
        Render::Colour
    } else {
        Render::Plain
    }
}

/// The file that was named, else the one that is here.
pub(super) fn file(args: FileArgs) -> Result<PathBuf, Failure> {
    if let Some(path) = args.config {
        return Ok(path);
    }
    let path = Path::new(DEFAULT_FILE);
    if path.exists() {
        return Ok(path.to_owned());
    }
    Err(Failure::new(Exit::Usage, "no config file").mend(format!(
        "name one with -c FILE or SWITCHBACK_CONFIG, or put a {DEFAULT_FILE} here"
    )))
}

/// `switchback schema`
pub(super) fn schema(output: Output) -> Result<Exit, Failure> {
    let schema = config::schema();
    let text = serde_json::to_string_pretty(&schema)
        .map_err(|error| Failure::new(Exit::Error, "cannot write the schema").because(&error))?;
    output.text(&text)?;
    Ok(Exit::Done)
}

/// `switchback completions`
pub(super) fn completions(shell: Shell, output: Output) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "switchback", &mut script);
    let script = String::from_utf8_lossy(&script);
    output.answer(
        &json!({ "shell": shell.to_string(), "script": script }),
        |_| script.to_string(),
    )?;
    Ok(Exit::Done)
}

/// `switchback healthcheck`
pub(super) async fn healthcheck(
    api: Api,
    url: Option<String>,
    output: Output,
) -> Result<Exit, Failure> {
    let (origin, path) = match &url {
        Some(url) => parse_url(url)?,
        None => (api.origin().clone(), "/readyz".to_owned()),
    };
    let url = url.unwrap_or_else(|| format!("{origin}{path}"));
    let asked = Api::new(origin).over(api.tls());
    let (healthy, said) = match asked.status_of(&path).await {
        Ok(status) => (status.is_success(), format!("answered {status}")),
        Err(error) => {
            let failure = Failure::new(Exit::Error, "no answer");
            let failure = failure.because(&error).mend(error.hint());
            (false, failure.to_string())
        }
    };
    let word = if healthy { "ready" } else { "not ready" };
    output.answer(
        &json!({ "url": url, "healthy": healthy, "message": said }),
        |_| format!("{word}: {url}: {said}"),
    )?;
    Ok(if healthy { Exit::Done } else { Exit::Error })
}

/// Splits `http://host:port/path` into the server and what it is asked.
fn parse_url(url: &str) -> Result<(super::http::Origin, String), Failure> {
    let bad = || {
        Failure::new(Exit::Usage, format!("`{url}` is not an address to ask"))
            .mend("such as http://127.0.0.1:9900/readyz")
    };
    let uri: http::Uri = url.parse().map_err(|_| bad())?;
    let authority = uri.authority().ok_or_else(bad)?;
    let scheme = uri.scheme_str().ok_or_else(bad)?;
    let origin = format!("{scheme}://{authority}")
        .parse()
        .map_err(|error| bad().because(&error))?;
    let path = uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    Ok((origin, path.to_owned()))
}
