//! Who may log in where: mode × where the client is × listener × TLS → what is offered, and what
//! each way to log in is answered.

use super::tunnel::{Start, Tunnel};
use super::world::{ANN, PASSWORD, World, network_address};
use crate::support::wire::Line;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What a row expects, as the starts of replies.
#[derive(Clone, Copy)]
struct Expected {
    /// The mechanisms in the answer to EHLO or CAPA, and whether POP3 offers USER.
    offered: &'static str,
    /// To PLAIN, LOGIN and USER with PASS, with the right password.
    right: &'static str,
    /// To PLAIN with a wrong password.
    wrong: &'static str,
    /// To SCRAM-SHA-256 with a wrong proof.
    scram: &'static str,
}

const fn expect(
    offered: &'static str,
    right: &'static str,
    wrong: &'static str,
    scram: &'static str,
) -> Expected {
    Expected { offered, right, wrong, scram }
}

const STRONG: &str = "SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN";
const CLEAR: &str = "SCRAM-SHA-256 PLAIN LOGIN";
const OPEN: &str = "PLAIN LOGIN";

const NO_AUTH: Expected = expect("", "50", "50", "50");
const SMTP_TLS: Expected = expect(STRONG, "235 2.7.0", "535 5.7.8", "535 5.7.8");
const SMTP_LOCAL: Expected = expect(CLEAR, "235 2.7.0", "535 5.7.8", "535 5.7.8");
const SMTP_CLEAR: Expected = expect("", "538 5.7.11", "538 5.7.11", "538 5.7.11");
const SMTP_OPEN: Expected = expect(OPEN, "235 2.7.0", "235 2.7.0", "504 5.5.4");
const POP3_TLS: Expected = expect(STRONG, "+OK", "-ERR [AUTH]", "-ERR [AUTH]");
const POP3_LOCAL: Expected = expect(CLEAR, "+OK", "-ERR [AUTH]", "-ERR [AUTH]");
const POP3_CLEAR: Expected = expect("", "-ERR [AUTH]", "-ERR [AUTH]", "-ERR [AUTH]");
const POP3_OPEN: Expected = expect(OPEN, "+OK", "+OK", "-ERR no such mechanism");

/// Mode, where the client is, listener, how TLS begins.
type Row = (&'static str, &'static str, &'static str, Option<Start>, Expected);

const MATRIX: &[Row] = &[
    ("closed", "loopback", "smtp", None, NO_AUTH),
    ("closed", "loopback", "smtp", Some(Start::Smtp), NO_AUTH),
    ("closed", "loopback", "submission", None, SMTP_LOCAL),
    ("closed", "loopback", "submission", Some(Start::Smtp), SMTP_TLS),
    ("closed", "loopback", "submissions", Some(Start::AtOnce), SMTP_TLS),
    ("closed", "loopback", "pop3", None, POP3_LOCAL),
    ("closed", "loopback", "pop3", Some(Start::Pop3), POP3_TLS),
    ("closed", "loopback", "pop3s", Some(Start::AtOnce), POP3_TLS),
    ("closed", "network", "smtp", None, NO_AUTH),
    ("closed", "network", "smtp", Some(Start::Smtp), NO_AUTH),
    ("closed", "network", "submission", None, SMTP_CLEAR),
    ("closed", "network", "submission", Some(Start::Smtp), SMTP_TLS),
    ("closed", "network", "submissions", Some(Start::AtOnce), SMTP_TLS),
    ("closed", "network", "pop3", None, POP3_CLEAR),
    ("closed", "network", "pop3", Some(Start::Pop3), POP3_TLS),
    ("closed", "network", "pop3s", Some(Start::AtOnce), POP3_TLS),
    ("closed, plaintext allowed", "network", "submission", None, SMTP_LOCAL),
    ("closed, plaintext allowed", "network", "pop3", None, POP3_LOCAL),
    ("open", "loopback", "smtp", None, SMTP_OPEN),
    ("open", "loopback", "smtp", Some(Start::Smtp), SMTP_OPEN),
    ("open", "loopback", "submission", None, SMTP_OPEN),
    ("open", "loopback", "submissions", Some(Start::AtOnce), SMTP_OPEN),
    ("open", "loopback", "pop3", None, POP3_OPEN),
    ("open", "loopback", "pop3", Some(Start::Pop3), POP3_OPEN),
    ("open", "loopback", "pop3s", Some(Start::AtOnce), POP3_OPEN),
    ("open", "network", "smtp", None, SMTP_OPEN),
    ("open", "network", "submission", None, SMTP_OPEN),
    ("open", "network", "pop3", None, POP3_OPEN),
];

/// A connection with or without TLS.
enum Wire {
    Clear(Line),
    Tls(Tunnel),
}

impl Wire {
    fn say(&mut self, line: &str) {
        match self {
            Wire::Clear(wire) => wire.say(line),
            Wire::Tls(wire) => wire.say(line),
        }
    }

    fn line(&mut self) -> String {
        match self {
            Wire::Clear(wire) => wire.line(),
            Wire::Tls(wire) => wire.line(),
        }
    }

    fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.line()
    }

    /// Ends the session, so that the next one finds the mailbox free.
    fn quit(&mut self) {
        let reply = self.ask("QUIT");
        assert!(reply.starts_with("221 ") || reply.starts_with("+OK"), "{reply}");
    }
}

/// One row at work.
struct Place<'a> {
    world: &'a World,
    listener: &'a str,
    from: &'a str,
    start: Option<Start>,
}

impl Place<'_> {
    fn is_pop3(&self) -> bool {
        self.listener.starts_with("pop3")
    }

    /// A connection that is ready for a login, and what it offers.
    fn connect(&self) -> (Wire, String) {
        let ip = if self.from == "network" { network_address() } else { IpAddr::V4(Ipv4Addr::LOCALHOST) };
        let to = SocketAddr::new(ip, self.world.port(self.listener));
        let mut wire = match self.start {
            None => Wire::Clear(Line::connect(to)),
            Some(start) => Wire::Tls(Tunnel::open(to, start, &self.world.ca)),
        };
        if matches!(self.start, None | Some(Start::AtOnce)) {
            wire.line();
        }
        let (ask, mark, end) =
            if self.is_pop3() { ("CAPA", "SASL ", ".") } else { ("EHLO client.example", "AUTH ", "250 ") };
        wire.say(ask);
        let mut offered = String::new();
        let mut user = false;
        loop {
            let line = wire.line();
            let keyword = if self.is_pop3() { &*line } else { line.get(4..).unwrap_or_default() };
            offered = keyword.strip_prefix(mark).map_or(offered, str::to_owned);
            user |= line == "USER";
            if line == end || (!self.is_pop3() && line.starts_with(end)) {
                break;
            }
        }
        assert!(!self.is_pop3() || user != offered.is_empty(), "USER and SASL are offered together");
        (wire, offered)
    }

    fn plain(&self, password: &str) -> String {
        let response = base64(format!("\0{ANN}\0{password}").as_bytes());
        let mut wire = self.connect().0;
        let reply = wire.ask(&format!("AUTH PLAIN {response}"));
        wire.quit();
        reply
    }

    fn login(&self) -> String {
        let mut wire = self.connect().0;
        let mut reply = wire.ask("AUTH LOGIN");
        for response in [ANN, PASSWORD] {
            if is_challenge(&reply) {
                reply = wire.ask(&base64(response.as_bytes()));
            }
        }
        wire.quit();
        reply
    }

    fn scram(&self) -> String {
        let mut wire = self.connect().0;
        let first = base64(format!("n,,n={ANN},r=abc").as_bytes());
        let reply = wire.ask(&format!("AUTH SCRAM-SHA-256 {first}"));
        if !is_challenge(&reply) {
            wire.quit();
            return reply;
        }
        let challenge = unbase64(reply.split_once(' ').expect("a challenge").1);
        let nonce = challenge.split(',').next().expect("a nonce");
        assert!(nonce.starts_with("r=abc") && nonce.len() > 20, "{challenge}");
        let proof = base64(&[0; 32]);
        let reply = wire.ask(&base64(format!("c=biws,{nonce},p={proof}").as_bytes()));
        wire.quit();
        reply
    }

    fn user_and_pass(&self) -> String {
        let mut wire = self.connect().0;
        let reply = wire.ask(&format!("USER {ANN}"));
        let reply = if reply.starts_with("+OK") { wire.ask(&format!("PASS {PASSWORD}")) } else { reply };
        wire.quit();
        reply
    }
}

fn is_challenge(reply: &str) -> bool {
    reply.starts_with("334 ") || reply.starts_with("+ ")
}

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub(crate) fn base64(octets: &[u8]) -> String {
    let mut text = String::new();
    for group in octets.chunks(3) {
        let bits =
            group.iter().fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - group.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) as usize & 63;
            text.push(if digit <= group.len() { char::from(DIGITS[index]) } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str) -> String {
    let mut octets = Vec::new();
    let (mut bits, mut have) = (0_u32, 0);
    for digit in text.bytes().take_while(|&digit| digit != b'=') {
        let value = DIGITS.iter().position(|&known| known == digit).expect("base64");
        bits = bits << 6 | u32::try_from(value).expect("below 64");
        have += 6;
        if have >= 8 {
            have -= 8;
            octets.push((bits >> have & 255) as u8);
        }
    }
    String::from_utf8(octets).expect("SCRAM is text")
}

fn world(mode: &str, from: &str) -> World {
    let mut settings = match mode {
        "open" => vec![("accounts.mode", "open"), ("accounts.allow_open_on_network", "true")],
        _ => vec![("accounts.mode", "closed"), ("accounts.domains", "example.org")],
    };
    if mode == "closed, plaintext allowed" {
        settings.push(("tls.allow_plaintext_auth", "true"));
    }
    if from == "network" { World::on_network(&settings) } else { World::new(&settings) }
}

// proves: RFC 2595 §2.3
// proves: RFC 5034 §3
#[test]
fn the_matrix_of_logins_is_as_the_contract_has_it() {
    let mut table = String::from(
        "| mode | client | listener | TLS | offered | PLAIN | LOGIN | USER, PASS | wrong password | \
         wrong proof |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    let mut faults = String::new();
    for &(mode, from, listener, start, expected) in MATRIX {
        // A server for each row: failed logins slow a client down, and in the end shut it out.
        let world = world(mode, from);
        let place = Place { world: &world, listener, from, start };
        let (_, offered) = place.connect();
        let user = if place.is_pop3() { place.user_and_pass() } else { String::new() };
        let right = [place.plain(PASSWORD), place.login(), user];
        let (wrong, scram) = (place.plain("wrong"), place.scram());
        let row = format!("{mode}, {from}, {listener}, {start:?}");
        let mut hold = |what: &str, got: &str, want: &str| {
            if !got.starts_with(want) {
                let _ = writeln!(faults, "{row}: {what}: want {want:?}, got {got:?}");
            }
        };
        if offered != expected.offered {
            hold("offered", &format!("={offered}"), &format!("={}", expected.offered));
        }
        for reply in right.iter().filter(|reply| !reply.is_empty()) {
            hold("right password", reply, expected.right);
        }
        hold("wrong password", &wrong, expected.wrong);
        hold("wrong proof", &scram, expected.scram);
        let [plain, login, user] = right;
        let tls = match start {
            None => "none",
            Some(Start::AtOnce) => "from the start",
            Some(Start::Smtp) => "STARTTLS",
            Some(Start::Pop3) => "STLS",
        };
        let _ = writeln!(
            table,
            "| {mode} | {from} | {listener} | {tls} | {offered} | {plain} | {login} | {user} | {wrong} | \
             {scram} |"
        );
    }
    let path = concat!(env!("CARGO_TARGET_TMPDIR"), "/secure-matrix.txt");
    std::fs::write(path, &table).expect("the table can be written");
    assert_eq!(faults, "", "\n{faults}\n{table}");
}
