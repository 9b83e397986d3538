//! What it costs to guess, as a guesser and an operator see it.

use super::world::{ANN, PASSWORD, World, network_address};
use crate::support::wire::{Line, Smtp};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[test]
fn a_failed_login_is_in_the_log_before_it_is_answered() {
    let world = World::closed();
    let mut pop3 = Line::connect(world.local("pop3"));
    pop3.line();
    for (nth, delay) in [500, 1_000, 2_000].into_iter().map(Duration::from_millis).enumerate() {
        let began = Instant::now();
        let user = format!("user{nth}@example.org");
        pop3.say(&format!("USER {user}"));
        pop3.line();
        pop3.say("PASS wrong");
        let line = world.server.wait_for_log(&["auth failed", &user]);
        let logged = began.elapsed();
        assert!(line.ends_with("reason=\"wrong user name or password\" ip=127.0.0.1"), "{line}");
        assert!(pop3.line().starts_with("-ERR [AUTH]"));
        let answered = began.elapsed();
        assert!(answered >= delay && logged + delay / 2 < answered, "{logged:?}, {answered:?}");
    }
}

/// The address is blocked with the tenth of these, at every door. None is waited for.
fn ten_times_is_too_often(say: &[&str]) {
    let settings = [
        ("accounts.mode", "closed"),
        ("accounts.domains", "example.org"),
        ("tls.allow_plaintext_auth", "true"),
    ];
    let world = World::on_network(&settings);
    let from_network = |listener| SocketAddr::new(network_address(), world.port(listener));
    let mut connections = Vec::new();
    for nth in 0..10 {
        let mut smtp = Smtp::open(from_network("submission"));
        assert!(!world.server.log().contains("address blocked"), "after {nth}: {say:?}");
        let (last, before) = say.split_last().expect("something");
        for line in before {
            smtp.expect(line, 334);
        }
        smtp.line.say(last);
        connections.push(smtp);
    }
    world.server.wait_for_log(&["address blocked", &format!("ip={}", network_address())]);
    for (listener, refusal) in [("pop3", "-ERR [SYS/TEMP] too many failed"), ("submission", "421 ")] {
        let greeting = Line::connect(from_network(listener)).line();
        assert!(greeting.starts_with(refusal), "{say:?}, {listener}: {greeting}");
    }
    let mut local = Line::connect(world.local("pop3"));
    assert!(local.line().starts_with("+OK"), "this host is never blocked");
    local.say(&format!("USER {ANN}"));
    assert!(local.line().starts_with("+OK"));
    local.say(&format!("PASS {PASSWORD}"));
    assert!(local.line().starts_with("+OK"));
}

#[test]
fn proofs_that_cannot_be_right_block_an_address_as_wrong_passwords_do() {
    // `n,,n=ann@example.org,r=abc`, and then no proof at all.
    ten_times_is_too_often(&["AUTH SCRAM-SHA-256 biwsbj1hbm5AZXhhbXBsZS5vcmcscj1hYmM=", "bm9uc2Vuc2U="]);
    // A binding where there is no TLS to be bound to.
    ten_times_is_too_often(&["AUTH SCRAM-SHA-256 cD10bHMtdW5pcXVlLCxuPWFubixyPWFiYw=="]);
}
