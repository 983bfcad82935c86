//! What the command line takes, and what it does not.

use clap::CommandFactory;

use super::*;

fn parse(words: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("switchback").chain(words.split(' ')))
}

/// The command line with the options of all verbs, and what each takes besides its own.
fn built() -> clap::Command {
    let mut cli = Cli::command();
    cli.build();
    cli
}

#[test]
fn the_command_line_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn a_verb_says_of_itself_what_is_said_of_it_in_the_list() {
    fn check(listed: &clap::Command, built: &clap::Command) -> usize {
        for verb in listed.get_subcommands() {
            let itself = built.find_subcommand(verb.get_name()).unwrap();
            let abouts = |verb: &clap::Command| {
                [verb.get_about(), verb.get_long_about()]
                    .map(|about| about.map(ToString::to_string))
            };
            assert_eq!(abouts(itself), abouts(verb), "{}", verb.get_name());
        }
        listed.get_subcommands().count()
    }
    // What is listed is taken from before the verbs' options are there; those below a verb are among them.
    let verb = clap::Command::new;
    let lists = [
        RolloutVerb::augment_subcommands(verb("rollout")),
        StateVerb::augment_subcommands(verb("state")),
        NotifyVerb::augment_subcommands(verb("notify")),
        HookVerb::augment_subcommands(verb("hook")),
        MetricsVerb::augment_subcommands(verb("metrics")),
        TokenVerb::augment_subcommands(verb("token")),
    ];
    let built = built();

    let mut checked = check(&Cli::command(), &built);
    for listed in &lists {
        checked += check(listed, built.find_subcommand(listed.get_name()).unwrap());
    }

    // The verb `help`, which the library adds, has a list of all others.
    let helped = built
        .get_subcommands()
        .filter(|verb| verb.get_name() != "help");
    let verbs = helped.flat_map(|verb| verb.get_subcommands().chain([verb]));
    let all = verbs.filter(|verb| verb.get_name() != "help").count();
    assert_eq!(checked, all);
}

#[test]
fn no_verb_takes_an_option_that_all_verbs_have_for_something_else() {
    fn look(command: &clap::Command, globals: &[&str], taken: &mut Vec<String>) {
        for verb in command.get_subcommands() {
            // Those that were handed down to it are marked as global here, too.
            let own = verb.get_arguments().filter(|arg| !arg.is_global_set());
            let own = own.map(|arg| arg.get_id().as_str());
            let own = own.filter(|id| globals.contains(id));
            taken.extend(own.map(|id| format!("{} {id}", verb.get_name())));
            look(verb, globals, taken);
        }
    }
    let cli = built();
    let globals = cli.get_arguments().filter(|arg| arg.is_global_set());
    let globals: Vec<_> = globals.map(|arg| arg.get_id().as_str()).collect();
    let mut taken = Vec::new();

    look(&cli, &globals, &mut taken);

    assert_eq!(taken, [""; 0]);
    assert!(globals.contains(&"key"));
}

#[test]
fn words_become_valid_values_or_are_refused() {
    for words in [
        "check",
        "check -c a.yaml --json",
        "serve -c a.yaml --recover --takeover",
        "state check -c a.yaml",
        "state migrate --to 1",
        "status",
        "status search --admin http://127.0.0.1:1",
        "tools search --json",
        "contract search",
        "contract search --backend v2 --against v1 --all --json",
        "shift search v1=95 v2=5 --reason x --if-match 7",
        "rollout start search --to v2 --stages 5,25%,50.5 --stage-duration 90s",
        "rollout start search --to v2 --plan careful --wait --timeout 1h --force",
        "rollout rollback r-3 --reason late",
        "rollout promote search",
        "rollout wait r-3 --timeout 10m",
        "rollout list",
        "history --route search --rollout r-3 --limit 5",
        "audit --before 9 --limit 5",
        "token new",
        "status --token-file /run/secrets/token",
        "schema",
        "healthcheck --url http://127.0.0.1:9900/livez",
        "completions zsh",
    ] {
        assert!(parse(words).is_ok(), "{words}: {:?}", parse(words).err());
    }

    for words in [
        "",
        "serv",
        "status a b",
        "tools",
        "status --admin ftp://gateway",
        "contract",
        "contract search v2",
        "shift search",
        "shift search v2",
        "shift search v2=-1",
        "shift search v2=1000001",
        "shift se/arch v2=1",
        "rollout start search",
        "rollout start search --to v2 --stages 101",
        "rollout start search --to v2 --stages 5 --stage-duration 5",
        "rollout start search --to v2 --stages 5 --plan careful",
        "rollout start search --to v2 --timeout 1h",
        "history --limit 0",
        "state migrate",
        "audit --limit 0",
        "history --rollout search",
        "completions tcsh-ng",
    ] {
        assert!(parse(words).is_err(), "{words}");
    }
}

#[test]
fn an_id_is_an_id_and_anything_else_a_route() {
    assert_eq!("r-3".parse(), Ok(RolloutName::Id(RolloutId(3))));
    assert_eq!("r-x".parse(), "r-x".parse().map(RolloutName::Route));
}

#[test]
fn every_verb_and_option_is_in_the_docs() {
    const BESIDES: [&str; 2] = ["--help", "--version"];
    fn look(command: &clap::Command, path: &str, missing: &mut Vec<String>) {
        let docs = include_str!("../../../docs/cli.md");
        let own = command.get_arguments().filter(|a| !a.is_global_set());
        let options = own
            .filter_map(|option| option.get_long())
            .map(|long| format!("--{long}"));
        missing.extend(
            options
                .filter(|option| {
                    !BESIDES.contains(&option.as_str()) && !docs.contains(&format!("`{option}"))
                })
                .map(|option| format!("{path} {option}")),
        );
        for verb in command
            .get_subcommands()
            .filter(|verb| verb.get_name() != "help")
        {
            let path = format!("{path} {}", verb.get_name());
            if !verb.has_subcommands() && !docs.contains(&format!("`{path}")) {
                missing.push(path.clone());
            }
            look(verb, &path, missing);
        }
    }
    let mut missing = Vec::new();

    look(&built(), "switchback", &mut missing);

    assert!(missing.is_empty(), "not in docs/cli.md: {missing:#?}");
}
