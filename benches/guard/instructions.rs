//! A guard against regressions that no clock can see: how many instructions the pure parts take for one
//! message, one command, one session, counted by valgrind and held against `benches/budgets.toml`.
//!
//! `benches/instructions` builds it as shipped, and runs it; more than 15 % above a budget fails. `--update`
//! rewrites the budgets. Each case is run twice with different numbers of turns, and the difference counts:
//! start and preparation are in both.
#![allow(clippy::unwrap_used, clippy::panic, reason = "it includes the bare sessions of the tests")]

#[path = "../../tests/dialogues/bare_pop3.rs"]
mod bare_pop3;
#[path = "../../tests/dialogues/bare_smtp.rs"]
mod bare_smtp;

use bare_pop3::BarePop3;
use bare_smtp::BareSmtp;
use bytes::BytesMut;
use pillarbox::smtp::budget::Budget;
use pillarbox::smtp::codec::{Codec, Frame, Framing};
use pillarbox::smtp::intake::Intake;
use pillarbox::wire::dot::{BareNewline, Stuffer, Transparency, Unstuffer};
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use tokio_util::codec::Decoder as _;

/// How much more than its budget a case may take.
const TOLERANCE: f64 = 0.15;
/// Turns of the two runs whose difference is counted.
const TURNS: [u64; 2] = [20, 120];
/// What a driver reads at once, in octets.
const READ_OCTETS: usize = 32 * 1024;
const KIB: usize = 1024;
/// The octets of the message of the scripted session: what its limit allows.
const SESSION_OCTETS: usize = 1000;

/// Something whose instructions are counted.
struct Case {
    name: &'static str,
    /// What one turn is.
    turn: &'static str,
    /// Makes ready, and gives what a turn does.
    prepare: fn() -> Box<dyn FnMut()>,
}

const CASES: [Case; 9] = [
    Case { name: "data-1k", turn: "a message of 1 KiB in", prepare: || receive(KIB) },
    Case { name: "data-100k", turn: "a message of 100 KiB in", prepare: || receive(100 * KIB) },
    Case { name: "unstuff-100k", turn: "100 KiB without their dots", prepare: unstuff },
    Case { name: "stuff-1k", turn: "a message of 1 KiB out", prepare: || stuff(KIB) },
    Case { name: "stuff-100k", turn: "a message of 100 KiB out", prepare: || stuff(100 * KIB) },
    Case { name: "smtp-commands", turn: "the seven commands of a session", prepare: smtp_commands },
    Case { name: "pop3-commands", turn: "the eight commands of a session", prepare: pop3_commands },
    Case { name: "smtp-session", turn: "EHLO to QUIT, a message of 1,000", prepare: smtp_session },
    Case { name: "pop3-session", turn: "USER to QUIT, three messages", prepare: pop3_session },
];

/// A short header, and lines as an attachment has them, one in ten with a dot in front.
fn text(octets: usize) -> Vec<u8> {
    let plain: Vec<u8> = (0..76_u8).map(|n| b'A' + n % 26).chain(*b"\r\n").collect();
    let dotted: Vec<u8> = [b".", &plain[1..]].concat();
    let lines = (0..).map(|n| if n % 10 == 9 { &dotted } else { &plain });
    let mut text = b"Subject: counted\r\n\r\n".to_vec();
    let body = octets - text.len() - 2;
    text.extend(lines.flatten().copied().take(body));
    text.extend_from_slice(b"\r\n");
    text
}

fn stuffed(message: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    let mut stuffer = Stuffer::default();
    stuffer.feed(message, &mut out);
    stuffer.finish(&mut out);
    out
}

/// Through codec and intake, as the driver does it.
fn receive(octets: usize) -> Box<dyn FnMut()> {
    let wire = stuffed(&text(octets));
    Box::new(move || {
        let mut codec = Codec::new(BareNewline::Refuse);
        let mut intake = Intake::new(u64::MAX, Budget::new(usize::MAX));
        let mut input = BytesMut::with_capacity(READ_OCTETS);
        codec.begin(Framing::Dot);
        for piece in wire.chunks(READ_OCTETS) {
            input.extend_from_slice(piece);
            while let Ok(Some(frame)) = codec.decode(&mut input) {
                match frame {
                    Frame::Data(octets) => intake.take(&octets),
                    frame => drop(black_box(frame)),
                }
                while let Some(slice) = intake.spill() {
                    drop(black_box(slice));
                }
            }
        }
        let _ = black_box(intake.finish());
    })
}

fn unstuff() -> Box<dyn FnMut()> {
    let wire = stuffed(&text(100 * KIB));
    let mut out = BytesMut::with_capacity(wire.len());
    Box::new(move || {
        out.clear();
        let mut unstuffer = Unstuffer::new(Transparency::Dots, BareNewline::Refuse);
        black_box(unstuffer.feed(black_box(&wire), &mut out));
    })
}

fn stuff(octets: usize) -> Box<dyn FnMut()> {
    let message = text(octets);
    let mut out = BytesMut::with_capacity(2 * octets);
    Box::new(move || {
        out.clear();
        let mut stuffer = Stuffer::default();
        stuffer.feed(black_box(&message), &mut out);
        stuffer.finish(&mut out);
        black_box(&out[..]);
    })
}

fn smtp_commands() -> Box<dyn FnMut()> {
    let lines: [&[u8]; 7] = [
        b"EHLO client.example.com",
        b"MAIL FROM:<sender@example.com> SIZE=1024 BODY=8BITMIME",
        b"RCPT TO:<alice@example.org>",
        b"RCPT TO:<Bob.Builder+tag@Example.ORG>",
        b"DATA",
        b"RSET",
        b"QUIT",
    ];
    Box::new(move || {
        for line in lines {
            let _ = black_box(pillarbox::smtp::command::Command::parse(black_box(line)));
        }
    })
}

fn pop3_commands() -> Box<dyn FnMut()> {
    let lines: [&[u8]; 8] = [
        b"USER ann@example.org",
        b"PASS a secret",
        b"STAT",
        b"LIST",
        b"UIDL",
        b"RETR 1234",
        b"DELE 1234",
        b"QUIT",
    ];
    Box::new(move || {
        for line in lines {
            let _ = black_box(pillarbox::pop3::command::Command::parse(black_box(line)));
        }
    })
}

fn smtp_session() -> Box<dyn FnMut()> {
    let message = stuffed(&text(SESSION_OCTETS));
    Box::new(move || {
        let mut session = BareSmtp::new();
        let words =
            ["EHLO me.example.com", "MAIL FROM:<me@example.com>", "RCPT TO:<alice@example.org>", "DATA"];
        for line in words {
            session.send(line.as_bytes());
            session.send(b"\r\n");
        }
        session.send(&message);
        session.send(b"QUIT\r\n");
        assert!(session.is_over() && session.kept.len() == 1, "{}", session.said());
    })
}

fn pop3_session() -> Box<dyn FnMut()> {
    Box::new(|| {
        let mut session = BarePop3::new();
        let words = [
            "USER ann@example.org",
            "PASS a secret",
            "STAT",
            "LIST",
            "UIDL",
            "RETR 1",
            "RETR 2",
            "RETR 3",
            "DELE 1",
            "DELE 2",
            "DELE 3",
            "QUIT",
        ];
        for line in words {
            session.send(line.as_bytes());
            session.send(b"\r\n");
        }
        assert!(session.is_over() && session.deleted.is_some(), "{}", session.said());
    })
}

/// What valgrind counts for so many turns of a case.
fn count(case: &Case, turns: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--read-inline-info=no"]);
    command.arg(program).args(["--case", case.name, "--turns", &turns.to_string()]);
    let output = command.output().map_err(|error| format!("valgrind: {error}; apt-get install valgrind"))?;
    let words = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{} under valgrind: {words}", case.name));
    }
    let collected = words.lines().find_map(|line| line.split_once("Collected :"));
    let number = collected.and_then(|(_, number)| number.trim().parse().ok());
    number.ok_or_else(|| format!("valgrind does not say how much it has collected: {words}"))
}

/// Instructions of one turn.
fn measure(case: &Case) -> Result<u64, String> {
    let (few, many) = (count(case, TURNS[0])?, count(case, TURNS[1])?);
    Ok(many.saturating_sub(few) / (TURNS[1] - TURNS[0]))
}

fn measure_all() -> Result<BTreeMap<String, u64>, String> {
    let counted = std::thread::scope(|scope| {
        let threads: Vec<_> = CASES
            .chunks(CASES.len().div_ceil(std::thread::available_parallelism().map_or(1, usize::from)))
            .map(|cases| scope.spawn(|| cases.iter().map(measure).collect::<Vec<_>>()))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    CASES.iter().zip(counted).map(|(case, counted)| Ok((case.name.to_owned(), counted?))).collect()
}

fn budgets_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/budgets.toml")
}

fn write(counted: &BTreeMap<String, u64>) -> Result<(), String> {
    let mut text =
        "# Instructions of one turn of each case of benches/guard/instructions.rs, as shipped, x86-64.\n\
        # `benches/instructions --update` writes this file; more than 15 % above a line fails.\n"
            .to_owned();
    for (name, instructions) in counted {
        text += &format!("{name} = {instructions}\n");
    }
    std::fs::write(budgets_file(), text).map_err(|error| error.to_string())
}

/// The table; whether every case keeps its budget.
fn compare(counted: &BTreeMap<String, u64>, budgets: &BTreeMap<String, u64>) -> (String, bool) {
    let mut table = format!("{:<16}{:>12}{:>12}{:>9}  one turn\n", "case", "counted", "budget", "change");
    let mut is_kept = budgets.keys().all(|name| counted.contains_key(name));
    for case in &CASES {
        let now = counted.get(case.name).copied().unwrap_or_default();
        let Some(&budget) = budgets.get(case.name).filter(|&&budget| budget > 0 && now > 0) else {
            table += &format!("{:<16}{now:>12}{:>12}{:>9}  {}\n", case.name, "none", "FAILS", case.turn);
            is_kept = false;
            continue;
        };
        let change = now as f64 / budget as f64 - 1.0;
        let fails = change > TOLERANCE;
        let note = if fails {
            "  FAILS"
        } else if change < -TOLERANCE {
            "  better: --update"
        } else {
            ""
        };
        let percent = change * 100.0;
        table += &format!("{:<16}{now:>12}{budget:>12}{percent:>+8.1}%  {}{note}\n", case.name, case.turn);
        is_kept &= !fails;
    }
    (table, is_kept)
}

/// One case, as it runs below valgrind.
fn turn(name: &str, turns: &str) -> Result<(), String> {
    let case = CASES.iter().find(|case| case.name == name).ok_or_else(|| format!("no case {name}"))?;
    let turns: u64 = turns.parse().map_err(|_| format!("{turns} is not a number"))?;
    let mut work = (case.prepare)();
    (0..turns).for_each(|_| work());
    Ok(())
}

fn guard(is_update: bool) -> Result<bool, String> {
    let counted = measure_all()?;
    if is_update {
        write(&counted)?;
    }
    let text = std::fs::read_to_string(budgets_file()).map_err(|error| format!("budgets.toml: {error}"))?;
    let budgets = toml::from_str(&text).map_err(|error| format!("budgets.toml: {error}"))?;
    let (table, is_kept) = compare(&counted, &budgets);
    std::io::stdout().write_all(table.as_bytes()).map_err(|error| error.to_string())?;
    Ok(is_kept)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["--case", name, "--turns", turns] => turn(name, turns).map(|()| true),
        ["--update"] => guard(true),
        [] => guard(false),
        _ => Err("usage: benches/instructions [--update]".to_owned()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            let words = "more instructions than benches/budgets.toml allows, or a case without a budget: \
                make it cheaper again, or say in the commit why it may cost that, \
                and run benches/instructions --update";
            let _ = writeln!(std::io::stderr(), "{words}");
            ExitCode::FAILURE
        }
        Err(reason) => {
            let _ = writeln!(std::io::stderr(), "benches/instructions: {reason}");
            ExitCode::from(2)
        }
    }
}
