//! Ctrl-C, SIGTERM and the end of a terminal while a long command is under way: it takes away what it has
//! begun, says so, and ends.

use super::output::{Failure, complain};
use std::io;
use std::pin::pin;
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// How long work has to end by itself after the second signal. It may wait for a pipe that nobody reads.
const LAST_GRACE: Duration = Duration::from_secs(1);
const TWICE: &str = "interrupted twice, and ended at once";

/// Does `work` and hands it what tells that it is to stop. It then ends in its own time, with what it has to
/// say; the second signal ends it where it is.
///
/// # Errors
/// What `work` says.
pub(super) async fn heeding<T>(
    work: impl AsyncFnOnce(&CancellationToken) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (stop, end) = (CancellationToken::new(), CancellationToken::new());
    watch(stop.clone(), end.clone())
        .map_err(|error| Failure::because(format_args!("cannot listen for signals: {error}")))?;
    let work = pin!(work(&stop));
    tokio::select! {
        done = work => done,
        () = end.cancelled() => Err(Failure::because(TWICE)),
    }
}

/// Waits for the signals on a thread of its own, since work may keep its thread.
fn watch(stop: CancellationToken, end: CancellationToken) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _context = runtime.enter();
        Signals::listen()?
    };
    let until_twice = async move {
        signals.next().await;
        stop.cancel();
        signals.next().await;
        end.cancel();
        tokio::time::sleep(LAST_GRACE).await;
        complain(TWICE);
        std::process::exit(1);
    };
    thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(until_twice)).map(drop)
}

/// A place where work that was told to stop does.
///
/// # Errors
/// [`Failure`], when it was.
pub(super) fn go_on(stop: &CancellationToken) -> Result<(), Failure> {
    if stop.is_cancelled() { Err(Failure::because("interrupted")) } else { Ok(()) }
}

/// The failure of work that was told to stop: whatever it failed of is a consequence.
pub(super) fn or_interrupted(stop: &CancellationToken, failure: Failure, left: &str) -> Failure {
    if stop.is_cancelled() { Failure::Reason(format!("interrupted: {left}")) } else { failure }
}

/// Those that are heeded. What whoever started us has told us to ignore stays so: `nohup` does, and a shell
/// does for what it runs in the background.
struct Signals([Option<Signal>; 3]);

impl Signals {
    /// From here on a signal no longer ends the process by itself.
    fn listen() -> io::Result<Signals> {
        let ignored = ignored();
        let listen = |kind: SignalKind| {
            let is_ignored = ignored >> (kind.as_raw_value() - 1) & 1 == 1;
            (!is_ignored).then(|| signal(kind)).transpose()
        };
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hang_up] = kinds.map(listen);
        Ok(Signals([interrupt?, terminate?, hang_up?]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hang_up] = &mut self.0;
        tokio::select! {
            () = one(interrupt) => {}
            () = one(terminate) => {}
            () = one(hang_up) => {}
        }
    }
}

async fn one(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

/// The signals that this process ignores, the first one in the lowest bit; none where that cannot be seen.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
