//! An orderly end: accept no more, let what is under way finish, then cut.

use super::conn::Ending;
use std::time::Duration;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

/// How long a cut session may take to notice.
const CUT_MAX: Duration = Duration::from_secs(2);

/// How a drain ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Every session came to its own end.
    Whole,
    /// So many sessions were cut.
    Cut(usize),
}

/// All sessions of the server, and the two signals that end them.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    /// What sessions listen to.
    pub ending: Ending,
    /// The sessions under way.
    pub sessions: TaskTracker,
}

impl Drain {
    /// Tells idle sessions to go, waits `grace` for the others, then cuts them.
    pub async fn finish(&self, grace: Duration) -> Drained {
        self.ending.stop.cancel();
        self.sessions.close();
        if timeout(grace, self.sessions.wait()).await.is_ok() {
            return Drained::Whole;
        }
        let left = self.sessions.len();
        self.ending.cut.cancel();
        // A session that waits for the disk cannot be cut; the store answers it when it closes.
        let _ = timeout(CUT_MAX, self.sessions.wait()).await;
        Drained::Cut(left)
    }
}
