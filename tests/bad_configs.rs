//! The faults that an operator makes, one file each in `tests/bad_configs/`.
//!
//! A file holds what the program has to say, in its order, in comment lines: `# expect: ` and the text
//! of a fault without the name of the file. `# env: NAME=VALUE` sets a variable. All faults have to
//! be said and no other one.

#![allow(clippy::panic, clippy::expect_used)] // helpers of tests may

use pillarbox::config::{self, Config, Sources};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

fn marked<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    text.lines().filter_map(|line| line.strip_prefix("# ")?.strip_prefix(mark)).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn every_fault_of_a_bad_configuration_is_told_with_what_to_write_instead() {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(root().join("tests/bad_configs"))
        .expect("the folder of bad configurations")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 30, "bad configurations are missing");
    let mut wrong = String::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a bad configuration");
        let variable = |line: &str| {
            let (name, value) = line.split_once('=').expect("NAME=VALUE");
            (OsString::from(name), OsString::from(value))
        };
        let environment = marked(&text, "env: ").into_iter().map(variable).collect();
        let sources = Sources { file: Some(path.clone()), environment, ..Sources::default() };
        let told: Vec<String> = match config::load(&sources) {
            Ok(_) => Vec::new(),
            Err(faults) => faults.iter().map(ToString::to_string).collect(),
        };
        let prefix = format!("{}:", path.display());
        let told: Vec<_> = told.iter().map(|t| t.strip_prefix(&prefix).unwrap_or(t)).collect();
        if told.is_empty() || told != marked(&text, "expect: ") {
            wrong.push_str(&format!("\n{} tells\n", path.display()));
            told.iter().for_each(|t| wrong.push_str(&format!("# expect: {t}\n")));
        }
        assert!(told.iter().all(|t| !t.contains('\n')), "a fault is one line: {told:?}");
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn a_fault_stays_on_its_line_whatever_was_written() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("p.toml");
    let text = "listen.smtp = \"a\\nb\"\nlisten.pop3 = [\"/a\\u001b[31m\"]\n\"a\\rb\" = 1\n";
    std::fs::write(&path, text).expect("a file");
    let environment = vec![("PILLARBOX_A\nB".into(), "c".into())];
    let faults = config::load(&Sources { file: Some(path), environment, ..Sources::default() });
    let told: Vec<String> = faults.expect_err("four faults").iter().map(ToString::to_string).collect();
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told.iter().all(|told| !told.chars().any(char::is_control)), "{told:?}");
    assert!(told[0].ends_with("write smtp = [\"a\\nb\"]"), "{}", told[0]);
}

#[test]
fn a_value_in_the_filter_of_the_log_is_text_and_no_expression_that_could_take_all_memory() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("p.toml");
    // As an expression this one is not even well formed.
    let filter = "info,pillarbox[session{peer=(.*}]";
    std::fs::write(&path, format!("log.filter = \"{filter}\"\n")).expect("a file");
    assert_eq!(load(&Sources { file: Some(path), ..Sources::default() }).log.filter, filter);
}

#[test]
fn a_number_is_the_same_in_every_base_that_toml_has() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("p.toml");
    let text = "[limits]\nmessage_size = 0x10_0000\ndefault_quota = 0o7777\nrecipients = 0b1100100\n";
    std::fs::write(&path, text).expect("a file");
    let limits = load(&Sources { file: Some(path), ..Sources::default() }).limits;
    assert_eq!(
        (limits.message_octets_max, limits.default_quota, limits.recipients_max),
        (0x10_0000, Some(0o7777), 100)
    );
}

fn load(sources: &Sources) -> Config {
    config::load(sources).unwrap_or_else(|faults| panic!("{faults:?}"))
}

#[test]
fn the_sample_file_holds_every_key_with_its_default() {
    let path = root().join("config/pillarbox.toml");
    let text = std::fs::read_to_string(&path).expect("the sample file");
    for key in config::keys::ALL {
        let line = match &key.default {
            Some(default) => format!("{} = {default}", key.leaf()),
            None => format!("# {} = {}", key.leaf(), key.example),
        };
        assert!(text.lines().any(|l| l == line), "the sample file lacks the line {line}");
    }
    let of_file = load(&Sources { file: Some(path), ..Sources::default() });
    let of_nothing = load(&Sources::default());
    assert_eq!(Config { file: None, ..of_file }, of_nothing);
    assert_eq!(of_nothing.warnings, Vec::<String>::new());
}

#[test]
fn the_first_file_of_the_search_that_exists_is_read_and_an_option_beats_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, hostname: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, format!("hostname = \"{hostname}\"")).expect("a file");
        path
    };
    let (a, b) = (file("a.toml", "a.example"), file("b.toml", "b.example"));
    let missing = dir.path().join("missing.toml");
    let search = vec![missing.clone(), a.clone(), b.clone()];
    let found = load(&Sources { search: search.clone(), ..Sources::default() });
    assert_eq!((found.hostname.as_str(), found.file), ("a.example", Some(a)));
    let named = load(&Sources { search, file: Some(b), ..Sources::default() });
    assert_eq!(named.hostname.as_str(), "b.example");
    let faults = config::load(&Sources { file: Some(missing), ..Sources::default() }).expect_err("no file");
    assert!(faults[0].to_string().contains("missing.toml: cannot be read: No such file"), "{}", faults[0]);
}

#[test]
fn a_file_of_the_search_that_leads_nowhere_is_told_and_not_passed_over() {
    let dir = tempfile::tempdir().expect("a directory");
    let link = dir.path().join("pillarbox.toml");
    std::os::unix::fs::symlink(dir.path().join("gone"), &link).expect("a link");
    let faults = config::load(&Sources { search: vec![link.clone()], ..Sources::default() })
        .expect_err("the defaults are not what was written");
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(faults[0].to_string().starts_with(&format!("{}: cannot be read: ", link.display())));
}

#[test]
fn the_option_beats_the_environment_which_beats_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("p.toml");
    std::fs::write(&path, "data_dir = \"of-file\"\n[listen]\nsmtp = [\"127.0.0.1:2525\"]\n").expect("a file");
    let set = |pairs: &[(&str, &str)]| pairs.iter().map(|(n, v)| (n.into(), v.into())).collect();
    let mut sources = Sources { file: Some(path), ..Sources::default() };
    assert_eq!(load(&sources).data_dir, Path::new("of-file"));
    sources.environment = set(&[
        ("PILLARBOX_DATA_DIR", "of-environment"),
        ("PILLARBOX_LISTEN__SMTP", "127.0.0.1:1, unix:/run/s.sock"),
        ("PILLARBOX_LISTEN__POP3", ""),
        ("PILLARBOX_LIMITS__RECIPIENTS", "200"),
        ("PILLARBOX_LOG__FILTER", "warn"),
        ("PILLARBOX_LOG", "debug"),
        ("HOME", "/nowhere"),
    ]);
    let config = load(&sources);
    assert_eq!(config.data_dir, Path::new("of-environment"));
    assert_eq!(
        config.listen.smtp.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["127.0.0.1:1", "unix:/run/s.sock"]
    );
    assert!(config.listen.pop3.is_empty());
    assert_eq!(config.limits.recipients_max, 200);
    assert_eq!(config.log.filter, "debug");
    sources.data_dir = Some("of-option".into());
    assert_eq!(load(&sources).data_dir, Path::new("of-option"));
}

#[test]
fn variables_that_an_orchestrator_sets_for_a_service_of_our_name_are_no_spelling_mistakes() {
    let names = [
        "PILLARBOX_SERVICE_HOST",
        "PILLARBOX_SERVICE_PORT",
        "PILLARBOX_SERVICE_PORT_SMTP",
        "PILLARBOX_PORT",
        "PILLARBOX_PORT_1025_TCP",
        "PILLARBOX_PORT_1025_TCP_ADDR",
    ];
    let environment = names.iter().map(|name| (name.into(), "10.0.0.1".into())).collect();
    load(&Sources { environment, ..Sources::default() });
}

fn warnings(toml: &str) -> Vec<String> {
    let mut raw = config::raw::Raw::default();
    let mut faults = Vec::new();
    raw.read_file(Path::new("p.toml"), toml, &mut faults);
    assert_eq!(faults, []);
    config::check::check(&raw, None).unwrap_or_else(|faults| panic!("{faults:?}")).warnings
}

// proves: RFC 5321 §4.5.3.1.7
// proves: RFC 5321 §4.5.3.1.8
#[test]
fn smaller_bounds_than_the_standard_asks_for_are_allowed_and_told() {
    assert_eq!(warnings("[limits]\nmessage_size = 65536\nrecipients = 100"), Vec::<String>::new());
    assert_eq!(
        warnings("[limits]\nmessage_size = 65535\nrecipients = 99"),
        [
            "limits.message_size: 65535 octets are less than RFC 5321 asks for (64 KiB)",
            "limits.recipients: 99 is less than RFC 5321 asks for (100)",
        ]
    );
}

// proves: RFC 5321 §4.5.3.2.7
// proves: RFC 1939 §3
#[test]
fn shorter_timeouts_than_the_standards_ask_for_are_allowed_and_told() {
    assert_eq!(warnings("[limits]\nsmtp_timeout = \"5m\"\npop3_timeout = \"10m\"\n"), Vec::<String>::new());
    assert_eq!(
        warnings("[limits]\nsmtp_timeout = \"2s\"\npop3_timeout = \"599s\"\n"),
        [
            "limits.smtp_timeout: \"2s\" is shorter than RFC 5321 (5 minutes) asks for",
            "limits.pop3_timeout: \"599s\" is shorter than RFC 1939 (10 minutes) asks for",
        ]
    );
}

#[test]
fn what_is_allowed_and_probably_not_wanted_is_told() {
    assert_eq!(
        warnings("listen.http = [\"127.0.0.1:8025\", \"[::1]:8025\"]\nhttp.hosts = [\"mail.example.org\"]"),
        [
            "listen.http: nothing listens at 127.0.0.1:8025, [::1]:8025: this version has no web inbox and \
             no API yet",
            "http.hosts: has no use in this version yet",
        ]
    );
    let told = warnings("[log]\nfilter = \"inof\"");
    assert!(told.len() == 1 && told[0].contains("\"inof\" is no level"), "{told:?}");
    let told = warnings(
        "[listen]\nsmtp = [\"0.0.0.0:25\"]\n[accounts]\nmode = \"closed\"\ndomains = [\"example.org\"]",
    );
    assert!(told.len() == 1 && told[0].contains("greeted as \"localhost\""), "{told:?}");
}

#[test]
fn a_default_that_another_key_makes_pointless_gives_way() {
    let mut raw = config::raw::Raw::default();
    raw.read_file(Path::new("p.toml"), "limits.connections = 10", &mut Vec::new());
    let limits = config::check::check(&raw, None).expect("sound").limits;
    assert_eq!((limits.connections_max, limits.connections_per_ip_max), (10, 10));
}
