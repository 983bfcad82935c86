//! From the command line to the verb, and from its end to the exit code.

use std::future::Future;
use std::process::ExitCode;

use clap::Parser;

use super::api::Api;
use super::args::{Cli, TokenVerb, Verb};
use super::failure::{Exit, Failure};
use super::output::Output;
use super::{
    audit, backend, contract, demo, history, hook, local, metrics, notify, rollout, secure, state,
    status, token, tools, why,
};

/// Does what the command line says and returns how it went.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Also for --help and --version, which clap writes to stdout; a reader that went
            // away is no error.
            let _ = error.print();
            let usage = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            return usage.into();
        }
    };
    let output = Output::new(&cli.globals);
    match run(cli, output) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            output.note(&failure.to_string());
            failure.exit.into()
        }
    }
}

fn run(cli: Cli, output: Output) -> Result<Exit, Failure> {
    let credentials = token::credentials(&cli.globals)?;
    let tls = secure::tls(&cli.globals, &cli.verb)?;
    let api = Api::new(cli.globals.admin)
        .over(tls)
        .with_credentials(credentials);
    match cli.verb {
        Verb::Serve(args) => local::serve(args, output),
        Verb::Check(args) => local::check(args, output),
        Verb::Demo(args) => demo::run(&args, output),
        Verb::State(verb) => state::run(verb, output),
        Verb::Schema => local::schema(output),
        Verb::Token(TokenVerb::New) => token::new(output),
        Verb::Audit(args) => asking(audit::list(api, args, output)),
        Verb::Completions { shell } => local::completions(shell, output),
        Verb::Healthcheck { url } => asking(local::healthcheck(api, url, output)),
        Verb::Status { route } => asking(status::show(api, route, output)),
        Verb::Tools { route } => asking(tools::show(api, route, output)),
        Verb::Backend { backend } => asking(backend::show(api, backend, output)),
        Verb::Contract(args) => asking(contract::show(api, args, output)),
        Verb::Shift(args) => asking(status::shift(api, args, output)),
        Verb::Rollout(verb) => asking(rollout::run(api, verb, output)),
        Verb::Hook(verb) => asking(hook::run(api, verb, output)),
        Verb::Notify(verb) => asking(notify::run(api, verb, output)),
        Verb::Metrics(verb) => asking(metrics::run(api, verb, output)),
        Verb::Why { rollout } => asking(why::show(api, rollout, output)),
        Verb::History(args) => asking(history::list(api, args, output)),
    }
}

/// Runs a verb that talks to a gateway.
fn asking(verb: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    runtime()?.block_on(verb)
}

/// A runtime for this thread.
///
/// # Errors
/// When the system has no more file handles to give.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Error, "cannot start the runtime").because(&error))
}
