//! The configuration: sound, or refused with every fault.
//!
//! [`keys`] is the table of every key. [`raw`] reads the file and the environment into values of the
//! right form, [`check`] turns them into a [`Config`] or into all [`Fault`]s. A `Config` that
//! exists is sound: nobody behind it checks again.

pub mod bind;
pub mod check;
mod cross;
mod doors;
pub mod fault;
pub mod keys;
pub mod place;
pub mod raw;
mod retention;
pub mod units;

use crate::mail::address::Domain;
use crate::wire::access::PlaintextAuth;
use bind::Bind;
use fault::Fault;
use place::Place;
use raw::Raw;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name in greetings and `Received:` lines, and the domain of user names without one.
    pub hostname: Domain,
    /// The data directory; relative paths count from the working directory.
    pub data_dir: PathBuf,
    /// Where to listen.
    pub listen: Listen,
    /// Whose mail is taken.
    pub accounts: Accounts,
    /// The certificate and its key; without them there is no TLS.
    pub tls: Option<TlsFiles>,
    /// In closed mode: where passwords may come from in the clear.
    pub plaintext_auth: PlaintextAuth,
    /// Bounds.
    pub limits: Limits,
    /// What is thrown away by itself.
    pub retention: Retention,
    /// Log lines.
    pub log: Log,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
    /// What is allowed and yet probably not wanted: sentences for the operator.
    pub warnings: Vec<String>,
}

/// Where to listen. At least one of the lists has an item, and no place is there twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    /// For mail from anyone.
    pub smtp: Vec<Bind>,
    /// For account holders who send.
    pub submission: Vec<Bind>,
    /// The same with TLS from the first octet. Then [`Config::tls`] is there.
    pub submissions: Vec<Bind>,
    /// For mail servers that hand mail over.
    pub lmtp: Vec<Bind>,
    /// For those who fetch mail.
    pub pop3: Vec<Bind>,
    /// The same with TLS from the first octet. Then [`Config::tls`] is there.
    pub pop3s: Vec<Bind>,
}

impl Listen {
    /// Every kind with its name, in the order of the ready line.
    #[must_use]
    pub fn kinds(&self) -> [(&'static str, &[Bind]); 6] {
        [
            ("smtp", &self.smtp),
            ("submission", &self.submission),
            ("submissions", &self.submissions),
            ("lmtp", &self.lmtp),
            ("pop3", &self.pop3),
            ("pop3s", &self.pop3s),
        ]
    }
}

/// Files for TLS, both PEM; relative paths count from the working directory. Whether they are any
/// good is not known yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's own certificate, then those between it and the root.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
    /// Where the two are written, in this order.
    pub places: [Place; 2],
}

/// Which recipients exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A mail catcher: all of them.
    Open,
    /// Accounts and aliases. Then [`Accounts::domains`] is not empty.
    Closed,
}

/// Whose mail is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accounts {
    /// Which recipients exist.
    pub mode: Mode,
    /// The domains that are ours; empty means all, in open mode only.
    pub domains: Vec<Domain>,
    /// What separates a tag from a local part: one character, or empty for no tags.
    pub tag_separator: String,
}

/// What becomes of a bare CR or LF in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareNewline {
    /// The message is refused.
    Refuse,
    /// It is made a CRLF; in open mode only.
    Normalise,
}

/// Bounds of what peers may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Octets of the largest message.
    pub message_octets_max: u64,
    /// Recipients of one message.
    pub recipients_max: usize,
    /// Connections of all listeners together.
    pub connections_max: usize,
    /// Connections of one address, never more than of all.
    pub connections_per_ip_max: usize,
    /// How long an SMTP client may send nothing.
    pub smtp_timeout: Duration,
    /// How long a POP3 client may send nothing.
    pub pop3_timeout: Duration,
    /// Octets of a mailbox without a quota of its own; `None` for no limit.
    pub default_quota: Option<u64>,
    /// What becomes of a bare CR or LF in a message.
    pub bare_newline: BareNewline,
}

/// What is thrown away by itself, oldest first; `None` is never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How old a message gets.
    pub age_max: Option<Duration>,
    /// Most messages of one mailbox.
    pub messages_max: Option<u64>,
    /// Octets of all messages of all mailboxes together.
    pub octets_max: Option<u64>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Log lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How they look.
    pub format: LogFormat,
    /// Which there are, in the syntax of tracing's `EnvFilter`; it was parsed once and is sound.
    pub filter: String,
}

/// Where the files are that are read when no option names one.
pub const SEARCH: [&str; 2] = ["pillarbox.toml", "/etc/pillarbox/pillarbox.toml"];

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that `--config` names. If it is `None`, the first of `search` that exists counts.
    pub file: Option<PathBuf>,
    /// Files that need not exist.
    pub search: Vec<PathBuf>,
    /// The environment; variables that are not ours are passed over.
    pub environment: Vec<(OsString, OsString)>,
    /// The directory that `--data-dir` names; it beats the environment, which beats the file.
    pub data_dir: Option<PathBuf>,
}

/// What a configuration was found to be.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The configuration, or every fault of it.
    pub config: Result<Config, Vec<Fault>>,
    /// The files for TLS, also where something else is wrong.
    pub tls: Option<TlsFiles>,
}

/// Reads and checks the configuration.
///
/// # Errors
/// Every [`Fault`]: those of the file by line, then the others.
pub fn load(sources: &Sources) -> Result<Config, Vec<Fault>> {
    examine(sources).config
}

/// The same, for whoever looks at the files that it names even if it is not sound.
#[must_use]
pub fn examine(sources: &Sources) -> Examined {
    let mut raw = Raw::default();
    let mut faults = Vec::new();
    let found = || sources.search.iter().find(|path| may_exist(path));
    let file = sources.file.as_ref().or_else(found);
    if let Some(path) = file {
        match read(path) {
            Ok(text) => raw.read_file(path, &text, &mut faults),
            Err(fault) => faults.push(fault),
        }
    }
    raw.read_environment(sources.environment.iter().cloned(), &mut faults);
    let tls = check::tls_files(&raw);
    let config = match check::check(&raw, sources.data_dir.as_deref()) {
        Ok(config) if faults.is_empty() => Ok(Config { file: file.cloned(), ..config }),
        Ok(_) => Err(in_order(faults)),
        Err(more) => Err(in_order([faults, more].concat())),
    };
    Examined { config, tls }
}

/// Faults in the order in which their writer goes through the file, each once.
#[must_use]
pub fn in_order(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.sort_by_key(|fault| match fault.place {
        Place::File { line, .. } => line.unwrap_or_default(),
        _ => usize::MAX,
    });
    faults.dedup();
    faults
}

/// Whether a file is there, as far as can be seen. One that cannot be seen or that leads nowhere must
/// not be passed over in silence: the server would run on defaults that nobody asked for.
fn may_exist(path: &Path) -> bool {
    !path.symlink_metadata().is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

fn read(path: &Path) -> Result<String, Fault> {
    let fault = |wrong: String, line: Option<usize>, instead: &str| Fault {
        place: Place::File { path: path.into(), line, column: None },
        key: None,
        wrong,
        instead: instead.to_owned(),
    };
    let octets = std::fs::read(path).map_err(|error| {
        fault(
            format!("cannot be read: {error}"),
            None,
            "name a file that this user may read with --config FILE",
        )
    })?;
    String::from_utf8(octets).map_err(|error| {
        let good = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = good.iter().filter(|b| **b == b'\n').count() + 1;
        fault("is not UTF-8".to_owned(), Some(line), "save the file as UTF-8")
    })
}
