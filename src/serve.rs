//! The assembly: configuration, store, listeners, signals, and the end in order. The only place
//! that knows every module.

pub(crate) mod doors;

use crate::config::check::log_filter;
use crate::config::{Config, LogFormat, Mode};
use crate::log;
use crate::net::bind::{BindError, SocketFile};
use crate::net::drain::{Drain, Drained};
use crate::net::inherited::{Inherited, InheritedError};
use crate::net::tls::{Keys, TlsError};
use crate::store::retention::Rules;
use crate::store::{OpenError, Options, Store, Tenure, accounts};
use doors::House;
use futures_util::FutureExt;
use rustix::process::{Resource, Rlimit, geteuid, getrlimit, setrlimit};
use sd_notify::NotifyState;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};
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

/// How long the files of the certificate may take to be read again.
const RELOAD_PATIENCE: Duration = Duration::from_secs(3);
/// How often the files of the certificate are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

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
    /// A socket that the system has bound for us is of no use.
    #[error(transparent)]
    Inherited(#[from] InheritedError),
    /// The certificate or its key is of no use.
    #[error("tls: {0}")]
    Tls(#[from] TlsError),
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
pub fn run(config: Config, lifetime: Lifetime, inherited: Inherited) -> Result<(), ServeError> {
    start_log(&config).map_err(|source| ServeError::System { what: "start the log", source })?;
    let outcome = run_logged(config, lifetime, inherited);
    log::finish(LOG_PATIENCE);
    outcome
}

fn run_logged(config: Config, lifetime: Lifetime, inherited: Inherited) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()
        .map_err(|source| ServeError::System { what: "start the runtime", source })?;
    let outcome = runtime.block_on(serve(config, lifetime, inherited));
    // Whatever still runs on a blocking thread, a password hash at most, is not waited for.
    runtime.shutdown_background();
    outcome
}

/// Half of the cores carry the sessions: SQLite and the hashing of passwords have threads of their own,
/// and each worker more makes them wake each other more often.
fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

fn start_log(config: &Config) -> io::Result<()> {
    let format = match config.log.format {
        LogFormat::Text => log::Format::Text,
        LogFormat::Json => log::Format::Json,
    };
    match log_filter(&config.log.filter) {
        Ok(filter) => log::start(format, filter),
        // The configuration was checked; without a filter there would be no log at all.
        Err(_) => log::start(format, EnvFilter::new("info")),
    }
}

async fn serve(mut config: Config, lifetime: Lifetime, mut inherited: Inherited) -> Result<(), ServeError> {
    // Before the first word: whoever has read one may send a signal.
    let mut signals = Signals::listen()?;
    for warning in &config.warnings {
        warn!("{warning}");
    }
    if geteuid().is_root() {
        warn!("runs as root, which it does not need: config/pillarbox.service shows how to do without");
    }
    let keys = load_keys(&config)?;
    let scratch = scratch(&mut config, lifetime)?;
    leave_descriptors_for_the_store(&mut config, raise_descriptor_limit());
    let store = Store::open(store_options(&config, Tenure::Server)).await?;
    let drain = Drain::default();
    let house = House { config: &config, store: &store, keys: keys.as_ref(), drain: &drain };
    let (ready, sockets) = doors::open(&house, &mut inherited)?;
    announce(&ready, &store)?;
    let end = signals.end(&store, &Reloads { keys, hostname: config.hostname.as_str().to_owned() }).await;
    notify(&[NotifyState::Stopping]);
    let rest = store.clone();
    let outcome = tokio::select! {
        biased;
        // What is on its way to the disk is committed whole or not at all, as after a crash.
        () = signals.again() => Err(ServeError::Impatience),
        outcome = finish(end, &drain, sockets, store) => outcome,
    };
    if outcome.is_err() {
        // The end of the process closes what is open, as a crash does: any other end would sync once more.
        std::mem::forget(rest);
    }
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

    async fn end(&mut self, store: &Store, reloads: &Reloads) -> End {
        loop {
            tokio::select! {
                biased;
                reason = store.broken() => return End::Broken(reason),
                _ = self.terminate.recv() => return End::Signal("SIGTERM"),
                _ = self.interrupt.recv() => return End::Signal("SIGINT"),
                _ = self.hang_up.recv() => reloads.load("SIGHUP").await,
                () = reloads.wanted() => reloads.load("the files have changed").await,
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

/// What can be loaded again while the server runs: the certificate and its key.
struct Reloads {
    keys: Option<Keys>,
    hostname: String,
}

impl Reloads {
    /// Waits until the files have changed.
    async fn wanted(&self) {
        match &self.keys {
            Some(keys) => keys.changed(LOOK_EVERY).await,
            None => std::future::pending().await,
        }
    }

    async fn load(&self, why: &'static str) {
        let Some(keys) = self.keys.clone() else {
            return info!("{why}: there is no certificate to load again");
        };
        let mut state = vec![NotifyState::Reloading];
        state.extend(NotifyState::monotonic_usec_now());
        notify(&state);
        let hostname = self.hostname.clone();
        let work = move || {
            let loaded = keys.reload();
            if loaded.is_ok() {
                warn_of(&keys, &hostname);
            }
            loaded
        };
        // A file system that hangs, or a pipe that has the name, must not keep signals from being heard.
        match timeout(RELOAD_PATIENCE, tokio::task::spawn_blocking(work)).await {
            Ok(Ok(Ok(()))) => info!("{why}: certificate and key are loaded again"),
            Ok(Ok(Err(reason))) => error!(%reason, "{why}: certificate and key stay the old ones"),
            Ok(Err(lost)) => error!(reason = %lost, "{why}: certificate and key stay the old ones"),
            Err(_) => error!("{why}: certificate and key stay the old ones until their files can be read"),
        }
        notify(&[NotifyState::Ready]);
    }
}

fn load_keys(config: &Config) -> Result<Option<Keys>, TlsError> {
    let Some(files) = &config.tls else { return Ok(None) };
    let keys = Keys::load(&files.certificate, &files.private_key)?;
    warn_of(&keys, config.hostname.as_str());
    Ok(Some(keys))
}

fn warn_of(keys: &Keys, hostname: &str) {
    for finding in keys.inspect(hostname, SystemTime::now()) {
        warn!("tls: {finding}");
    }
}

/// Tells a supervising system how things stand, where there is one.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(%error, "cannot tell the system how things stand");
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
    // A disk that fails may as well never answer again. It may also fail only now.
    let rest = store.clone();
    let closed = match (&end, store.broken().now_or_never()) {
        (End::Signal(_), None) => {
            store.close().await;
            Ok(())
        }
        _ => timeout(GRACE_BROKEN, store.close()).await,
    };
    if closed.is_err() {
        warn!("the disk does not answer; the next start recovers");
    }
    let Some(reason) = rest.broken().now_or_never() else {
        info!("stopped");
        return Ok(());
    };
    Err(ServeError::Broken(reason))
}

/// Makes the directory of an ephemeral server; it is removed when the value is dropped.
fn scratch(config: &mut Config, lifetime: Lifetime) -> Result<Option<tempfile::TempDir>, ServeError> {
    if lifetime == Lifetime::Kept {
        return Ok(None);
    }
    let private = std::fs::Permissions::from_mode(0o700);
    let made = tempfile::Builder::new().prefix("pillarbox-").permissions(private).tempdir();
    let dir =
        made.map_err(|source| ServeError::System { what: "make a temporary data directory", source })?;
    config.data_dir = dir.path().to_owned();
    // Commands beside this server find it by --data-dir, and nothing else tells them where that is.
    info!(data_dir = %dir.path().display(), "the mail is kept here until the server ends");
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
        retention: Rules {
            age_max: config.retention.age_max,
            messages_max: config.retention.messages_max,
            octets_max: config.retention.octets_max,
        },
        tenure,
    }
}

fn mode(config: &Config) -> accounts::Mode {
    match config.accounts.mode {
        Mode::Open => accounts::Mode::Open,
        Mode::Closed => accounts::Mode::Closed,
    }
}

/// Says that the server is ready: on standard output for scripts, and in the lock file of the data
/// directory for `pillarbox ready`.
fn announce(ready: &str, store: &Store) -> Result<(), ServeError> {
    store
        .write_lock_note(ready)
        .map_err(|source| ServeError::System { what: "write the lock file", source })?;
    info!("{ready}");
    notify(&[NotifyState::Ready, NotifyState::Status(ready)]);
    let mut out = io::stdout().lock();
    // Whoever started the server may have closed its end; that is no reason not to serve.
    let _ = writeln!(out, "{ready}").and_then(|()| out.flush());
    Ok(())
}
