//! Who may import whom: the table of docs/architecture.md, held against `use`, inline paths and
//! the names of crates. Code under `#[cfg(test)]`, and a file `tests.rs`, may use what
//! they like.

use super::files::File;
use super::text;
use std::collections::BTreeSet;

/// What the modules below one path may name.
struct Rule {
    /// The module and all below it; the longest that fits counts.
    module: &'static str,
    /// Modules of this program beside itself.
    ours: &'static [&'static str],
    /// Other crates.
    crates: Crates,
}

#[derive(Clone, Copy)]
enum Crates {
    /// These paths and nothing else; no clock, no socket, no file.
    Pure(&'static [&'static str]),
    /// Everything but `sqlx`, and `mail_parser` only where mail is shown.
    Any,
    /// Everything.
    Database,
}

const OUTCOMES: [&str; 4] = ["mail", "wire", "store::outcome", "auth::outcome"];
const DRIVERS: [&str; 2] = ["smtp::server", "pop3::server"];
const SHOWS_MAIL: [&str; 2] = ["cli", "web"];
const VALUES: &[&str] = &["base64", "bytes", "memchr", "zeroize", "smallvec", "idna", "thiserror"];
const CODEC: &[&str] = &["bytes", "memchr", "smallvec", "thiserror", "tokio_util::codec"];

/// Layers 0 to 4; what is not listed (`serve`, `cli`, `main`, `lib`) is assembly and may name all.
const RULES: [Rule; 19] = [
    rule("mail", &[], Crates::Pure(VALUES)),
    rule("wire", &["mail"], Crates::Pure(VALUES)),
    rule("store::outcome", &["mail"], Crates::Pure(VALUES)),
    rule("auth::outcome", &["mail", "wire", "store::outcome"], Crates::Pure(VALUES)),
    rule("smtp", &OUTCOMES, Crates::Pure(VALUES)),
    rule("pop3", &OUTCOMES, Crates::Pure(VALUES)),
    rule("smtp::codec", &["mail", "wire", "smtp"], Crates::Pure(CODEC)),
    rule("pop3::codec", &["mail", "wire", "pop3"], Crates::Pure(CODEC)),
    rule("relay::schedule", &OUTCOMES, Crates::Pure(VALUES)),
    rule("store", &OUTCOMES, Crates::Any),
    rule("store::sqlite", &["mail", "wire", "store", "auth::outcome"], Crates::Database),
    rule("auth", &["mail", "wire", "store"], Crates::Any),
    rule("net", &OUTCOMES, Crates::Any),
    rule("metrics", &OUTCOMES, Crates::Any),
    rule("config", &["mail", "wire", "store::accounts", "store::outcome", "auth::outcome"], Crates::Any),
    rule("smtp::server", &["mail", "wire", "store", "auth", "net", "metrics", "config", "smtp"], Crates::Any),
    rule("pop3::server", &["mail", "wire", "store", "auth", "net", "metrics", "config", "pop3"], Crates::Any),
    rule(
        "relay",
        &["mail", "wire", "store", "auth", "net", "metrics", "config", "smtp::client"],
        Crates::Any,
    ),
    rule("web", &["mail", "wire", "store", "auth", "net", "metrics", "config"], Crates::Any),
];

const fn rule(module: &'static str, ours: &'static [&'static str], crates: Crates) -> Rule {
    Rule { module, ours, crates }
}

/// The module of a file and every path that it names; none of tests.
pub(crate) fn imports(file: &File) -> (String, BTreeSet<String>) {
    let module = module_of(&file.path);
    if module.ends_with("::tests") {
        return (module, BTreeSet::new());
    }
    let code = text::without_tests(&text::masked(&file.text));
    let found = paths(&code, &module);
    (module, found)
}

/// Every path in `file` that its layer may not name.
pub(crate) fn check(file: &File) -> Vec<String> {
    let (module, found) = imports(file);
    let refused = found.iter().filter(|path| !may(&module, path));
    refused.map(|path| format!("{}: {path} is out of reach for {module}", file.path)).collect()
}

/// `src/smtp/session.rs` is `smtp::session`, `src/smtp/mod.rs` is `smtp`.
fn module_of(path: &str) -> String {
    let inner = path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    inner.replace('/', "::")
}

pub(crate) fn within(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn may(module: &str, path: &str) -> bool {
    let rule = RULES.iter().filter(|rule| within(module, rule.module)).max_by_key(|rule| rule.module.len());
    if let (Some(inner), Some(rule)) = (path.strip_prefix("crate::"), rule) {
        // Only assembly starts the drivers.
        if DRIVERS.iter().any(|driver| within(inner, driver) && !within(module, driver)) {
            return false;
        }
        return within(inner, rule.module) || rule.ours.iter().any(|allowed| within(inner, allowed));
    }
    match rule.map_or(Crates::Any, |rule| rule.crates) {
        Crates::Database => true,
        // A parser of mail is never on the way to a 250.
        Crates::Any if within(path, "mail_parser") => SHOWS_MAIL.iter().any(|shows| within(module, shows)),
        Crates::Any => !within(path, "sqlx"),
        Crates::Pure(allowed) => is_pure_std(path) || allowed.iter().any(|name| within(path, name)),
    }
}

/// What of the standard library is a value and not a piece of the world.
fn is_pure_std(path: &str) -> bool {
    let worldly = ["std::fs", "std::thread", "std::process", "std::env", "std::os"];
    let sockets = ["TcpStream", "TcpListener", "UdpSocket", "ToSocketAddrs"];
    ["std", "core", "alloc"].iter().any(|name| within(path, name))
        && !worldly.iter().any(|name| within(path, name))
        && !sockets.iter().any(|name| path.ends_with(name))
        && !path.ends_with("::now")
}

/// Every path that the code names, whole: `crate::…` for ours, `tokio::…` for others, and
/// `std::time::Instant::now` for a look at a clock, however it was imported.
fn paths(code: &str, module: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = String::new();
    let mut from = 0;
    for (at, _) in code.match_indices("use ") {
        if at < from || !code[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || c == ')') {
            continue;
        }
        let end = code[at..].find(';').map_or(code.len(), |end| at + end);
        rest.push_str(&code[from..at]);
        from = end;
        expand("", &code[at + 4..end], &mut found);
    }
    rest.push_str(&code[from..]);
    inline(&rest, &mut found);
    let tokens = found.into_iter().filter_map(|path| absolute(&path, module));
    tokens.collect()
}

/// A tree of `use` as single paths.
fn expand(before: &str, tree: &str, found: &mut BTreeSet<String>) {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let name = tree.split(" as ").next().unwrap_or(tree).trim();
        if !name.is_empty() {
            found.insert(format!("{before}{name}").trim_end_matches("::self").to_owned());
        }
        return;
    };
    let before = format!("{before}{}", tree[..open].trim());
    let inner = &tree[open + 1..tree.rfind('}').unwrap_or(tree.len())];
    let (mut depth, mut from) = (0, 0);
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                expand(&before, &inner[from..at], found);
                from = at + 1;
            }
            _ => {}
        }
    }
    expand(&before, &inner[from..], found);
}

/// Paths in expressions and types. A visibility such as `pub(in crate::store)` names no dependency.
fn inline(code: &str, found: &mut BTreeSet<String>) {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut before = "";
    for word in code.split(|c: char| !is_path(c)).filter(|word| !word.is_empty()) {
        if word.contains("::") && before != "in" {
            found.insert(word.trim_end_matches(':').to_owned());
        }
        before = word;
    }
}

/// The path from the root; `None` for a path that starts at a local name, which an import brought.
fn absolute(path: &str, module: &str) -> Option<String> {
    let mut parts: Vec<&str> = path.split("::").map(str::trim).collect();
    let first = *parts.first()?;
    if first == "super" || first == "self" {
        let mut home: Vec<&str> = module.split("::").collect();
        while parts.first().is_some_and(|part| ["super", "self"].contains(part)) {
            if parts.remove(0) == "super" {
                home.pop();
            }
        }
        return Some(["crate"].into_iter().chain(home).chain(parts).collect::<Vec<_>>().join("::"));
    }
    let clock = ["Instant::now", "SystemTime::now"].contains(&path);
    if clock {
        return Some(format!("std::time::{path}"));
    }
    let known = first == "crate" || first == "std" || CRATES.contains(&first);
    known.then(|| path.to_owned())
}

/// The crates of Cargo.toml that a pure module could be tempted by.
const CRATES: [&str; 28] = [
    "tokio",
    "tokio_util",
    "futures_util",
    "bytes",
    "memchr",
    "smallvec",
    "socket2",
    "rustix",
    "mail_parser",
    "idna",
    "sqlx",
    "tempfile",
    "argon2",
    "getrandom",
    "lru",
    "rpassword",
    "zeroize",
    "bytesize",
    "clap",
    "jiff",
    "serde",
    "serde_json",
    "strsim",
    "toml",
    "thiserror",
    "tracing",
    "tracing_subscriber",
    "pillarbox",
];
