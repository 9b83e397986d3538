//! Ctrl-C, SIGTERM and the end of a terminal while a long command is under way: it takes away what it has
//! begun, says so, and ends.

use super::output::Failure;
use std::io;
use std::pin::pin;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Does `work` and hands it what tells that it is to stop. It then ends in its own time, with what it has to
/// say; the second signal ends it where it is.
///
/// # Errors
/// What `work` says.
pub(super) async fn heeding<T>(
    work: impl AsyncFnOnce(&CancellationToken) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let stop = CancellationToken::new();
    let because = |error| Failure::because(format_args!("cannot listen for signals: {error}"));
    let mut signals = Signals::listen().map_err(because)?;
    let mut work = pin!(work(&stop));
    tokio::select! {
        done = &mut work => return done,
        () = signals.next() => stop.cancel(),
    }
    tokio::select! {
        done = &mut work => done,
        () = signals.next() => Err(Failure::because("interrupted twice, and ended at once")),
    }
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

struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From here on a signal no longer ends the process by itself.
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            _ = self.hang_up.recv() => {}
        }
    }
}
