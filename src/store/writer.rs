//! The one writer: collects the changes that wait, commits them together, then answers.
//!
//! There is no timer. What comes while one commit is on its way to the disk is the next batch: a
//! message alone pays one sync and no waiting, a thousand at once share a few.

use super::engine::{Done, Engine, Op};
use super::health::Health;
use super::maildrop::LeaseHold;
use super::outcome::Error;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

/// Most changes of one commit.
const BATCH_OPS_MAX: usize = 256;
/// Most octets of one commit, so that none takes long; one op alone may be larger.
const BATCH_OCTETS_MAX: u64 = 8 * 1024 * 1024;
/// Changes that wait in the channel; who comes later waits for a place.
const QUEUE_OPS_MAX: usize = 1024;

/// One change and who waits for it.
struct Job {
    op: Op,
    done: oneshot::Sender<Result<Done, Error>>,
    /// Leases that are given back when the change is done, whether or not somebody still waits.
    holds: Vec<LeaseHold>,
}

/// The way to the writer task.
pub(super) struct Writer {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    health: Arc<Health>,
}

impl Writer {
    /// Starts the task. It ends when the writer is closed or dropped and the queue is empty.
    pub(super) fn start(
        engine: Arc<dyn Engine>,
        health: Arc<Health>,
        committed: watch::Sender<u64>,
    ) -> Writer {
        let (jobs, queue) = mpsc::channel(QUEUE_OPS_MAX);
        let task = tokio::spawn(run(engine, queue, Arc::clone(&health), committed));
        Writer { jobs: Mutex::new(Some(jobs)), task: Mutex::new(Some(task)), health }
    }

    /// Does one change. Once it has a place in the queue it is done whole or not at all, whether or
    /// not the caller goes on waiting.
    pub(super) async fn submit(&self, op: Op, holds: Vec<LeaseHold>) -> Result<Done, Error> {
        self.health.check()?;
        let (done, answer) = oneshot::channel();
        let jobs = self.sender().ok_or_else(|| Error::Unavailable("the server is stopping".into()))?;
        jobs.send(Job { op, done, holds }).await.map_err(|_| self.lost())?;
        drop(jobs);
        answer.await.map_err(|_| self.lost())?
    }

    /// A writer that is closed answers what it took. One that went without an answer has paniced, and
    /// a server that takes no mail any more must end rather than say so for ever.
    fn lost(&self) -> Error {
        let error = Error::Broken("the writer has ended, which is a fault of the program".into());
        self.health.note(&error);
        error
    }

    /// Asks for a change without waiting for it: best effort, for what a restart clears up as well.
    pub(super) fn request(&self, op: Op) {
        let Some(jobs) = self.sender() else { return };
        let (done, _) = oneshot::channel();
        if let Err(mpsc::error::TrySendError::Full(job)) = jobs.try_send(Job { op, done, holds: Vec::new() })
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(async move { jobs.send(job).await });
        }
    }

    /// Takes no more, and waits until what is queued is done.
    pub(super) async fn close(&self) {
        drop(lock(&self.jobs).take());
        let task = lock(&self.task).take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the writer ended abnormally");
        }
    }

    fn sender(&self) -> Option<mpsc::Sender<Job>> {
        lock(&self.jobs).clone()
    }
}

/// What a panic of another thread may have left half-way is a single `Option`: it is whole.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(
    engine: Arc<dyn Engine>,
    mut queue: mpsc::Receiver<Job>,
    health: Arc<Health>,
    committed: watch::Sender<u64>,
) {
    let mut waiting = VecDeque::new();
    let mut received = Vec::new();
    loop {
        if waiting.is_empty() {
            if queue.recv_many(&mut received, BATCH_OPS_MAX).await == 0 {
                return;
            }
            waiting.extend(received.drain(..));
        }
        // What a batch left behind is joined by what came since.
        while waiting.len() < BATCH_OPS_MAX
            && let Ok(job) = queue.try_recv()
        {
            waiting.push_back(job);
        }
        let (ops, whom) = next_batch(&mut waiting);
        let outcome = match health.check() {
            Ok(()) => engine.apply(&ops).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(results) => {
                debug_assert_eq!(results.len(), ops.len(), "one result for each op");
                answer(whom, results);
                let octets: u64 = ops.iter().map(Op::octets).sum();
                committed.send_modify(|total| *total = total.saturating_add(octets));
            }
            Err(error) => {
                health.note(&error);
                let results = whom.iter().map(|_| Err(error.clone())).collect();
                answer(whom, results);
                if error == Error::DiskFull {
                    committed.send_modify(|_| ());
                }
            }
        }
    }
}

type Waiting = (oneshot::Sender<Result<Done, Error>>, Vec<LeaseHold>);

/// What may share a commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Company {
    /// Slices need no sync, so they must not travel with what does.
    Slices,
    /// A sweep takes longer than a delivery, and takes those with it off their short way.
    Sweeps,
    Others,
}

fn company(job: &Job) -> Company {
    match job.op {
        Op::Stage { .. } => Company::Slices,
        Op::Expire(_) => Company::Sweeps,
        _ => Company::Others,
    }
}

/// Takes the jobs of the next commit: the first that waits, and those behind it that may share its commit.
/// No op depends on another that waits.
fn next_batch(waiting: &mut VecDeque<Job>) -> (Vec<Op>, Vec<Waiting>) {
    let (mut ops, mut whom, mut octets) = (Vec::new(), Vec::new(), 0);
    let first = waiting.front().map(company);
    let mut others = VecDeque::new();
    while let Some(job) = waiting.pop_front() {
        if first != Some(company(&job)) {
            others.push_back(job);
            continue;
        }
        octets += job.op.octets();
        if !ops.is_empty() && octets > BATCH_OCTETS_MAX {
            waiting.push_front(job);
            break;
        }
        ops.push(job.op);
        whom.push((job.done, job.holds));
    }
    others.append(waiting);
    *waiting = others;
    (ops, whom)
}

/// Gives each its own result. A lease goes back first: who reads `+OK` may log in at once.
fn answer(whom: Vec<Waiting>, results: Vec<Result<Done, Error>>) {
    for ((done, holds), result) in whom.into_iter().zip(results) {
        drop(holds);
        // Nobody listens when the session has ended meanwhile; what is done is done all the same.
        drop(done.send(result));
    }
}
