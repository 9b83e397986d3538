//! From values to meaning: a [`Config`], or every fault of it.

use super::bind::Bind;
use super::doors::Doors;
use super::fault::{Fault, quoted};
use super::keys::{self, Key, Sample};
use super::place::{At, Place};
use super::raw::{Item, Raw, Value, Written};
use super::units::{self, Size};
use super::{Accounts, BareNewline, Config, Limits, Log, LogFormat, Mode, TlsFiles};
use crate::mail::address::Domain;
use crate::wire::access::PlaintextAuth;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

// RFC 5321 §4.5.3.1.7: 64K octets at least; less is the operator's choice, and is told.
const MESSAGE_OCTETS_ADVISED: u64 = 64 * 1024;
const MESSAGE_OCTETS_MIN: u64 = 1024;
// RFC 5321 §4.5.3.1.8: 100 recipients at least; less is the operator's choice, and is told.
const RECIPIENTS_ADVISED: u64 = 100;
/// An upper bound for the memory of a transaction.
const RECIPIENTS_MAX: u64 = 10_000;
const CONNECTIONS_MAX: u64 = 1_000_000;
const TIMEOUT_MIN: Duration = Duration::from_secs(1);
const TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// What RFC 5321 §4.5.3.2.7 asks of a server.
const SMTP_TIMEOUT_ADVISED: Duration = Duration::from_secs(5 * 60);
/// What RFC 1939 §3 asks of a server.
const POP3_TIMEOUT_ADVISED: Duration = Duration::from_secs(10 * 60);
/// Characters that stand in a local part without quotes and are neither letter, digit nor dot.
const TAG_SEPARATORS: &str = "!#$%&'*+-/=?^_`{|}~";

/// Letters that may be wrong in a word that is clear all the same.
const SLIPS_MAX: usize = 2;
const MODES: &[(&str, Mode)] = &[("open", Mode::Open), ("closed", Mode::Closed)];

/// The files for TLS, whatever else is wrong; whether one of the two is missing is told by [`check`].
#[must_use]
pub fn tls_files(raw: &Raw) -> Option<TlsFiles> {
    Check { raw, faults: Vec::new(), warnings: Vec::new() }.tls()
}

/// Checks what was written. `data_dir` is the option that beats the key.
///
/// # Errors
/// Every fault.
pub fn check(raw: &Raw, data_dir: Option<&Path>) -> Result<Config, Vec<Fault>> {
    let mut check = Check { raw, faults: Vec::new(), warnings: Vec::new() };
    let config = check.config(data_dir);
    match config {
        Some(config) if check.faults.is_empty() => Ok(Config { warnings: check.warnings, ..config }),
        _ => Err(check.faults),
    }
}

pub(super) struct Check<'a> {
    pub(super) raw: &'a Raw,
    pub(super) faults: Vec<Fault>,
    pub(super) warnings: Vec<String>,
}

impl Check<'_> {
    fn config(&mut self, data_dir: Option<&Path>) -> Option<Config> {
        self.not_yet();
        // All of them first, so that no fault hides another one.
        let hostname = self.domain(&keys::HOSTNAME);
        let data_dir = self.data_dir(data_dir);
        let doors = Doors {
            smtp: self.binds(&keys::SMTP, 1025),
            submission: self.addresses(&keys::SUBMISSION, 587),
            submissions: self.addresses(&keys::SUBMISSIONS, 465),
            lmtp: self.binds(&keys::LMTP, 24),
            pop3: self.binds(&keys::POP3, 1110),
            pop3s: self.addresses(&keys::POP3S, 995),
        };
        let mode = self.choice(&keys::MODE, MODES);
        let domains = self.domains(&keys::DOMAINS);
        let tag_separator = self.tag_separator();
        let tls = self.tls();
        let limits = self.limits();
        let retention = self.retention(mode.as_ref(), limits.as_ref());
        let log = self.log();
        let plaintext_auth = match self.flag(&keys::ALLOW_PLAINTEXT_AUTH) {
            false => PlaintextAuth::LocalOnly,
            true => PlaintextAuth::Anywhere,
        };

        // With a mode that is misspelt, what follows from the one that was meant is told all the same.
        let meant = self.meant(&keys::MODE, MODES);
        self.across(meant.as_ref(), &doors, plaintext_auth);
        Some(Config {
            hostname: hostname?,
            data_dir: data_dir?,
            listen: doors.into_listen(),
            accounts: Accounts { mode: mode?.value, domains, tag_separator: tag_separator? },
            tls,
            plaintext_auth,
            limits: limits?,
            retention: retention?,
            log: log?,
            file: None,
            warnings: Vec::new(),
        })
    }

    /// Keys of later versions. A configuration that is written for those has to be sound, or it would be
    /// refused one day, and does nothing yet.
    fn not_yet(&mut self) {
        let places = self.binds(&keys::HTTP, 8025);
        if !places.is_empty() {
            let places: Vec<_> = places.iter().map(|place| place.value.to_string()).collect();
            self.warnings.push(format!(
                "{}: nothing listens at {}: this version has no web inbox and no API yet",
                keys::HTTP.path,
                places.join(", "),
            ));
        }
        if !self.domains(&keys::HTTP_HOSTS).is_empty() {
            self.warnings.push(format!("{}: has no use in this version yet", keys::HTTP_HOSTS.path));
        }
    }

    pub(super) fn text(&self, key: &Key) -> Option<At<String>> {
        match self.raw.value(key)? {
            Written { value: Value::Text(value), place } => Some(At { value, place }),
            _ => None,
        }
    }

    pub(super) fn list(&self, key: &Key) -> Vec<Item> {
        match self.raw.value(key) {
            Some(Written { value: Value::List(items), .. }) => items,
            _ => Vec::new(),
        }
    }

    pub(super) fn fault<T>(&mut self, place: &Place, key: &Key, wrong: impl Into<String>) -> Option<T> {
        self.faults.push(Fault::of_value(place, key, wrong, &key.example));
        None
    }

    fn domain(&mut self, key: &Key) -> Option<Domain> {
        let At { value, place } = self.text(key)?;
        match Domain::parse(&value) {
            Ok(domain) => Some(domain),
            Err(error) => self.fault(&place, key, format!("{}: {error}", quoted(&value))),
        }
    }

    /// The domains that are sound; the others are faults.
    fn domains(&mut self, key: &Key) -> Vec<Domain> {
        let mut domains = Vec::new();
        for Item { text, place } in self.list(key) {
            match Domain::parse(text.strip_prefix('@').unwrap_or(&text)) {
                Ok(domain) if !domains.contains(&domain) => domains.push(domain),
                Ok(_) => {}
                Err(_) if text == "*" && *key == keys::DOMAINS => {
                    let instead = "write domains = [] in open mode, the names of the domains in closed mode";
                    self.faults.push(Fault::new(&place, key, "\"*\" is not a domain", instead));
                }
                Err(error) => {
                    self.fault::<()>(&place, key, format!("{}: {error}", quoted(&text)));
                }
            }
        }
        domains
    }

    fn data_dir(&mut self, option: Option<&Path>) -> Option<PathBuf> {
        let key = &keys::DATA_DIR;
        let (path, place) = match option {
            Some(path) => (path.to_owned(), Place::Option("--data-dir")),
            None => self.text(key).map(|At { value, place }| (PathBuf::from(value), place))?,
        };
        if path.as_os_str().is_empty() {
            return self.fault(&place, key, "is empty");
        }
        Some(path)
    }

    /// The places that are sound; the others are faults.
    fn binds(&mut self, key: &Key, usual_port: u16) -> Vec<At<Bind>> {
        let mut binds = Vec::new();
        for Item { text, place } in self.list(key) {
            match Bind::parse(&text, usual_port) {
                Ok(value) => binds.push(At { value, place }),
                Err(error) => {
                    self.faults.push(Fault::new(
                        &place,
                        key,
                        error.wrong,
                        format!("write {}", error.instead),
                    ));
                }
            }
        }
        binds
    }

    /// The same for protocols that are spoken over TCP only.
    fn addresses(&mut self, key: &Key, usual_port: u16) -> Vec<At<Bind>> {
        let mut binds = self.binds(key, usual_port);
        binds.retain(|At { value, place }| {
            let is_tcp = matches!(value, Bind::Tcp(_));
            if !is_tcp {
                let wrong = format!("{value} is a unix socket, and this is spoken over TCP only");
                let instead = format!("write 127.0.0.1:{usual_port}");
                self.faults.push(Fault::new(place, key, wrong, instead));
            }
            is_tcp
        });
        binds
    }

    /// A path that may be left out; an empty one, as a variable can be, is left out.
    fn path(&self, key: &Key) -> Option<At<PathBuf>> {
        let At { value, place } = self.text(key)?;
        (!value.is_empty()).then(|| At { value: PathBuf::from(value), place })
    }

    fn tls(&mut self) -> Option<TlsFiles> {
        let (certificate, private_key) = (&keys::CERTIFICATE, &keys::PRIVATE_KEY);
        let (here, there, place) = match (self.path(certificate), self.path(private_key)) {
            (Some(certificate), Some(private_key)) => {
                let places = [certificate.place, private_key.place];
                let (certificate, private_key) = (certificate.value, private_key.value);
                return Some(TlsFiles { certificate, private_key, places });
            }
            (None, None) => return None,
            (Some(At { place, .. }), None) => (certificate, private_key, place),
            (None, Some(At { place, .. })) => (private_key, certificate, place),
        };
        let like = match place {
            Place::Environment(_) => Place::Environment(there.variable()),
            _ => Place::Default,
        };
        let wrong = format!("is of no use without {}", there.path);
        let instead = format!("write {} too, or remove it", there.assignment(&like, &there.example));
        self.faults.push(Fault::new(&place, here, wrong, instead));
        None
    }

    /// The choice that was written, or that the writer certainly had in mind.
    fn meant<T: Copy>(&self, key: &Key, choices: &[(&str, T)]) -> Option<At<T>> {
        let At { value, place } = self.text(key)?;
        let distance = |name: &str| strsim::osa_distance(name, &value.to_ascii_lowercase());
        let (_, choice) = choices.iter().find(|(name, _)| distance(name) <= SLIPS_MAX)?;
        Some(At { value: *choice, place })
    }

    fn choice<T: Copy>(&mut self, key: &Key, choices: &[(&str, T)]) -> Option<At<T>> {
        let At { value, place } = self.text(key)?;
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == value) {
            return Some(At { value: *choice, place });
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        let wrong = format!("{} is none of {}", quoted(&value), names.join(", "));
        let nearest = choices
            .iter()
            .map(|(name, _)| *name)
            .min_by_key(|name| strsim::osa_distance(name, &value.to_ascii_lowercase()))?;
        self.faults.push(Fault::of_value(&place, key, wrong, &Sample::Text(nearest)));
        None
    }

    pub(super) fn flag(&self, key: &Key) -> bool {
        matches!(self.raw.value(key), Some(Written { value: Value::Flag(true), .. }))
    }

    fn tag_separator(&mut self) -> Option<String> {
        let key = &keys::TAG_SEPARATOR;
        let At { value, place } = self.text(key)?;
        if value.chars().count() > 1 {
            return self.fault(&place, key, format!("{} is more than one character", quoted(&value)));
        }
        if !value.chars().all(|c| TAG_SEPARATORS.contains(c)) {
            let wrong = format!("{} cannot separate a tag: it is none of {TAG_SEPARATORS}", quoted(&value));
            return self.fault(&place, key, wrong);
        }
        Some(value)
    }

    pub(super) fn size(&mut self, key: &Key) -> Option<At<Size>> {
        let At { value, place } = self.text(key)?;
        match units::size(&value) {
            Ok(value) => Some(At { value, place }),
            Err(error) => {
                self.faults.push(Fault::of_value(&place, key, &error.wrong, &Sample::Text(&error.instead)));
                None
            }
        }
    }

    fn count(&mut self, key: &Key, least: u64, most: u64) -> Option<At<u64>> {
        let Written { value: Value::Count(value), place } = self.raw.value(key)? else { return None };
        let bound = match value {
            n if n < least => least,
            n if n > most => most,
            _ => return Some(At { value, place }),
        };
        let wrong = if bound == least {
            format!("{value} is too small, {least} is the least")
        } else {
            format!("{value} is too large, {most} is the most")
        };
        self.faults.push(Fault::of_value(&place, key, wrong, &Sample::Count(bound)));
        None
    }

    fn timeout(&mut self, key: &Key, advised: Duration, rule: &str) -> Option<Duration> {
        let At { value, place } = self.text(key)?;
        let duration = match units::duration(&value) {
            Ok(duration) => duration,
            Err(error) => {
                self.faults.push(Fault::of_value(&place, key, &error.wrong, &Sample::Text(&error.instead)));
                return None;
            }
        };
        if duration < TIMEOUT_MIN || duration > TIMEOUT_MAX {
            return self.fault(&place, key, format!("{} is not between 1s and 24h", quoted(&value)));
        }
        if duration < advised {
            self.warnings.push(format!("{}: {} is shorter than {rule} asks for", key.path, quoted(&value)));
        }
        Some(duration)
    }

    fn advise(&mut self, key: &Key, what: &str, least: &str) {
        self.warnings.push(format!("{}: {what} less than RFC 5321 asks for ({least})", key.path));
    }

    fn limits(&mut self) -> Option<Limits> {
        let message = self.size(&keys::MESSAGE_SIZE).and_then(|At { value, place }| match value {
            Size::Octets(octets) if octets >= MESSAGE_OCTETS_MIN => {
                if octets < MESSAGE_OCTETS_ADVISED {
                    self.advise(&keys::MESSAGE_SIZE, &format!("{octets} octets are"), "64 KiB");
                }
                Some(octets)
            }
            Size::Octets(_) => {
                self.fault(&place, &keys::MESSAGE_SIZE, "is less than 1 KiB, which few messages fit in")
            }
            Size::Off => self.fault(&place, &keys::MESSAGE_SIZE, "cannot be off: a message needs a bound"),
        });
        let recipients = self.count(&keys::RECIPIENTS, 1, RECIPIENTS_MAX);
        if let Some(At { value, .. }) = recipients.as_ref().filter(|at| at.value < RECIPIENTS_ADVISED) {
            self.advise(&keys::RECIPIENTS, &format!("{value} is"), "100");
        }
        let connections = self.count(&keys::CONNECTIONS, 1, CONNECTIONS_MAX);
        let per_ip = self.count(&keys::CONNECTIONS_PER_IP, 1, CONNECTIONS_MAX);
        // RFC 5321 §4.5.3.2.7: five minutes; less is the operator's choice, and is told.
        let smtp = self.timeout(&keys::SMTP_TIMEOUT, SMTP_TIMEOUT_ADVISED, "RFC 5321 (5 minutes)");
        // RFC 1939 §3: ten minutes at least; less is the operator's choice, and is told.
        let pop3 = self.timeout(&keys::POP3_TIMEOUT, POP3_TIMEOUT_ADVISED, "RFC 1939 (10 minutes)");
        let quota = self.size(&keys::DEFAULT_QUOTA);
        let choices = [("refuse", BareNewline::Refuse), ("normalise", BareNewline::Normalise)];
        let bare_newline = self.choice(&keys::BARE_NEWLINE, &choices);

        let connections_max = connections?.value;
        let per_ip = match per_ip? {
            // A default that another key has made pointless is no fault of the operator.
            At { value, place: Place::Default } => value.min(connections_max),
            At { value, place } if value > connections_max => {
                let wrong = format!("{value} is more than limits.connections, which is {connections_max}");
                self.faults.push(Fault::of_value(
                    &place,
                    &keys::CONNECTIONS_PER_IP,
                    wrong,
                    &Sample::Count(connections_max),
                ));
                return None;
            }
            At { value, .. } => value,
        };
        Some(Limits {
            message_octets_max: message?,
            recipients_max: usize::try_from(recipients?.value).ok()?,
            connections_max: usize::try_from(connections_max).ok()?,
            connections_per_ip_max: usize::try_from(per_ip).ok()?,
            smtp_timeout: smtp?,
            pop3_timeout: pop3?,
            default_quota: match quota?.value {
                Size::Off => None,
                Size::Octets(octets) => Some(octets),
            },
            bare_newline: bare_newline?.value,
        })
    }

    fn log(&mut self) -> Option<Log> {
        let format = self.choice(&keys::LOG_FORMAT, &[("text", LogFormat::Text), ("json", LogFormat::Json)]);
        let At { value: filter, place } = self.text(&keys::LOG_FILTER)?;
        if let Err(error) = log_filter(&filter) {
            let wrong = format!("{}: {error}", quoted(&filter)).replace('\n', " ");
            return self.fault(&place, &keys::LOG_FILTER, wrong);
        }
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        let lower = filter.trim().to_ascii_lowercase();
        if lower.bytes().all(|b| b.is_ascii_alphabetic())
            && !lower.is_empty()
            && lower != env!("CARGO_PKG_NAME")
            && !levels.contains(&lower.as_str())
        {
            self.warnings.push(format!(
                "{}: {} is no level ({}), so it is taken for the name of a module",
                keys::LOG_FILTER.path,
                quoted(&filter),
                levels.join(", "),
            ));
        }
        Some(Log { format: format?.value, filter })
    }
}

/// Reads a filter in tracing's syntax, such as `info` or `pillarbox::smtp=debug,info`. A field is compared
/// with the text that the filter gives, which is no regular expression: the automaton of a short one can
/// fill all memory.
///
/// # Errors
/// What is wrong with it.
pub fn log_filter(text: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().with_regex(false).parse(text)
}
