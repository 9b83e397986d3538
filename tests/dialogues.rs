//! Conversations as files, in `tests/dialogues/<protocol>/*.txt`. Each is played on the bare session
//! and, unless it says otherwise, on a real server. How they are written: `script.rs`.

#[path = "dialogues/bare_smtp.rs"]
mod bare_smtp;
#[path = "dialogues/script.rs"]
mod script;

use bare_smtp::BareSmtp;
use script::{Bare, Memory, Other};

/// Plays the conversations of a protocol, each with another end of its own.
fn play_all<O: Other>(folder: &str, other: impl Fn() -> O) {
    for script in script::read_all(folder) {
        script.play(&mut other());
    }
}

// proves: RFC 5321 §4.1.1.4, §4.1.4, §3.5.3, §3.8, §4.5.3.1.10
// proves: RFC 1870 §6.1
// proves: RFC 3030 §2
// proves: RFC 6531 §3.5
#[test]
fn smtp_conversations_on_the_bare_session() {
    play_all("smtp", || Memory::new(BareSmtp::new()));
}

impl Bare for BareSmtp {
    fn send(&mut self, octets: &[u8]) {
        BareSmtp::send(self, octets);
    }

    fn said(&mut self) -> String {
        BareSmtp::said(self)
    }

    fn is_over(&self) -> bool {
        BareSmtp::is_over(self)
    }

    fn fall_silent(&mut self) {
        BareSmtp::fall_silent(self);
    }

    fn stop(&mut self) {
        BareSmtp::stop(self);
    }
}
