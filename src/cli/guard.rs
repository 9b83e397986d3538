//! Runs a reader of strangers' data so that it can neither end the program nor keep it waiting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use tokio::sync::oneshot;

/// The name of the threads; a panic on one of them says nothing.
pub const THREAD: &str = "pillarbox-reader";
/// Room for what recursion the readers have. Memory is only taken as it is used.
const STACK_OCTETS: usize = 64 << 20;

/// Runs `work` on a thread of its own; `None` when it paniced or did not come back within `limit`.
/// A thread that does not come back goes on until the program ends, so the caller counts such cases.
pub async fn guarded<T, W>(limit: Duration, work: W) -> Option<T>
where
    T: Send + 'static,
    W: FnOnce() -> T + Send + 'static,
{
    let (done, result) = oneshot::channel();
    let run = move || {
        // What the work leaves half-done is dropped with it.
        if let Ok(value) = catch_unwind(AssertUnwindSafe(work)) {
            let _ = done.send(value);
        }
    };
    std::thread::Builder::new().name(THREAD.to_owned()).stack_size(STACK_OCTETS).spawn(run).ok()?;
    tokio::time::timeout(limit, result).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_that_panics_or_does_not_come_back_is_given_up() {
        let long = Duration::from_secs(60);
        assert_eq!(guarded(long, || 7).await, Some(7));
        assert_eq!(guarded(long, || -> u8 { panic!("a crafted message") }).await, None);
        let (_open, never) = std::sync::mpsc::channel::<u8>();
        assert_eq!(guarded(Duration::from_millis(20), move || never.recv()).await, None);
    }
}
