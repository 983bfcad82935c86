//! Configs of one route, as most tests need them.

/// One backend: its name, its address and its share.
pub type Arm<'a> = (&'a str, &'a str, u32);

/// A config with the route `all` over these backends.
pub fn route(protocol: &str, arms: &[Arm<'_>]) -> String {
    route_with(protocol, arms, &[])
}

/// The same with more lines in the route, such as `idle_timeout: 1s`.
pub fn route_with(protocol: &str, arms: &[Arm<'_>], more: &[&str]) -> String {
    let mut text = "backends:\n".to_owned();
    for (name, url, _) in arms {
        text.push_str(&format!(
            "  {name}: {{ endpoints: [\"{url}\"], connect_timeout: 2s }}\n"
        ));
    }
    text.push_str("routes:\n  - name: all\n    protocol: ");
    text.push_str(protocol);
    let shares = arms.iter().filter(|(_, _, share)| *share != ABSENT);
    let shares: Vec<String> = shares
        .map(|(name, _, share)| format!("{name}: {share}"))
        .collect();
    text.push_str(&format!("\n    split: {{ {} }}\n", shares.join(", ")));
    for line in more {
        text.push_str(&format!("    {line}\n"));
    }
    text
}

/// The share of a backend that is not in the split, such as a shadow's.
pub const ABSENT: u32 = u32::MAX;

/// A config that sends everything to one backend.
pub fn through(url: &str) -> String {
    route("http", &[("only", url, 1)])
}

/// Everything goes to v1, but for what the rule `canary` takes, which goes by these shares of v1 and
/// v2; one may be [`ABSENT`].
pub fn ruled(v1: &str, v2: &str, rule: &str, shares: (u32, u32)) -> String {
    let of_rule = [("v1", v1, shares.0), ("v2", v2, shares.1)];
    let of_rule = of_rule.iter().filter(|(_, _, share)| *share != ABSENT);
    let of_rule: Vec<String> = of_rule
        .map(|(arm, _, share)| format!("{arm}: {share}"))
        .collect();
    let mut text = route("mcp", &[("v1", v1, 1), ("v2", v2, 0)]);
    text.push_str(&format!(
        "  - name: canary
    protocol: mcp
    match: {{ mcp: {{ {rule} }} }}
    split: {{ {} }}
",
        of_rule.join(", ")
    ));
    text
}
