//! The assembly: configuration, store, listeners, signals, and the end in order. The only place
//! that knows every module.

use crate::auth::Auth;
use crate::config::bind::Bind;
use crate::config::{BareNewline, Config, LogFormat, Mode};
use crate::log;
use crate::mail::address::Address;
use crate::mail::peer::Peer;
use crate::net::bind::{self, BindError, SocketFile};
use crate::net::conn::Conn;
use crate::net::drain::{Drain, Drained};
use crate::net::listener::{self, Limits, Listener};
use crate::net::tls::{Encryption, PlaintextAuth};
use crate::pop3::offer::Expiry;
use crate::smtp::intake::Budget;
use crate::smtp::role::Role;
use crate::smtp::server::BUDGET_OCTETS;
use crate::smtp::session::Terms;
use crate::store::{OpenError, Options, Store, Tenure, accounts};
use crate::wire::dot;
use crate::{pop3, smtp};
use futures_util::FutureExt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fmt::Write as _;
use std::future::Future;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

/// How long what is under way may take to finish once the server was told to stop.
const GRACE: Duration = Duration::from_secs(30);
/// The same when the disk has failed: sessions only need to hear of it.
const GRACE_BROKEN: Duration = Duration::from_secs(5);
/// How long the end of the program waits for whoever reads its log.
const LOG_PATIENCE: Duration = Duration::from_secs(1);

/// Descriptors that no connection gets: for the database, its journals, listeners and the log.
const DESCRIPTORS_KEPT: usize = 64;

/// Whether the mail outlives the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// The data directory of the configuration.
    Kept,
    /// A directory that is made for this run and removed at its end.
    Ephemeral,
}

/// Why the server could not run, or had to end. One sentence for the operator.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The store did not open.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// A listener did not bind.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Something of the system failed at start.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The disk failed while the server ran.
    #[error("stopped because {0}; what was acknowledged is safe on disk, look at the disk and start again")]
    Broken(String),
    /// The operator asked twice.
    #[error("stopped at once by a second signal")]
    Impatience,
}

/// Runs the server until a signal ends it. Prints the ready line on standard output once every
/// listener is bound.
///
/// # Errors
/// [`ServeError`]: it did not start, or it had to end.
pub fn run(config: Config, lifetime: Lifetime) -> Result<(), ServeError> {
    start_log(&config).map_err(|source| ServeError::System { what: "start the log", source })?;
    let outcome = run_logged(config, lifetime);
    log::finish(LOG_PATIENCE);
    outcome
}

fn run_logged(config: Config, lifetime: Lifetime) -> Result<(), ServeError> {
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| ServeError::System { what: "start the runtime", source })?;
    let outcome = runtime.block_on(serve(config, lifetime));
    // Whatever still runs on a blocking thread, a password hash at most, is not waited for.
    runtime.shutdown_background();
    outcome
}

fn start_log(config: &Config) -> io::Result<()> {
    let format = match config.log.format {
        LogFormat::Text => log::Format::Text,
        LogFormat::Json => log::Format::Json,
    };
    match log::filter(&config.log.filter) {
        Ok(filter) => log::start(format, filter),
        // The configuration was checked; without a filter there would be no log at all.
        Err(_) => log::start(format, EnvFilter::new("info")),
    }
}

async fn serve(mut config: Config, lifetime: Lifetime) -> Result<(), ServeError> {
    let mut signals = Signals::listen()?;
    let scratch = scratch(&mut config, lifetime)?;
    leave_descriptors_for_the_store(&mut config, raise_descriptor_limit());
    let store = Store::open(store_options(&config, Tenure::Server)).await?;
    let drain = Drain::default();
    let (ready, sockets) = open_doors(&config, &store, &drain)?;
    announce(&ready, &store)?;
    let end = signals.end(&store).await;
    let outcome = tokio::select! {
        biased;
        // What is on its way to the disk is committed whole or not at all, as after a crash.
        () = signals.again() => Err(ServeError::Impatience),
        outcome = finish(end, &drain, sockets, store) => outcome,
    };
    drop(scratch);
    outcome
}

/// What ends the server.
enum End {
    Signal(&'static str),
    Broken(String),
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From here on a signal no longer kills the process by itself.
    fn listen() -> Result<Signals, ServeError> {
        let listen =
            |kind| signal(kind).map_err(|source| ServeError::System { what: "listen for signals", source });
        Ok(Signals {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn end(&mut self, store: &Store) -> End {
        loop {
            tokio::select! {
                biased;
                reason = store.broken() => return End::Broken(reason),
                _ = self.terminate.recv() => return End::Signal("SIGTERM"),
                _ = self.interrupt.recv() => return End::Signal("SIGINT"),
                _ = self.hang_up.recv() => info!("SIGHUP: there is nothing to load again in this version"),
            }
        }
    }

    async fn again(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The end in order: the sessions, the listeners, the store.
async fn finish(end: End, drain: &Drain, sockets: Vec<SocketFile>, store: Store) -> Result<(), ServeError> {
    let grace = match &end {
        End::Signal(name) => {
            info!(sessions = drain.sessions.len(), "stopping on {name}");
            GRACE
        }
        End::Broken(reason) => {
            error!(%reason, "the disk fails: no more mail is taken, the server ends");
            GRACE_BROKEN
        }
    };
    if let Drained::Cut(sessions) = drain.finish(grace).await {
        warn!(sessions, "cut sessions that did not finish in {} s", grace.as_secs());
    }
    drop(sockets);
    // The disk may have failed while the last sessions were let finish.
    let broken = match end {
        End::Broken(reason) => Some(reason),
        End::Signal(_) => store.broken().now_or_never(),
    };
    let Some(reason) = broken else {
        store.close().await;
        info!("stopped");
        return Ok(());
    };
    // A disk that fails may as well never answer again.
    if timeout(GRACE_BROKEN, store.close()).await.is_err() {
        warn!("the disk does not answer; the next start recovers");
    }
    Err(ServeError::Broken(reason))
}

/// Makes the directory of an ephemeral server; it is removed when the value is dropped.
fn scratch(config: &mut Config, lifetime: Lifetime) -> Result<Option<tempfile::TempDir>, ServeError> {
    if lifetime == Lifetime::Kept {
        return Ok(None);
    }
    let made = tempfile::Builder::new().prefix("pillarbox-").tempdir();
    let dir =
        made.map_err(|source| ServeError::System { what: "make a temporary data directory", source })?;
    config.data_dir = dir.path().to_owned();
    Ok(Some(dir))
}

/// A connection is a descriptor, and the usual soft limit is far below `limits.connections`.
/// Returns the limit that holds; `None` is none.
fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if setrlimit(Resource::Nofile, wanted).is_err() {
        warn!(limit = ?limit.current, "cannot raise the limit on open files");
        return limit.current;
    }
    limit.maximum
}

/// Without this, peers that open many connections would take the descriptors that the database
/// needs to open its files, and those who are connected could neither send nor fetch mail.
fn leave_descriptors_for_the_store(config: &mut Config, limit: Option<u64>) {
    let Some(limit) = limit.and_then(|limit| usize::try_from(limit).ok()) else { return };
    let connections = limit - DESCRIPTORS_KEPT.min(limit / 2);
    if connections < config.limits.connections_max {
        warn!(
            "limits.connections is {}, but this process may have {limit} files open: {connections} \
             connections at once have to do; raise the limit (ulimit -n, LimitNOFILE=) for more",
            config.limits.connections_max
        );
        config.limits.connections_max = connections;
    }
}

/// What the store has to know of the configuration.
#[must_use]
pub fn store_options(config: &Config, tenure: Tenure) -> Options {
    Options {
        data_dir: config.data_dir.clone(),
        mode: mode(config),
        domains: config.accounts.domains.clone(),
        tag_separator: config.accounts.tag_separator.clone(),
        default_quota: config.limits.default_quota,
        tenure,
    }
}

fn mode(config: &Config) -> accounts::Mode {
    match config.accounts.mode {
        Mode::Open => accounts::Mode::Open,
        Mode::Closed => accounts::Mode::Closed,
    }
}

/// Binds every listener, and only then lets the first connection in.
fn open_doors(
    config: &Config,
    store: &Store,
    drain: &Drain,
) -> Result<(String, Vec<SocketFile>), ServeError> {
    let mut sockets = Vec::new();
    let mut ready = String::from("ready");
    let smtp_doors = bind_all("smtp", &config.listen.smtp, &mut ready, &mut sockets)?;
    let pop3_doors = bind_all("pop3", &config.listen.pop3, &mut ready, &mut sockets)?;
    let limits = Limits::new(config.limits.connections_max, config.limits.connections_per_ip_max);

    let smtp_context = Arc::new(smtp_context(config, store)?);
    for door in smtp_doors {
        let context = smtp_context.clone();
        let session = move |conn: Conn, peer: Peer| smtp::server::serve(conn, peer, context.clone());
        open_door(door, &limits, drain, smtp::reply::TOO_MANY_CONNECTIONS, session);
    }
    let pop3_context = Arc::new(pop3_context(config, store));
    for door in pop3_doors {
        let context = pop3_context.clone();
        let session = move |conn: Conn, peer: Peer| pop3::server::serve(conn, peer, context.clone());
        open_door(door, &limits, drain, pop3::reply::Reply::TOO_MANY_CONNECTIONS, session);
    }
    Ok((ready, sockets))
}

fn bind_all(
    kind: &str,
    places: &[Bind],
    ready: &mut String,
    sockets: &mut Vec<SocketFile>,
) -> Result<Vec<Listener>, BindError> {
    let mut doors = Vec::new();
    for (at, place) in places.iter().enumerate() {
        // Writing to a String does not fail.
        let _ = if at == 0 { write!(ready, " {kind}=") } else { write!(ready, ",") };
        let door = match place {
            Bind::Tcp(address) => {
                let (door, bound) = bind::tcp(*address)?;
                let _ = write!(ready, "{bound}");
                door
            }
            Bind::Unix(path) => {
                let (door, file) = bind::unix(path)?;
                sockets.push(file);
                let _ = write!(ready, "unix:{}", path.display());
                door
            }
        };
        doors.push(door);
    }
    Ok(doors)
}

fn open_door<F, S>(door: Listener, limits: &Limits, drain: &Drain, refusal: &'static [u8], session: F)
where
    F: Fn(Conn, Peer) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let (limits, ending, sessions) = (limits.clone(), drain.ending.clone(), drain.sessions.clone());
    tokio::spawn(listener::run(door, limits, ending, sessions, Some(refusal), session));
}

fn smtp_context(config: &Config, store: &Store) -> Result<smtp::server::Context, ServeError> {
    let terms = Terms {
        hostname: config.hostname.as_str().into(),
        postmaster: postmaster(config)?,
        message_octets_max: config.limits.message_octets_max,
        recipients_max: config.limits.recipients_max,
        role: Role::Mx,
    };
    Ok(smtp::server::Context {
        store: store.clone(),
        auth: Auth::new(store.clone(), mode(config), config.hostname.clone()),
        terms: Arc::new(terms),
        mode: mode(config),
        encryption: Encryption::Off,
        plaintext_auth: PlaintextAuth::LocalOnly,
        timeout: config.limits.smtp_timeout,
        bare_newline: match config.limits.bare_newline {
            BareNewline::Refuse => dot::BareNewline::Refuse,
            BareNewline::Normalise => dot::BareNewline::Normalise,
        },
        budget: Budget::new(BUDGET_OCTETS),
    })
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

fn pop3_context(config: &Config, store: &Store) -> pop3::server::Context {
    pop3::server::Context {
        store: store.clone(),
        auth: Auth::new(store.clone(), mode(config), config.hostname.clone()),
        encryption: Encryption::Off,
        plaintext_auth: match config.accounts.mode {
            Mode::Open => PlaintextAuth::Anywhere,
            Mode::Closed => PlaintextAuth::LocalOnly,
        },
        timeout: config.limits.pop3_timeout,
        expiry: Expiry::Never,
    }
}

/// Says that the server is ready: on standard output for scripts, and in the lock file of the data
/// directory for `pillarbox ready`.
fn announce(ready: &str, store: &Store) -> Result<(), ServeError> {
    store
        .write_lock_note(ready)
        .map_err(|source| ServeError::System { what: "write the lock file", source })?;
    info!("{ready}");
    let mut out = io::stdout().lock();
    // Whoever started the server may have closed its end; that is no reason not to serve.
    let _ = writeln!(out, "{ready}").and_then(|()| out.flush());
    Ok(())
}
