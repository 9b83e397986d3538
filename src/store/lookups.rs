//! Looks up names: those that sessions ask for at the same time are one question to the engine.
//!
//! There is no timer and no cache, as with the writer: what comes while one answer is on its way is the
//! next question. Each answer was read after its question was asked.

use super::engine::{Engine, Names};
use super::health::Health;
use super::outcome::Error;
use std::sync::Arc;
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
    health: Arc<Health>,
}

impl Lookups {
    pub(super) fn start(engine: Arc<dyn Engine>, health: Arc<Health>) -> Lookups {
        let (askers, queue) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(run(engine, queue));
        Lookups { askers, health }
    }

    /// What is known of these names, and maybe of others that somebody else has asked for.
    pub(super) async fn names(&self, names: Vec<String>) -> Result<Arc<Names>, Error> {
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

async fn run(engine: Arc<dyn Engine>, mut queue: mpsc::Receiver<Asker>) {
    let mut askers = Vec::new();
    while queue.recv_many(&mut askers, ASKERS_MAX).await > 0 {
        let mut names: Vec<String> =
            askers.iter_mut().flat_map(|asker| std::mem::take(&mut asker.names)).collect();
        names.sort_unstable();
        names.dedup();
        let found = engine.names(names).await.map(Arc::new);
        for asker in askers.drain(..) {
            // Nobody listens when the session has ended meanwhile.
            drop(asker.answer.send(found.clone()));
        }
    }
}
