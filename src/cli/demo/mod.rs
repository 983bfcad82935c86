//! `switchback demo`: a bad version is switched back while you watch.
//!
//! Two servers made with the official SDK, agents with real sessions, the real gateway and a
//! canary rollout, all in this process and over loopback. Nothing is staged but the fault: the
//! gateway is not told of it, and the demo follows it through the admin API like anybody else.
//! Nothing stays behind.

mod agent;
mod banner;
mod board;
mod client;
mod dice;
mod evidence;
mod follow;
mod gateway;
mod headless;
mod screen;
mod script;
mod server;
mod show;
mod view;

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use self::gateway::{Folder, Ports};
use self::screen::Screen;
use self::script::{Audience, Fate, Script};
use self::server::{Manners, Servers};
use self::show::Show;
use self::view::Scene;
use super::api::Api;
use super::args::DemoArgs;
use super::failure::{Exit, Failure};
use super::output::Output;
use super::run::runtime;

/// How fast the new version is while it is well, as a multiple of the old one's times.
const NEW_PACE: f64 = 0.9;

/// `switchback demo`
pub(super) fn run(args: &DemoArgs, output: Output) -> Result<Exit, Failure> {
    let headless = args.headless || output.is_json() || !std::io::stdout().is_terminal();
    let (fate, audience) = (
        if args.healthy {
            Fate::Promoted
        } else {
            Fate::Reverted
        },
        if headless {
            Audience::Pipeline
        } else {
            Audience::Person
        },
    );
    let script = Script::new(Duration::from_secs(args.seconds), fate, audience);
    let manners = Arc::new(Manners::new("v2", NEW_PACE));
    let servers = Servers::start(vec![
        Arc::new(Manners::new("v1", 1.0)),
        Arc::clone(&manners),
    ])
    .map_err(|error| Failure::new(Exit::Error, "cannot start the two servers").because(&error))?;
    // What is made first goes last: the gateway before its folder and its backends.
    let folder = Folder::new()?;
    let ports = Ports::choose(args.port, args.admin_port);
    let config = gateway::config(ports, servers.addresses(), script.stage(), folder.path())?;
    let running = gateway::start(config)?;
    let screen = if headless { None } else { Some(take_screen()?) };
    let (traffic, admin) = (running.traffic()?, running.admin()?);
    let show = Show {
        script,
        fate,
        scene: Scene {
            agents: args.agents,
            gateway: format!("{traffic}/mcp"),
            admin: admin.to_string(),
        },
        gateway: traffic.into(),
        api: Api::new(admin.into()),
        manners,
        screen,
        output,
    };
    runtime()?.block_on(show.run())
}

fn take_screen() -> Result<Screen, Failure> {
    Screen::take().map_err(|error| {
        Failure::new(Exit::Error, "cannot take the terminal")
            .because(&error)
            .mend("--headless needs none")
    })
}
