//! Every listener with what its sessions need: bound, or handed over by the system, and opened
//! when all of them are there.

use super::{ServeError, mode};
use crate::auth::Auth;
use crate::config::bind::Bind;
use crate::config::{BareNewline, Config, Listen, Mode, Retention};
use crate::mail::address::Address;
use crate::mail::peer::Peer;
use crate::net::bind::{self, SocketFile};
use crate::net::conn::Conn;
use crate::net::drain::Drain;
use crate::net::inherited::Inherited;
use crate::net::listener::{self, Limits, Listener};
use crate::net::tls::{Encryption, Keys};
use crate::pop3::offer::Expiry;
use crate::smtp::budget::Budget;
use crate::smtp::role::Role;
use crate::smtp::role::Terms;
use crate::smtp::server::BUDGET_OCTETS;
use crate::store::Store;
use crate::wire::access::PlaintextAuth;
use crate::wire::dot;
use crate::{pop3, smtp};
use std::future::Future;
use std::io;
use std::sync::Arc;

/// What a kind of listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Smtp(Role, Start),
    Pop3(Start),
}

/// How a session on it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Plain,
    Tls,
}

/// The kinds, as the ready line and the units of a system call them, in the order of the ready line.
const KINDS: [(&str, Kind); 6] = [
    ("smtp", Kind::Smtp(Role::Mx, Start::Plain)),
    ("submission", Kind::Smtp(Role::Submission, Start::Plain)),
    ("submissions", Kind::Smtp(Role::Submission, Start::Tls)),
    ("lmtp", Kind::Smtp(Role::Lmtp, Start::Plain)),
    ("pop3", Kind::Pop3(Start::Plain)),
    ("pop3s", Kind::Pop3(Start::Tls)),
];

/// The names of [`KINDS`].
pub(crate) fn names() -> [&'static str; 6] {
    KINDS.map(|(name, _)| name)
}

fn places(listen: &Listen, kind: Kind) -> &[Bind] {
    match kind {
        Kind::Smtp(Role::Mx, _) => &listen.smtp,
        Kind::Smtp(Role::Submission, Start::Plain) => &listen.submission,
        Kind::Smtp(Role::Submission, Start::Tls) => &listen.submissions,
        Kind::Smtp(Role::Lmtp, _) => &listen.lmtp,
        Kind::Pop3(Start::Plain) => &listen.pop3,
        Kind::Pop3(Start::Tls) => &listen.pop3s,
    }
}

/// What all doors share.
pub(super) struct House<'a> {
    pub(super) config: &'a Config,
    pub(super) store: &'a Store,
    pub(super) keys: Option<&'a Keys>,
    pub(super) drain: &'a Drain,
}

/// Binds every listener, and only then lets the first connection in. Returns the ready line, and the
/// socket files that are to be kept until the end.
pub(super) fn open(
    house: &House<'_>,
    inherited: &mut Inherited,
) -> Result<(String, Vec<SocketFile>), ServeError> {
    let mut sockets = Vec::new();
    let mut ready = String::from("ready");
    let mut doors = Vec::new();
    for (name, kind) in KINDS {
        let bound = bind_all(name, places(&house.config.listen, kind), inherited, &mut sockets)?;
        if !bound.is_empty() {
            let shown: Vec<_> = bound.iter().map(|(_, shown)| shown.as_str()).collect();
            ready.push_str(&format!(" {name}={}", shown.join(",")));
        }
        doors.extend(bound.into_iter().map(|(door, _)| (kind, door)));
    }
    let Config { limits, hostname, .. } = house.config;
    let rooms = Rooms {
        house,
        // One of each for all doors: guesses at one are remembered at the others, and the memory for
        // messages does not grow with the listeners.
        auth: Auth::new(house.store.clone(), mode(house.config), hostname.clone()),
        budget: Budget::new(BUDGET_OCTETS),
        limits: Limits::new(limits.connections_max, limits.connections_per_ip_max),
    };
    for (kind, door) in doors {
        match kind {
            Kind::Smtp(role, start) => rooms.open_smtp(door, role, start)?,
            Kind::Pop3(start) => rooms.open_pop3(door, start),
        }
    }
    Ok((ready, sockets))
}

/// The listeners of one kind: those that the system hands over, else those of the configuration.
fn bind_all(
    name: &str,
    places: &[Bind],
    inherited: &mut Inherited,
    sockets: &mut Vec<SocketFile>,
) -> Result<Vec<(Listener, String)>, ServeError> {
    let handed = inherited.listeners(name)?;
    if !handed.is_empty() {
        return Ok(handed);
    }
    let mut bound = Vec::new();
    for place in places {
        bound.push(match place {
            Bind::Tcp(address) => {
                let (door, bound) = bind::tcp(*address)?;
                (door, bound.to_string())
            }
            Bind::Unix(path) => {
                let (door, file) = bind::unix(path)?;
                sockets.push(file);
                (door, place.to_string())
            }
        });
    }
    Ok(bound)
}

struct Rooms<'a> {
    house: &'a House<'a>,
    auth: Auth,
    budget: Arc<Budget>,
    limits: Limits,
}

impl Rooms<'_> {
    fn open_smtp(&self, door: Listener, role: Role, start: Start) -> Result<(), ServeError> {
        let context = Arc::new(self.smtp_context(role, start)?);
        let session = move |conn: Conn, peer: Peer| smtp::server::serve(conn, peer, context.clone());
        self.open_door(door, start, smtp::reply::TOO_MANY_CONNECTIONS, session);
        Ok(())
    }

    fn open_pop3(&self, door: Listener, start: Start) {
        let context = Arc::new(self.pop3_context(start));
        let session = move |conn: Conn, peer: Peer| pop3::server::serve(conn, peer, context.clone());
        self.open_door(door, start, pop3::reply::Reply::TOO_MANY_CONNECTIONS, session);
    }

    fn open_door<F, S>(&self, door: Listener, start: Start, refusal: &'static [u8], session: F)
    where
        F: Fn(Conn, Peer) -> S + Send + 'static,
        S: Future<Output = ()> + Send + 'static,
    {
        let Drain { ending, sessions } = self.house.drain.clone();
        let refusal = match start {
            Start::Plain => Some(refusal),
            // Words in the clear would be taken for a broken handshake.
            Start::Tls => None,
        };
        tokio::spawn(listener::run(door, self.limits.clone(), ending, sessions, refusal, session));
    }

    fn smtp_context(&self, role: Role, start: Start) -> Result<smtp::server::Context, ServeError> {
        let config = self.house.config;
        let terms = Terms {
            hostname: config.hostname.as_str().into(),
            postmaster: postmaster(config)?,
            message_octets_max: config.limits.message_octets_max,
            recipients_max: config.limits.recipients_max,
            role,
        };
        Ok(smtp::server::Context {
            store: self.house.store.clone(),
            auth: self.auth.clone(),
            terms: Arc::new(terms),
            mode: mode(config),
            encryption: encryption(self.house.keys.cloned(), start),
            plaintext_auth: plaintext_auth(config),
            timeout: config.limits.smtp_timeout,
            bare_newline: match config.limits.bare_newline {
                BareNewline::Refuse => dot::BareNewline::Refuse,
                BareNewline::Normalise => dot::BareNewline::Normalise,
            },
            budget: self.budget.clone(),
        })
    }

    fn pop3_context(&self, start: Start) -> pop3::server::Context {
        pop3::server::Context {
            hostname: self.house.config.hostname.as_str().into(),
            store: self.house.store.clone(),
            auth: self.auth.clone(),
            encryption: encryption(self.house.keys.map(Keys::for_pop3), start),
            plaintext_auth: plaintext_auth(self.house.config),
            timeout: self.house.config.limits.pop3_timeout,
            expiry: expiry(&self.house.config.retention),
        }
    }
}

/// A listener that begins with TLS and has no keys does not get here: the configuration was refused.
fn encryption(keys: Option<Keys>, start: Start) -> Encryption {
    match (keys, start) {
        (None, _) => Encryption::Off,
        (Some(keys), Start::Plain) => Encryption::OnRequest(keys),
        (Some(keys), Start::Tls) => Encryption::FromStart(keys),
    }
}

fn plaintext_auth(config: &Config) -> PlaintextAuth {
    match config.accounts.mode {
        // Its passwords mean nothing.
        Mode::Open => PlaintextAuth::Anywhere,
        Mode::Closed => config.plaintext_auth,
    }
}

/// What CAPA says of retention. A bound on number or size has no days, so that alone it leaves NEVER unsaid.
fn expiry(retention: &Retention) -> Expiry {
    const DAY_SECONDS: u64 = 24 * 60 * 60;
    match retention {
        // RFC 2449 §6.7: whole days, rounded down: the least that may be in force.
        Retention { age_max: Some(age), .. } => {
            Expiry::Days(u32::try_from(age.as_secs() / DAY_SECONDS).unwrap_or(u32::MAX))
        }
        Retention { age_max: None, messages_max: None, octets_max: None } => Expiry::Never,
        Retention { age_max: None, .. } => Expiry::Untold,
    }
}

/// Where mail for `<postmaster>` without a domain goes (RFC 5321 §4.5.1): to the postmaster of this
/// host where its name is one of our domains, else to that of the first domain.
fn postmaster(config: &Config) -> Result<Address, ServeError> {
    let ours = &config.accounts.domains;
    let domain = match ours.first() {
        Some(first) if !ours.contains(&config.hostname) => first,
        _ => &config.hostname,
    };
    Address::new("postmaster".to_owned(), domain.clone())
        .map_err(|fault| ServeError::System { what: "name the postmaster", source: io::Error::other(fault) })
}
