//! The load of `benches/versus` and `benches/growth`: clients of SMTP, LMTP and POP3 that cost little,
//! count what they get, and print one line of JSON. Only the standard library, so that it builds alone.
//!
//! `load COMMAND NAME=VALUE…`. Whatever is not as it has to be ends the program with the reason and 1:
//! a figure is only printed when all that it speaks of has happened.

mod hold;
mod mail;
mod options;
mod pop3;
mod start;
mod wire;

use options::Options;
use std::io::Write as _;
use std::process::ExitCode;

const USAGE: &str = "usage: load send|pop3|logins|readers|hold|start NAME=VALUE…";

/// What went wrong, in words.
type Outcome<T> = Result<T, String>;

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1).filter(|word| word != "--bench");
    let command = words.next().unwrap_or_default();
    let outcome = Options::read(words).and_then(|options| match command.as_str() {
        "send" => mail::send(&options),
        "pop3" => pop3::walk(&options),
        "logins" => pop3::logins(&options),
        "readers" => pop3::readers(&options),
        "hold" => hold::hold(&options),
        "start" => start::start(&options),
        // `cargo bench` runs every benchmark without words.
        _ => Ok(USAGE.to_owned()),
    });
    let (text, code) = match outcome {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(reason) => (format!("load {command}: {reason}"), ExitCode::FAILURE),
    };
    let written = match code == ExitCode::SUCCESS {
        true => writeln!(std::io::stdout(), "{text}"),
        false => writeln!(std::io::stderr(), "{text}"),
    };
    if written.is_err() { ExitCode::FAILURE } else { code }
}
