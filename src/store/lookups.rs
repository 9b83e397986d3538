//! Looks up names: those that sessions ask for at the same time are one question to the engine.
//!
//! There is no timer, as with the writer: what comes while one answer is on its way is the next question.
//! Each answer was read after its question was asked, or is [known](super::known) to be still the same.

use super::engine::{Engine, Names};
use super::health::Health;
use super::known::Known;
use super::outcome::Error;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// Most askers that share a question.
const ASKERS_MAX: usize = 64;
/// Askers that wait in the channel; who comes later waits for a place.
const QUEUE_MAX: usize = 1024;

/// Some names, and who wants to know of them.
struct Asker {
    names: Vec<String>,
    answer: oneshot::Sender<Result<Arc<Names>, Error>>,
}

/// The way to the task that asks. It ends when this is dropped.
pub(super) struct Lookups {
    askers: mpsc::Sender<Asker>,
    engine: Arc<dyn Engine>,
    known: Arc<Known>,
    health: Arc<Health>,
}

impl Lookups {
    pub(super) fn start(engine: Arc<dyn Engine>, health: Arc<Health>, known: Known) -> Lookups {
        let (askers, queue) = mpsc::channel(QUEUE_MAX);
        let known = Arc::new(known);
        tokio::spawn(run(Arc::clone(&engine), Arc::clone(&known), queue));
        Lookups { askers, engine, known, health }
    }

    /// What is known of these names, and maybe of others that somebody else has asked for.
    pub(super) async fn names(&self, names: Vec<String>) -> Result<Arc<Names>, Error> {
        if let Some(now) = self.engine.generation()
            && let Some(known) = self.known.find(&names, now, Instant::now())
        {
            return Ok(Arc::new(known));
        }
        let (answer, wait) = oneshot::channel();
        self.askers.send(Asker { names, answer }).await.map_err(|_| self.lost())?;
        wait.await.map_err(|_| self.lost())?
    }

    /// The task lives as long as this. If it went without an answer it has paniced, and a server that knows
    /// no recipient any more must end rather than say so for ever.
    fn lost(&self) -> Error {
        let error = Error::Broken("nobody looks up names any more, which is a fault of the program".into());
        self.health.note(&error);
        error
    }
}

async fn run(engine: Arc<dyn Engine>, known: Arc<Known>, mut queue: mpsc::Receiver<Asker>) {
    let mut askers = Vec::new();
    while queue.recv_many(&mut askers, ASKERS_MAX).await > 0 {
        let mut names: Vec<String> =
            askers.iter_mut().flat_map(|asker| std::mem::take(&mut asker.names)).collect();
        names.sort_unstable();
        names.dedup();
        let before = engine.generation().map(|generation| (generation, Instant::now()));
        let found = engine.names(names.clone()).await.map(Arc::new);
        if let (Some((then, at)), Ok(found)) = (before, &found) {
            known.learn(&names, found, then, at);
        }
        for asker in askers.drain(..) {
            // Nobody listens when the session has ended meanwhile.
            drop(asker.answer.send(found.clone()));
        }
    }
}
