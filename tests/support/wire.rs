//! Clients that say exactly what a test wants said, and tell exactly what came back.

use super::DEADLINE;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

/// A connection, line by line.
#[derive(Debug)]
pub(crate) struct Line {
    reader: BufReader<TcpStream>,
}

impl Line {
    pub(crate) fn connect(to: SocketAddr) -> Line {
        let stream = TcpStream::connect(to).expect("the server listens");
        stream.set_read_timeout(Some(DEADLINE)).expect("a deadline");
        stream.set_write_timeout(Some(DEADLINE)).expect("a deadline");
        stream.set_nodelay(true).expect("no delay");
        Line { reader: BufReader::new(stream) }
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.reader.get_mut().write_all(octets).expect("the server takes what is sent");
    }

    /// The same for a peer that may have been thrown out already; false when it has.
    pub(crate) fn try_send(&mut self, octets: &[u8]) -> bool {
        self.reader.get_mut().write_all(octets).is_ok()
    }

    pub(crate) fn say(&mut self, line: &str) {
        self.send(format!("{line}\r\n").as_bytes());
    }

    /// The next line with its end, as octets; empty at the end of the stream.
    pub(crate) fn octets(&mut self) -> Vec<u8> {
        let mut line = Vec::new();
        self.reader.read_until(b'\n', &mut line).expect("a line in time");
        line
    }

    /// The next line without its CRLF; it must have one.
    pub(crate) fn line(&mut self) -> String {
        let line = String::from_utf8(self.octets()).expect("replies are UTF-8");
        let inner = line.strip_suffix("\r\n").unwrap_or_else(|| panic!("no CRLF at the end of {line:?}"));
        inner.to_owned()
    }

    /// What comes until the server closes. A reset counts as a close.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let mut piece = [0; 4096];
        loop {
            match self.reader.read(&mut piece) {
                Ok(0) => return rest,
                Ok(octets) => rest.extend_from_slice(&piece[..octets]),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return rest,
                Err(error) => {
                    panic!("the server did not close: {error}, after {:?}", String::from_utf8_lossy(&rest))
                }
            }
        }
    }

    pub(crate) fn half_close(&mut self) {
        self.stream().shutdown(Shutdown::Write).expect("the connection is open");
    }
}

/// A reply of SMTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    /// The lines without code and separator.
    pub(crate) lines: Vec<String>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        self.lines.join("\n")
    }
}

/// An SMTP client.
#[derive(Debug)]
pub(crate) struct Smtp {
    pub(crate) line: Line,
}

impl Smtp {
    /// Connects, reads the greeting, says EHLO.
    pub(crate) fn open(to: SocketAddr) -> Smtp {
        let mut smtp = Smtp::connect(to);
        assert_eq!(smtp.reply().code, 220);
        smtp.expect("EHLO client.example", 250);
        smtp
    }

    pub(crate) fn connect(to: SocketAddr) -> Smtp {
        Smtp { line: Line::connect(to) }
    }

    pub(crate) fn reply(&mut self) -> Reply {
        let mut lines = Vec::new();
        loop {
            let line = self.line.line();
            let (code, rest) = line.split_at_checked(3).unwrap_or_else(|| panic!("not a reply: {line:?}"));
            let code = code.parse().unwrap_or_else(|_| panic!("not a reply: {line:?}"));
            let (more, text) = rest.split_at_checked(1).unwrap_or((" ", ""));
            lines.push(text.to_owned());
            if more != "-" {
                return Reply { code, lines };
            }
        }
    }

    pub(crate) fn ask(&mut self, command: &str) -> Reply {
        self.line.say(command);
        self.reply()
    }

    pub(crate) fn expect(&mut self, command: &str, code: u16) -> Reply {
        let reply = self.ask(command);
        assert_eq!(reply.code, code, "{command}: {reply:?}");
        reply
    }

    /// MAIL and RCPT, which must be accepted.
    pub(crate) fn envelope(&mut self, from: &str, to: &[&str]) {
        self.expect(&format!("MAIL FROM:<{from}>"), 250);
        for to in to {
            self.expect(&format!("RCPT TO:<{to}>"), 250);
        }
    }

    /// DATA with a message whose lines end with CRLF; the reply to its end.
    pub(crate) fn data(&mut self, message: &[u8]) -> Reply {
        self.expect("DATA", 354);
        self.line.send(&stuffed(message));
        self.reply()
    }

    /// A whole delivery; the reply to its end.
    pub(crate) fn deliver(&mut self, from: &str, to: &str, message: &[u8]) -> Reply {
        self.envelope(from, &[to]);
        self.data(message)
    }
}

/// A message as DATA wants it.
pub(crate) fn stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 64);
    for line in message.split_inclusive(|&octet| octet == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// A POP3 client.
#[derive(Debug)]
pub(crate) struct Pop3 {
    pub(crate) line: Line,
}

impl Pop3 {
    pub(crate) fn connect(to: SocketAddr) -> Pop3 {
        let mut pop3 = Pop3 { line: Line::connect(to) };
        let greeting = pop3.line.line();
        assert!(greeting.starts_with("+OK"), "{greeting}");
        pop3
    }

    /// Connects and opens a mailbox.
    pub(crate) fn open(to: SocketAddr, user: &str, password: &str) -> Pop3 {
        let mut pop3 = Pop3::connect(to);
        pop3.ok(&format!("USER {user}"));
        pop3.ok(&format!("PASS {password}"));
        pop3
    }

    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.line.say(command);
        self.line.line()
    }

    pub(crate) fn ok(&mut self, command: &str) -> String {
        let reply = self.ask(command);
        assert!(reply.starts_with("+OK"), "{command}: {reply}");
        reply
    }

    pub(crate) fn err(&mut self, command: &str) -> String {
        let reply = self.ask(command);
        assert!(reply.starts_with("-ERR"), "{command}: {reply}");
        reply
    }

    /// A reply of several lines: the first, and the rest without the stuffing dots.
    pub(crate) fn body(&mut self, command: &str) -> (String, Vec<u8>) {
        let first = self.ok(command);
        (first, self.multi_line())
    }

    pub(crate) fn multi_line(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let line = self.line.octets();
            assert!(line.ends_with(b"\r\n"), "no CRLF at the end of {:?}", String::from_utf8_lossy(&line));
            match line.as_slice() {
                b".\r\n" => return body,
                [b'.', rest @ ..] => body.extend_from_slice(rest),
                whole => body.extend_from_slice(whole),
            }
        }
    }

    /// The numbers of STAT: messages and octets.
    pub(crate) fn stat(&mut self) -> (u64, u64) {
        let reply = self.ok("STAT");
        let numbers: Vec<u64> =
            reply.split(' ').skip(1).take(2).map(|n| n.parse().expect("a number")).collect();
        (numbers[0], numbers[1])
    }

    /// The unique-id of every message of the mailbox.
    pub(crate) fn ids(&mut self) -> Vec<String> {
        let lines = String::from_utf8(self.body("UIDL").1).expect("ASCII");
        lines.lines().map(|line| line.split(' ').nth(1).expect("an id").to_owned()).collect()
    }

    /// Every message of the mailbox.
    pub(crate) fn all(&mut self) -> Vec<Vec<u8>> {
        let (messages, _) = self.stat();
        (1..=messages).map(|number| self.body(&format!("RETR {number}")).1).collect()
    }
}

/// What is in a mailbox of an open server, looked at without changing it.
pub(crate) fn mailbox(pop3: SocketAddr, user: &str) -> Vec<Vec<u8>> {
    let mut session = Pop3::open(pop3, user, "any");
    let messages = session.all();
    session.ok("QUIT");
    messages
}

/// A message without the trace lines of the server, which must be the three of the contract, in
/// their order.
pub(crate) fn without_trace(message: &[u8]) -> &[u8] {
    let mut rest = message;
    for name in ["Return-Path:", "Delivered-To:", "Received:"] {
        assert!(rest.starts_with(name.as_bytes()), "{name} is missing in {:?}", shown(message));
        loop {
            let end = rest.windows(2).position(|pair| pair == b"\r\n").expect("a line") + 2;
            rest = &rest[end..];
            if !rest.starts_with(b"\t") && !rest.starts_with(b" ") {
                break;
            }
        }
    }
    rest
}

/// The start of some octets, for the message of a failed test.
pub(crate) fn shown(octets: &[u8]) -> String {
    let start = String::from_utf8_lossy(&octets[..octets.len().min(600)]);
    format!("{start} … {} octets", octets.len())
}

/// Compares octets, and shows where they part rather than all of them.
#[track_caller]
pub(crate) fn same(got: &[u8], want: &[u8], what: &str) {
    if got == want {
        return;
    }
    let at = got.iter().zip(want).position(|(a, b)| a != b).unwrap_or(got.len().min(want.len()));
    let around = |octets: &[u8]| {
        let from = at.saturating_sub(60);
        format!("{:?}", String::from_utf8_lossy(&octets[from..octets.len().min(at + 60)]))
    };
    let (got_around, want_around) = (around(got), around(want));
    panic!(
        "{what}: the octets part at {at} (of {} and {}):\n  got  {got_around}\n  want {want_around}",
        got.len(),
        want.len()
    );
}
