//! Sessions that do nothing: opened, brought to a state, and held until standard input ends.

use crate::Outcome;
use crate::mail;
use crate::options::{Options, name};
use crate::pop3;
use crate::wire::Wire;
use std::io::{Read as _, Write as _};

/// Read buffer of a session held, in octets: a greeting fits.
const BUFFER_OCTETS: usize = 512;

/// `to=` place, `state=ehlo|greeted|inside`, `sessions=`; for `inside` also `mailbox=` pattern and
/// `password=`. Prints the number held and waits for the end of its input.
pub(crate) fn hold(options: &Options) -> Outcome<String> {
    let (place, state) = (options.text("to")?, options.text("state")?);
    let sessions = options.number("sessions", 1)?;
    let mut held = Vec::with_capacity(sessions);
    for number in 1..=sessions {
        let opened = open(options, place, state, number);
        held.push(opened.map_err(|reason| format!("session {number}: {reason}"))?);
    }
    writeln!(std::io::stdout(), "{{\"held\":{}}}", held.len()).map_err(|error| error.to_string())?;
    let _ = std::io::stdin().read(&mut [0]);
    Ok("{}".into())
}

fn open(options: &Options, place: &str, state: &str, number: usize) -> Outcome<Wire> {
    let mut wire = Wire::with_buffer(place, BUFFER_OCTETS)?;
    match state {
        "ehlo" => {
            mail::reply(&mut wire, "220")?;
            wire.send(b"EHLO load.bench.test\r\n")?;
            mail::reply(&mut wire, "250")?;
        }
        "greeted" => pop3::ok(&mut wire).map(drop)?,
        "inside" => {
            pop3::ok(&mut wire)?;
            pop3::log_in(&mut wire, &name(options.text("mailbox")?, number), options.text("password")?)?;
        }
        other => return Err(format!("state={other} is not known")),
    }
    Ok(wire)
}
