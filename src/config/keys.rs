//! The table of every key: the one place that parser, environment, hints and the sample file read.

use super::place::Place;
use std::fmt;

/// What kind of value a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// A string or a number: a size, a duration, or a count that may be "off".
    Quantity,
    /// A number without a unit.
    Count,
    /// `true` or `false`.
    Flag,
    /// A list of strings.
    List,
}

impl Kind {
    /// The kind in words, for "it takes …".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Kind::Text => "a string",
            Kind::Quantity => "a string or a number",
            Kind::Count => "a number",
            Kind::Flag => "true or false",
            Kind::List => "a list of strings",
        }
    }
}

/// A value as it stands in the table below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sample<'a> {
    /// A string.
    Text(&'a str),
    /// A number.
    Count(u64),
    /// A flag.
    Flag(bool),
    /// A list of strings.
    List(&'a [&'a str]),
}

impl fmt::Display for Sample<'_> {
    /// As TOML.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sample::Text(text) => write!(f, "\"{text}\""),
            Sample::Count(n) => n.fmt(f),
            Sample::Flag(flag) => flag.fmt(f),
            Sample::List(items) => {
                f.write_str("[")?;
                for (i, item) in items.iter().enumerate() {
                    write!(f, "{}\"{item}\"", if i == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
        }
    }
}

impl Sample<'_> {
    /// As the value of an environment variable.
    #[must_use]
    pub fn in_environment(&self) -> String {
        match self {
            Sample::Text(text) => (*text).to_owned(),
            Sample::List(items) => items.join(","),
            Sample::Count(_) | Sample::Flag(_) => self.to_string(),
        }
    }
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its dotted path.
    pub path: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Its value when nobody writes it; `None`: it has none.
    pub default: Option<Sample<'static>>,
    /// A value that is always right in form, for hints.
    pub example: Sample<'static>,
}

impl Key {
    const fn new(path: &'static str, kind: Kind, default: Sample<'static>, example: Sample<'static>) -> Key {
        Key { path, kind, default: Some(default), example }
    }

    const fn unset(path: &'static str, kind: Kind, example: Sample<'static>) -> Key {
        Key { path, kind, default: None, example }
    }

    /// The last part of its path, as it stands below its `[table]`.
    #[must_use]
    pub fn leaf(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, leaf)| leaf)
    }

    /// The environment variable that overrides it.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.path.replace('.', "__").to_ascii_uppercase())
    }

    /// How a value is written at a place: a line of TOML, a variable or an option.
    #[must_use]
    pub fn assignment(&self, place: &Place, sample: &Sample<'_>) -> String {
        match place {
            Place::Environment(name) => format!("{name}={}", sample.in_environment()),
            Place::Option(name) => format!("{name} {}", sample.in_environment()),
            Place::File { .. } | Place::Default => format!("{} = {sample}", self.leaf()),
        }
    }
}

/// What every variable of ours begins with.
pub const PREFIX: &str = "PILLARBOX_";
/// The variable that overrides [`LOG_FILTER`] and is no path of a key.
pub const LOG_VARIABLE: &str = "PILLARBOX_LOG";

use Kind::{Count, Flag, List, Quantity, Text};

/// The name in greetings and `Received:` lines.
pub const HOSTNAME: Key =
    Key::new("hostname", Text, Sample::Text("localhost"), Sample::Text("mx.example.org"));
/// The data directory.
pub const DATA_DIR: Key =
    Key::new("data_dir", Text, Sample::Text("pillarbox-data"), Sample::Text("/var/lib/pillarbox"));
/// Listeners for mail from anyone.
pub const SMTP: Key = Key::new(
    "listen.smtp",
    List,
    Sample::List(&["127.0.0.1:1025"]),
    Sample::List(&["127.0.0.1:1025", "[::1]:1025"]),
);
/// Listeners for account holders who send.
pub const SUBMISSION: Key =
    Key::new("listen.submission", List, Sample::List(&[]), Sample::List(&["127.0.0.1:587"]));
/// The same, TLS from the first octet.
pub const SUBMISSIONS: Key =
    Key::new("listen.submissions", List, Sample::List(&[]), Sample::List(&["127.0.0.1:465"]));
/// Listeners for mail servers of ours that hand mail over.
pub const LMTP: Key =
    Key::new("listen.lmtp", List, Sample::List(&[]), Sample::List(&["unix:/run/pillarbox/lmtp"]));
/// Listeners for those who fetch mail.
pub const POP3: Key = Key::new(
    "listen.pop3",
    List,
    Sample::List(&["127.0.0.1:1110"]),
    Sample::List(&["127.0.0.1:1110", "[::1]:1110"]),
);
/// The same, TLS from the first octet.
pub const POP3S: Key = Key::new("listen.pop3s", List, Sample::List(&[]), Sample::List(&["127.0.0.1:995"]));
/// Listeners for the web inbox of a later version.
pub const HTTP: Key = Key::new("listen.http", List, Sample::List(&[]), Sample::List(&["127.0.0.1:8025"]));
/// Open or closed.
pub const MODE: Key = Key::new("accounts.mode", Text, Sample::Text("open"), Sample::Text("closed"));
/// The domains that are ours.
pub const DOMAINS: Key =
    Key::new("accounts.domains", List, Sample::List(&[]), Sample::List(&["example.org"]));
/// Whether open mode may leave loopback.
pub const ALLOW_OPEN: Key =
    Key::new("accounts.allow_open_on_network", Flag, Sample::Flag(false), Sample::Flag(true));
/// What separates a tag from a local part.
pub const TAG_SEPARATOR: Key = Key::new("accounts.tag_separator", Text, Sample::Text("+"), Sample::Text("+"));
/// The certificate and its chain.
pub const CERTIFICATE: Key = Key::unset("tls.certificate", Text, Sample::Text("cert.pem"));
/// The key of the certificate.
pub const PRIVATE_KEY: Key = Key::unset("tls.private_key", Text, Sample::Text("key.pem"));
/// Whether passwords may cross the network without TLS.
pub const ALLOW_PLAINTEXT_AUTH: Key =
    Key::new("tls.allow_plaintext_auth", Flag, Sample::Flag(false), Sample::Flag(true));
/// Names under which that may be asked for.
pub const HTTP_HOSTS: Key =
    Key::new("http.hosts", List, Sample::List(&[]), Sample::List(&["mail.example.org"]));
/// Largest message.
pub const MESSAGE_SIZE: Key =
    Key::new("limits.message_size", Quantity, Sample::Text("25 MiB"), Sample::Text("25 MiB"));
/// Most recipients of a message.
pub const RECIPIENTS: Key = Key::new("limits.recipients", Count, Sample::Count(100), Sample::Count(100));
/// Most connections over all listeners.
pub const CONNECTIONS: Key = Key::new("limits.connections", Count, Sample::Count(4096), Sample::Count(4096));
/// Most connections of one address.
pub const CONNECTIONS_PER_IP: Key =
    Key::new("limits.connections_per_ip", Count, Sample::Count(256), Sample::Count(256));
/// How long an SMTP client may be silent.
pub const SMTP_TIMEOUT: Key =
    Key::new("limits.smtp_timeout", Quantity, Sample::Text("5m"), Sample::Text("5m"));
/// How long a POP3 client may be silent.
pub const POP3_TIMEOUT: Key =
    Key::new("limits.pop3_timeout", Quantity, Sample::Text("10m"), Sample::Text("10m"));
/// Quota of accounts without their own.
pub const DEFAULT_QUOTA: Key =
    Key::new("limits.default_quota", Quantity, Sample::Text("off"), Sample::Text("1 GiB"));
/// What becomes of a bare CR or LF in a message.
pub const BARE_NEWLINE: Key =
    Key::new("limits.bare_newline", Text, Sample::Text("refuse"), Sample::Text("refuse"));
/// How old a message gets.
pub const MAX_AGE: Key =
    Key::new("retention.max_age", Quantity, Sample::Text("off"), Sample::Text("30 days"));
/// Most messages of a mailbox.
pub const MAX_MESSAGES: Key =
    Key::new("retention.max_messages", Quantity, Sample::Text("off"), Sample::Text("1000"));
/// Octets of all messages together; the default depends on the mode.
pub const TOTAL_SIZE: Key = Key::unset("retention.total_size", Quantity, Sample::Text("1 GiB"));
/// How log lines look.
pub const LOG_FORMAT: Key = Key::new("log.format", Text, Sample::Text("text"), Sample::Text("json"));
/// Which log lines there are.
pub const LOG_FILTER: Key =
    Key::new("log.filter", Text, Sample::Text("info"), Sample::Text("info,pillarbox=debug"));

/// Every key, in the order of the sample file.
pub static ALL: &[Key] = &[
    HOSTNAME,
    DATA_DIR,
    SMTP,
    SUBMISSION,
    SUBMISSIONS,
    LMTP,
    POP3,
    POP3S,
    HTTP,
    MODE,
    DOMAINS,
    ALLOW_OPEN,
    TAG_SEPARATOR,
    CERTIFICATE,
    PRIVATE_KEY,
    ALLOW_PLAINTEXT_AUTH,
    HTTP_HOSTS,
    MESSAGE_SIZE,
    RECIPIENTS,
    CONNECTIONS,
    CONNECTIONS_PER_IP,
    SMTP_TIMEOUT,
    POP3_TIMEOUT,
    DEFAULT_QUOTA,
    BARE_NEWLINE,
    MAX_AGE,
    MAX_MESSAGES,
    TOTAL_SIZE,
    LOG_FORMAT,
    LOG_FILTER,
];

/// The key of a dotted path.
#[must_use]
pub fn by_path(path: &str) -> Option<&'static Key> {
    ALL.iter().find(|key| key.path == path)
}

/// Whether a dotted path is a table that holds keys.
#[must_use]
pub fn is_table(path: &str) -> bool {
    ALL.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The known key that is nearest to a path nobody knows. A right name at the wrong place is nearer
/// than any misspelling.
#[must_use]
pub fn nearest(path: &str) -> &'static str {
    /// What another table weighs, in letters.
    const OTHER_TABLE: usize = 3;
    let leaf = path.rsplit_once('.').map_or(path, |(_, leaf)| leaf);
    if let Some(key) = ALL.iter().find(|key| key.leaf() == leaf) {
        return key.path;
    }
    let distance = |key: &&Key| {
        let elsewhere = strsim::osa_distance(key.leaf(), leaf) + OTHER_TABLE;
        strsim::osa_distance(key.path, path).min(elsewhere)
    };
    ALL.iter().min_by_key(distance).map_or(HOSTNAME.path, |key| key.path)
}

/// The known table that is nearest to one nobody knows; or the key of that name, which is no table.
#[must_use]
pub fn nearest_table(path: &str) -> &'static str {
    if let Some(key) = ALL.iter().find(|key| key.leaf() == path) {
        return key.path;
    }
    let tables = ALL.iter().filter_map(|key| key.path.split_once('.').map(|(table, _)| table));
    tables.min_by_key(|table| strsim::osa_distance(table, path)).unwrap_or("listen")
}

/// The variable of ours that is nearest to a name nobody knows.
#[must_use]
pub fn nearest_variable(name: &str) -> String {
    let upper = name.to_ascii_uppercase();
    if strsim::osa_distance(LOG_VARIABLE, &upper) <= 1 {
        return LOG_VARIABLE.to_owned();
    }
    let path = upper.strip_prefix(PREFIX).unwrap_or(&upper).replace("__", ".").to_ascii_lowercase();
    by_path(nearest(&path)).unwrap_or(&HOSTNAME).variable()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_key_is_the_one_that_was_meant() {
        for (written, meant) in [
            ("hostnam", "hostname"),
            ("host", "hostname"),
            ("limits.recipient", "limits.recipients"),
            ("limits.max_recipients", "limits.recipients"),
            ("listen.message_size", "limits.message_size"),
            ("message_size", "limits.message_size"),
            ("smtp", "listen.smtp"),
            ("limits.max_size", "limits.message_size"),
            ("listen.imap", "listen.smtp"),
        ] {
            assert_eq!(nearest(written), meant, "{written}");
        }
        assert_eq!(nearest_table("limit"), "limits");
        assert_eq!(nearest_table("acounts"), "accounts");
        assert_eq!(nearest_table("smtp"), "listen.smtp");
        assert_eq!(nearest_variable("PILLARBOX_LISTEN_SMTP"), "PILLARBOX_LISTEN__SMTP");
        assert_eq!(nearest_variable("PILLARBOX_DATADIR"), "PILLARBOX_DATA_DIR");
        assert_eq!(nearest_variable("PILLARBOX_HOST"), "PILLARBOX_HOSTNAME");
        assert_eq!(nearest_variable("PILLARBOX_LOGS"), "PILLARBOX_LOG");
    }

    #[test]
    fn no_path_and_no_variable_is_there_twice() {
        let mut variables: Vec<_> = ALL.iter().map(Key::variable).collect();
        variables.sort();
        variables.dedup();
        assert_eq!(variables.len(), ALL.len());
        assert!(ALL.iter().all(|key| key.variable() != LOG_VARIABLE));
    }
}
