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
