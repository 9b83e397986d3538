//! Logs on standard error, for a person or for a machine.
//!
//! A thread of its own writes the lines. Whoever reads standard error may be slow, stand still or be
//! gone, and the disk behind it may be full: mail goes on all the same, and no session waits or ends
//! for the sake of its log.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Lines that wait for a slow reader; of those that come later only the number is told.
const LINES_MAX: usize = 4096;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One line of text an event.
    Text,
    /// One JSON object a line.
    Json,
}

/// Sends all events to standard error from now on. Only the first call in a process counts.
///
/// # Errors
/// What the system says when it gives no thread.
pub fn start(format: Format, filter: EnvFilter) -> io::Result<()> {
    static STARTED: OnceLock<()> = OnceLock::new();
    if STARTED.set(()).is_err() {
        return Ok(());
    }
    let queue = Queue::start()?;
    let writer = queue.clone();
    // A line that cannot be written is lost; telling that on standard error as well would panic.
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(move || writer.clone())
        .with_target(false)
        .log_internal_errors(false);
    // Only this function sets a subscriber.
    let _ = match format {
        Format::Text => lines.with_ansi(io::stderr().is_terminal()).try_init(),
        Format::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
    };
    let _ = QUEUE.set(queue);
    Ok(())
}

/// Waits until the lines so far are written, for `patience` at most.
pub fn finish(patience: Duration) {
    let Some(queue) = QUEUE.get() else { return };
    let (written, wait) = sync_channel(1);
    if queue.lines.try_send(Job::Tell(written)).is_ok() {
        // Without an answer the reader stands still, and is not waited for any longer.
        let _ = wait.recv_timeout(patience);
    }
}

static QUEUE: OnceLock<Queue> = OnceLock::new();

/// What the thread is to do.
enum Job {
    Line(Vec<u8>),
    /// Say that all before this is written.
    Tell(SyncSender<()>),
}

/// The way to the thread. One write is one line.
#[derive(Clone)]
struct Queue {
    lines: SyncSender<Job>,
    lost: Arc<AtomicU64>,
}

impl Queue {
    fn start() -> io::Result<Queue> {
        let (lines, jobs) = sync_channel(LINES_MAX);
        let lost = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&lost);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || run(&jobs, &told))?;
        Ok(Queue { lines, lost })
    }
}

impl Write for Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Job::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn run(jobs: &Receiver<Job>, lost: &AtomicU64) {
    for job in jobs {
        match job {
            Job::Line(line) => {
                if io::stderr().write_all(&line).is_err() {
                    lost.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
            }
            Job::Tell(written) => {
                // Whoever asked may have lost patience.
                let _ = written.try_send(());
            }
        }
        let lines = lost.swap(0, Ordering::Relaxed);
        if lines > 0 {
            tracing::warn!(lines, "log lines are missing here: standard error did not take them in time");
        }
    }
}
