//! Conversations as files, in `tests/dialogues/<protocol>/*.txt`. Each is played twice: on the bare
//! session, and on the real program, unless the file says why not. How they are written: `script.rs`.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

#[path = "dialogues/bare_pop3.rs"]
mod bare_pop3;
#[path = "dialogues/bare_smtp.rs"]
mod bare_smtp;
#[path = "dialogues/real.rs"]
mod real;
#[path = "dialogues/script.rs"]
mod script;
mod support;

use bare_pop3::BarePop3;
use bare_smtp::{BareSmtp, With};
use pillarbox::pop3::offer::Offer;
use pillarbox::pop3::session::Event;
use pillarbox::smtp::role::Role;
use real::World;
use script::{Bare, Memory, Stage};

// proves: RFC 5321 §4.1.1.4, §4.1.4, §3.5.3, §3.8, §4.5.3.1.10
// proves: RFC 1870 §6.1
// proves: RFC 3030 §2
// proves: RFC 6531 §3.5
// proves: RFC 3207 §4, §4.2
// proves: RFC 4954 §4, §5
#[test]
fn smtp_conversations_on_the_bare_session() {
    play_on_the_bare_session("smtp", Role::Mx);
}

// proves: RFC 6409 §4.3, §6.1
// proves: RFC 3207 §4, §4.2
// proves: RFC 4954 §4, §5
#[test]
fn submission_conversations_on_the_bare_session() {
    play_on_the_bare_session("submission", Role::Submission);
}

// proves: RFC 2033 §4.1, §4.2
#[test]
fn lmtp_conversations_on_the_bare_session() {
    play_on_the_bare_session("lmtp", Role::Lmtp);
}

fn play_on_the_bare_session(kind: &str, role: Role) {
    for script in script::read_all(kind) {
        let with: Vec<With> = script.with.iter().map(|word| With::read(word)).collect();
        script.play(&mut Memory::new(BareSmtp::of(role, &with)));
    }
}

// proves: RFC 1939 §3, §5, §6, §7
// proves: RFC 2449 §5, §6.6
// proves: RFC 6856 §2.1
#[test]
fn pop3_conversations_on_the_bare_session() {
    for script in script::read_all("pop3") {
        script.play(&mut Memory::new(BarePop3::new()));
    }
}

#[test]
fn smtp_conversations_on_a_real_server() {
    play_on_a_real_server("smtp", &World::smtp());
}

#[test]
fn submission_conversations_on_a_real_server() {
    play_on_a_real_server("submission", &World::smtp());
}

#[test]
fn lmtp_conversations_on_a_real_server() {
    play_on_a_real_server("lmtp", &World::smtp());
}

#[test]
fn pop3_conversations_on_a_real_server() {
    play_on_a_real_server("pop3", &World::pop3());
}

fn play_on_a_real_server(kind: &str, world: &World) {
    for script in script::read_all(kind).iter().filter(|script| script.stage == Stage::Anything) {
        script.play(&mut world.serve(script, kind));
    }
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

    fn secure(&mut self) {
        BareSmtp::secure(self);
    }
}

impl Bare for BarePop3 {
    fn send(&mut self, octets: &[u8]) {
        BarePop3::send(self, octets);
    }

    fn said(&mut self) -> String {
        BarePop3::said(self)
    }

    fn is_over(&self) -> bool {
        BarePop3::is_over(self)
    }

    fn fall_silent(&mut self) {
        self.event(Event::Idle);
    }

    fn stop(&mut self) {
        self.event(Event::Stop);
    }

    fn secure(&mut self) {
        self.secured(Offer::default());
    }
}
