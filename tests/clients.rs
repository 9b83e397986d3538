//! Real mail clients against the real server: each sends or fetches the samples of the corpus, and
//! the octets are compared. What a client itself adds or changes is named beside it and nothing
//! else is allowed. A client that is not installed is a failure: `tests/run` installs them all.
//!
//! The table of clients and operations is written to `target/tmp/clients.txt`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod support;

#[path = "clients/fetchers.rs"]
mod fetchers;
#[path = "clients/senders.rs"]
mod senders;
#[path = "clients/table.rs"]
mod table;

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use support::corpus::{self, Sample};
use support::programs::{needs, succeed, version};

/// A script of this test.
fn script(name: &str) -> String {
    format!("{}/tests/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Every sample, with the large one and one with attachments that Python has made.
fn samples() -> &'static [Sample] {
    static SAMPLES: OnceLock<Vec<Sample>> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        needs("python3", "python3");
        let mime = succeed("mime.py", Command::new("python3").arg(script("mime.py")), Stdio::null());
        let mut samples = corpus::small();
        samples.push(Sample { name: "MIME, attachments", message: mime.stdout });
        samples.push(corpus::large());
        samples
    })
}

/// The sample as a file below `folder`.
fn file_of(folder: &std::path::Path, sample: &Sample) -> PathBuf {
    let path = folder.join(sample.name.replace([' ', ',', '/'], "-"));
    std::fs::write(&path, &sample.message).expect("a file");
    path
}
