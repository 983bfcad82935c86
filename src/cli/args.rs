//! The words of the command line.

mod check;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use super::hook::HookVerb;
use super::http::Origin;
use super::metrics::MetricsVerb;
use super::notify::NotifyVerb;
use super::token::Given;
use crate::admin::wire::RolloutState;
use crate::model::duration_text;
use crate::model::{BackendName, Generation, Percent, PlanName, RolloutId, RouteName, Weight};

pub(super) use check::CheckArgs;

/// Ships a new version of a server safely, and switches back by itself when it is worse.
#[derive(Debug, Parser)]
#[command(
    name = "switchback",
    version,
    max_term_width = 100,
    propagate_version = true
)]
pub(super) struct Cli {
    /// What every verb takes.
    #[command(flatten)]
    pub(super) globals: Globals,
    /// What to do.
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// Options that every verb takes.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every verb")]
pub(super) struct Globals {
    /// Where the gateway's admin API listens.
    #[arg(long, global = true, env = "SWITCHBACK_ADMIN", value_name = "URL")]
    #[arg(default_value = "http://127.0.0.1:9900", hide_env_values = true)]
    pub(super) admin: Origin,
    /// The token that says who asks. Better given by its variable, or as a file: others on this
    /// machine can see the words of a process.
    #[arg(long, global = true, env = "SWITCHBACK_TOKEN", value_name = "TOKEN")]
    #[arg(hide_env_values = true)]
    pub(super) token: Option<Given>,
    /// A file with the token; goes before the other ways to give one.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// A PEM file with the authorities that may have signed the certificate of an `https://`
    /// admin API. Default: the system's.
    #[arg(long, global = true, env = "SWITCHBACK_CA", value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,
    /// A PEM file with the certificate that says who asks.
    #[arg(
        long,
        global = true,
        env = "SWITCHBACK_CERT",
        value_name = "FILE",
        requires = "key"
    )]
    pub(super) cert: Option<PathBuf>,
    /// A PEM file with the private key of that certificate.
    #[arg(
        long,
        global = true,
        env = "SWITCHBACK_KEY",
        value_name = "FILE",
        requires = "cert"
    )]
    pub(super) key: Option<PathBuf>,
    /// Print JSON to stdout, and nothing else there.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Print without colours; so does a non-empty `NO_COLOR`.
    #[arg(long, global = true)]
    pub(super) no_color: bool,
}

/// What to do. Here and below the options of a verb are put together when it is the one that is asked for: what
/// its help begins with stands here, and would be taken from a comment for documents on its options.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(super) enum Verb {
    /// Run the gateway, until SIGTERM or Ctrl-C; SIGHUP reads the file again.
    Serve(ServeArgs),
    /// Check a config file and show everything wrong with it.
    Check(FileArgs),
    /// Watch a bad version being switched back: servers, agents and a gateway in one process.
    Demo(DemoArgs),
    /// Show routes, their splits and how their backends do.
    Status {
        /// Only this route.
        #[arg(value_name = "ROUTE")]
        route: Option<RouteName>,
    },
    /// Show how the tools of an MCP route do, by backend.
    Tools {
        /// The route.
        #[arg(value_name = "ROUTE")]
        route: RouteName,
    },
    /// Show how fit backends and their endpoints are.
    Backend {
        /// Only this backend.
        #[arg(value_name = "BACKEND")]
        backend: Option<BackendName>,
    },
    /// Compare what a backend promises its MCP clients with what stable does: exit code 1 when
    /// calls that worked would fail.
    Contract(ContractArgs),
    /// Set a route's weights by hand.
    Shift(ShiftArgs),
    /// Start, follow and steer rollouts.
    #[command(subcommand)]
    Rollout(RolloutVerb),
    /// Tell why a rollout stands as it does: the checks, their numbers, what was done.
    Why {
        /// The rollout's id, or the name of a route for its latest one.
        #[arg(value_name = "ID")]
        rollout: RolloutName,
    },
    /// List what happened, latest first.
    History(HistoryArgs),
    /// Look after the state of a gateway that is not running.
    #[command(subcommand)]
    State(StateVerb),
    /// List who changed what, and who was refused, latest first.
    Audit(AuditArgs),
    /// See who is told of what happens, and try it.
    #[command(subcommand)]
    Notify(NotifyVerb),
    /// Try hooks.
    #[command(subcommand)]
    Hook(HookVerb),
    /// Tell the judge what applications found out about calls.
    #[command(subcommand)]
    Metrics(MetricsVerb),
    /// Make tokens for the admin API.
    #[command(subcommand)]
    Token(TokenVerb),
    /// Print the JSON schema of the config file.
    Schema,
    /// Ask a gateway whether it is ready: exit code 0 or 1, for containers.
    Healthcheck {
        /// What to ask. Default: /readyz of the admin API.
        #[arg(long, value_name = "URL")]
        url: Option<String>,
    },
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        #[arg(value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
}

// How the gateway starts.
#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pub(super) file: FileArgs,
    /// Keep what is sound of a damaged state file, put the damaged one aside, and go on.
    #[arg(long)]
    pub(super) recover: bool,
    /// Take over from the gateway that runs on the same state folder, without losing a request.
    #[arg(long)]
    pub(super) takeover: bool,
}

/// What to do with the state.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(super) enum StateVerb {
    /// Say whether the state file is sound, and which schema it has.
    Check(FileArgs),
    /// Bring the state file to another version's schema; a copy is kept.
    Migrate(MigrateArgs),
}

// Where to bring the state file.
#[derive(Debug, Args)]
pub(super) struct MigrateArgs {
    #[command(flatten)]
    pub(super) file: FileArgs,
    /// The schema.
    #[arg(long, value_name = "N")]
    pub(super) to: u64,
}

// Which config file.
#[derive(Debug, Args)]
pub(super) struct FileArgs {
    /// The config file. Default: ./switchback.yaml, when it exists.
    #[arg(short, long, env = "SWITCHBACK_CONFIG", value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
}

// How the demo runs.
#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// Print a line a second instead of drawing, and a table at the end; exit code 0 when the
    /// expected happened. So it is when stdout is no terminal.
    #[arg(long)]
    pub(super) headless: bool,
    /// Longest run, in seconds.
    #[arg(long, value_name = "N", default_value_t = 75, value_parser = clap::value_parser!(u64).range(5..=3600))]
    pub(super) seconds: u64,
    /// Let the new version be good, and watch it being promoted.
    #[arg(long)]
    pub(super) healthy: bool,
    /// How many agents call, 1 to 1,000.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) agents: u16,
    /// The gateway's port. Default: 8080 when it is free, else any free one.
    #[arg(long, value_name = "PORT")]
    pub(super) port: Option<u16>,
    /// The admin API's port. Default: 9900 when it is free, else any free one.
    #[arg(long, value_name = "PORT")]
    pub(super) admin_port: Option<u16>,
}

// Which contracts to compare.
#[derive(Debug, Args)]
pub(super) struct ContractArgs {
    /// The route.
    #[arg(value_name = "ROUTE")]
    pub(super) route: RouteName,
    /// The backend to look at. Default: the candidate of the rollout that runs, else the route's
    /// only other backend.
    #[arg(long, value_name = "BACKEND")]
    pub(super) backend: Option<BackendName>,
    /// The backend to compare with. Default: stable, which is the one with the largest weight.
    #[arg(long, value_name = "BACKEND")]
    pub(super) against: Option<BackendName>,
    /// Show harmless changes one by one, too.
    #[arg(long)]
    pub(super) all: bool,
}

// New weights.
#[derive(Debug, Args)]
pub(super) struct ShiftArgs {
    /// The route.
    #[arg(value_name = "ROUTE")]
    pub(super) route: RouteName,
    /// Relative shares, such as `search-v1=95 search-v2=5`; backends left out keep theirs.
    #[arg(value_name = "BACKEND=WEIGHT", required = true, value_parser = parse_share)]
    pub(super) weights: Vec<(BackendName, Weight)>,
    /// Why; kept in the history.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    /// Only if nothing has changed since this generation, which `status` shows.
    #[arg(long, value_name = "N", value_parser = parse_generation)]
    pub(super) if_match: Option<Generation>,
}

/// What to do with a rollout.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(super) enum RolloutVerb {
    /// Start giving a backend of a route more and more of its traffic.
    Start(StartArgs),
    /// Stay at the present share.
    Pause(ActArgs),
    /// Go on after a pause.
    Resume(ActArgs),
    /// Let it pass a stage that waits for a person.
    Approve(ActArgs),
    /// Tick an item of its checklist.
    Check(CheckArgs),
    /// Give the candidate all of the traffic now.
    Promote(ActArgs),
    /// End it without blame: stable takes all, open sessions stay.
    Abort(ActArgs),
    /// Switch back: stable takes all, the candidate's sessions move to it. Also after a promotion, and
    /// with --to to any version that was stable or promoted before.
    #[command(visible_alias = "rollback")]
    Revert(RevertArgs),
    /// Wait until a rollout is over: exit code 0 promoted, 3 reverted, 4 timed out, 1 aborted.
    Wait(WaitArgs),
    /// List rollouts, latest first.
    List(ListArgs),
    /// Weigh the evidence behind its decisions again: exit code 0 if the judge says the same.
    Replay {
        /// The rollout's id, or the name of a route for its latest one.
        #[arg(value_name = "ID")]
        rollout: RolloutName,
    },
}

// A rollout to start.
#[derive(Debug, Args)]
pub(super) struct StartArgs {
    /// The route.
    #[arg(value_name = "ROUTE")]
    pub(super) route: RouteName,
    /// The backend to ship.
    #[arg(long, value_name = "BACKEND")]
    pub(super) to: BackendName,
    /// The plan to follow. Default: the route's own.
    #[arg(long, value_name = "NAME", conflicts_with = "stages")]
    pub(super) plan: Option<PlanName>,
    /// Percents to climb instead of a plan's. After the last one the candidate is promoted; 100 as the
    /// last one stands for all but the plan's hold-back.
    #[arg(long, value_name = "5,25,50,100", value_delimiter = ',', value_parser = parse_percent)]
    pub(super) stages: Vec<Percent>,
    /// Shortest time in each of these stages.
    #[arg(long, value_name = "TIME", default_value = "5m", requires = "stages", value_parser = duration_text::parse)]
    pub(super) stage_duration: Duration,
    /// Start nothing; tell how long each stage needs at today's traffic, and what it could find.
    #[arg(long, conflicts_with = "wait")]
    pub(super) dry_run: bool,
    /// Wait until it is over, as `rollout wait` does.
    #[arg(long)]
    pub(super) wait: bool,
    /// Longest wait.
    #[arg(long, value_name = "TIME", requires = "wait", value_parser = duration_text::parse)]
    pub(super) timeout: Option<Duration>,
    /// Why; kept in the history.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
    #[command(flatten)]
    pub(super) despite: DespiteArgs,
}

// What a start goes ahead in spite of.
#[derive(Debug, Args)]
pub(super) struct DespiteArgs {
    /// Start although the backend was reverted a moment ago.
    #[arg(long)]
    pub(super) force: bool,
    /// Start although the backend breaks what stable promises, where the route's contract is a
    /// gate; kept in the history.
    #[arg(long)]
    pub(super) accept_contract: bool,
    /// Wait for no window of the plan's schedule, now or later: for emergencies; kept in the history.
    #[arg(long)]
    pub(super) ignore_schedule: bool,
}

// A rollout to act on.
#[derive(Debug, Args)]
pub(super) struct ActArgs {
    /// The rollout's id, or the name of the route that it runs on.
    #[arg(value_name = "ID")]
    pub(super) rollout: RolloutName,
    /// Why; kept in the history.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

// What to switch back.
#[derive(Debug, Args)]
pub(super) struct RevertArgs {
    /// The rollout's id, or the name of its route.
    #[arg(value_name = "ID")]
    pub(super) rollout: RolloutName,
    /// Give all new traffic of the route to this backend, which was stable or promoted before.
    #[arg(long, value_name = "BACKEND")]
    pub(super) to: Option<BackendName>,
    /// Why; kept in the history.
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

// A rollout to wait for.
#[derive(Debug, Args)]
pub(super) struct WaitArgs {
    /// The rollout's id, or the name of a route for its latest one.
    #[arg(value_name = "ID")]
    pub(super) rollout: RolloutName,
    /// Longest wait.
    #[arg(long, value_name = "TIME", value_parser = duration_text::parse)]
    pub(super) timeout: Option<Duration>,
}

// Which rollouts.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only on this route.
    #[arg(long, value_name = "ROUTE")]
    pub(super) route: Option<RouteName>,
    /// Only those that stand so, such as reverted.
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    pub(super) state: Option<RolloutState>,
    /// Only those started before this one, for reading on.
    #[arg(long, value_name = "ID")]
    pub(super) before: Option<RolloutId>,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) limit: u32,
}

// Which part of the history.
#[derive(Debug, Args)]
pub(super) struct HistoryArgs {
    /// Only of this route.
    #[arg(long, value_name = "ROUTE")]
    pub(super) route: Option<RouteName>,
    /// Only of this rollout.
    #[arg(long, value_name = "ID")]
    pub(super) rollout: Option<RolloutId>,
    /// With what the tools did on both versions, under each event that has it.
    #[arg(long)]
    pub(super) tools: bool,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) limit: u32,
}

// Which part of the audit log.
#[derive(Debug, Args)]
pub(super) struct AuditArgs {
    /// Only what has a smaller number, for reading on.
    #[arg(long, value_name = "N")]
    pub(super) before: Option<u64>,
    /// At most this many.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) limit: u32,
}

/// What to do with tokens.
#[derive(Debug, Subcommand)]
#[command(defer = true)]
pub(super) enum TokenVerb {
    /// Print a new token and its hash; nothing is kept of it.
    New,
}

/// How a person names a rollout. An id never reads as a route: ids win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RolloutName {
    /// By its id.
    Id(RolloutId),
    /// By the route that it is on.
    Route(RouteName),
}

impl std::str::FromStr for RolloutName {
    type Err = crate::model::NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(id) = text.parse() {
            return Ok(Self::Id(id));
        }
        text.parse().map(Self::Route)
    }
}

fn parse_share(text: &str) -> Result<(BackendName, Weight), String> {
    let (name, share) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` is not BACKEND=WEIGHT, such as search-v2=5"))?;
    let name = name.parse().map_err(|error| format!("{error}"))?;
    let share: u32 = share
        .parse()
        .map_err(|_| format!("`{share}` is not a weight, which is a whole number"))?;
    let weight = Weight::new(share).map_err(|error| error.to_string())?;
    Ok((name, weight))
}

fn parse_state(text: &str) -> Result<RolloutState, String> {
    let mut all = RolloutState::ALL.into_iter();
    all.find(|state| state.as_str() == text).ok_or_else(|| {
        let known = RolloutState::ALL.map(RolloutState::as_str).join(", ");
        format!("a rollout is one of {known}")
    })
}

fn parse_percent(text: &str) -> Result<Percent, String> {
    let number: f64 = text
        .trim_end_matches('%')
        .parse()
        .map_err(|_| format!("`{text}` is not a percent"))?;
    Percent::new(number).map_err(|error| error.to_string())
}

fn parse_generation(text: &str) -> Result<Generation, String> {
    text.parse()
        .map(Generation)
        .map_err(|_| format!("`{text}` is not a generation, which is a whole number"))
}

#[cfg(test)]
mod tests;
