//! Messages in, over kept connections of SMTP or LMTP: as fast as it goes, each one timed from its MAIL
//! to its last reply.

use crate::Outcome;
use crate::options::{Options, name};
use crate::wire::Wire;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Length of a line of a body, as attachments have it, in octets without its CRLF.
const LINE_OCTETS: usize = 76;

/// How a message is written.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pieces {
    /// At once.
    Whole,
    /// Line by line and by Nagle's rule, as PHPMailer, Symfony's mailer and Ruby's net-smtp do.
    Lines,
}

/// One sender of the load.
struct Sender<'a> {
    wire: Wire,
    message: &'a [u8],
    is_lmtp: bool,
    pieces: Pieces,
}

/// `to=` place, `protocol=smtp|lmtp`, `sessions=`, `messages=`, `octets=`, `mailbox=` pattern, `mailboxes=`
/// how many take turns, from `first=` on, `pieces=whole|lines`.
pub(crate) fn send(options: &Options) -> Outcome<String> {
    let place = options.text("to")?;
    let is_lmtp = options.text_or("protocol", "smtp") == "lmtp";
    let pieces = if options.text_or("pieces", "whole") == "lines" { Pieces::Lines } else { Pieces::Whole };
    let sessions = options.number("sessions", 1)?;
    let messages = options.number("messages", 1)?;
    let (first, mailboxes) = (options.number("first", 1)?, options.number("mailboxes", 1)?);
    let pattern = options.text("mailbox")?;
    let message = message(options.number("octets", 1024)?);
    let next = AtomicUsize::new(0);
    let mut senders = Vec::with_capacity(sessions);
    for _ in 0..sessions {
        senders.push(Sender::greet(place, is_lmtp, &message, pieces)?);
    }
    let began = Instant::now();
    let results: Vec<Outcome<Vec<Duration>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = senders
            .into_iter()
            .map(|mut sender| {
                let next = &next;
                let work = move || sender.work(next, messages, |n| name(pattern, first + n % mailboxes));
                std::thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, work)
            })
            .collect();
        let joined = threads.into_iter().map(|thread| match thread {
            Ok(thread) => thread.join().unwrap_or_else(|_| Err("a sender panicked".into())),
            Err(error) => Err(format!("a thread: {error}")),
        });
        joined.collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    let mut times = Vec::with_capacity(messages);
    for result in results {
        times.extend(result?);
    }
    if times.len() != messages {
        return Err(format!("{} of {messages} messages were sent", times.len()));
    }
    times.sort_unstable();
    let quantile = |part: f64| times[((messages - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let (p50, p99, max) = (quantile(0.5), quantile(0.99), quantile(1.0));
    let latency = format!("\"p50_ms\":{p50:.4},\"p99_ms\":{p99:.4},\"max_ms\":{max:.4}");
    Ok(format!("{{\"messages\":{messages},\"seconds\":{seconds:.6},{latency}}}"))
}

/// A message of `octets`, stuffing not needed.
fn message(octets: usize) -> Vec<u8> {
    let mut message = b"From: load@bench.test\r\nTo: anyone@bench.test\r\nSubject: load\r\n\
        Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <load@bench.test>\r\n\r\n"
        .to_vec();
    while message.len() + 2 < octets {
        let line = LINE_OCTETS.min(octets - message.len() - 2);
        message.extend((0..line).map(|n| b'A' + (n % 26) as u8));
        message.extend_from_slice(b"\r\n");
    }
    message
}

impl Sender<'_> {
    fn greet<'a>(place: &str, is_lmtp: bool, message: &'a [u8], pieces: Pieces) -> Outcome<Sender<'a>> {
        let mut sender = Sender { wire: Wire::with_buffer(place, 4096)?, message, is_lmtp, pieces };
        if pieces == Pieces::Lines {
            sender.wire.wait_for_confirmation()?;
        }
        sender.reply("220")?;
        sender.say(if is_lmtp { "LHLO load.bench.test\r\n" } else { "EHLO load.bench.test\r\n" }, "250")?;
        Ok(sender)
    }

    fn work(
        &mut self,
        next: &AtomicUsize,
        messages: usize,
        mailbox: impl Fn(usize) -> String,
    ) -> Outcome<Vec<Duration>> {
        let mut times = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= messages {
                self.say("QUIT\r\n", "221")?;
                return Ok(times);
            }
            let began = Instant::now();
            self.deliver(&mailbox(number))?;
            times.push(began.elapsed());
        }
    }

    fn deliver(&mut self, mailbox: &str) -> Outcome<()> {
        self.say("MAIL FROM:<load@bench.test>\r\n", "250")?;
        self.say(&format!("RCPT TO:<{mailbox}>\r\n"), "250")?;
        self.say("DATA\r\n", "354")?;
        match self.pieces {
            Pieces::Whole => self.wire.send(self.message)?,
            Pieces::Lines => {
                for line in self.message.split_inclusive(|octet| *octet == b'\n') {
                    self.wire.send(line)?;
                }
            }
        }
        self.say(".\r\n", "250").map_err(|reason| {
            let protocol = if self.is_lmtp { "LMTP" } else { "SMTP" };
            format!("{protocol}, a message for {mailbox}: {reason}")
        })
    }

    fn say(&mut self, words: &str, wanted: &str) -> Outcome<()> {
        self.wire.send(words.as_bytes())?;
        self.reply(wanted)
    }

    fn reply(&mut self, wanted: &str) -> Outcome<()> {
        reply(&mut self.wire, wanted)
    }
}

/// A whole reply of class and code `wanted`.
pub(crate) fn reply(wire: &mut Wire, wanted: &str) -> Outcome<()> {
    loop {
        let line = wire.line()?;
        if !line.starts_with(wanted) {
            return Err(format!("{wanted} was due, {line:?} came"));
        }
        if line.as_bytes().get(3) != Some(&b'-') {
            return Ok(());
        }
    }
}
