//! Messages out over POP3. Every answer is checked: STAT against LIST, UIDL against both, the octets of
//! RETR against its `+OK` and LIST.

use crate::Outcome;
use crate::options::{Options, name};
use crate::wire::Wire;
use std::fmt::Write as _;
use std::time::Instant;

/// RETRs under way when they are pipelined.
const WINDOW: usize = 32;

/// The rest of a `+OK`.
pub(crate) fn ok(wire: &mut Wire) -> Outcome<String> {
    let line = wire.line()?;
    match line.strip_prefix("+OK") {
        Some(rest) => Ok(rest.trim().to_owned()),
        None => Err(format!("+OK was due, {line:?} came")),
    }
}

fn say(wire: &mut Wire, words: &str) -> Outcome<String> {
    wire.send(words.as_bytes())?;
    ok(wire).map_err(|reason| format!("{}: {reason}", words.trim()))
}

pub(crate) fn log_in(wire: &mut Wire, user: &str, password: &str) -> Outcome<()> {
    say(wire, &format!("USER {user}\r\n"))?;
    say(wire, &format!("PASS {password}\r\n")).map(drop).map_err(|_| format!("{user} cannot log in"))
}

fn enter(options: &Options, user: &str) -> Outcome<Wire> {
    let mut wire = Wire::open(options.text("to")?)?;
    ok(&mut wire)?;
    log_in(&mut wire, user, options.text("password")?)?;
    Ok(wire)
}

/// Messages and octets.
fn stat(wire: &mut Wire) -> Outcome<(usize, u64)> {
    let answer = say(wire, "STAT\r\n")?;
    let mut words = answer.split(' ').map(str::parse::<u64>);
    match (words.next(), words.next()) {
        (Some(Ok(messages)), Some(Ok(octets))) => Ok((messages as usize, octets)),
        _ => Err(format!("STAT says {answer:?}")),
    }
}

/// A listing of `messages` lines and how many octets they name, counting the second word if `sizes`.
fn listing(wire: &mut Wire, verb: &str, messages: usize) -> Outcome<Vec<u64>> {
    say(wire, verb)?;
    let mut sizes = Vec::with_capacity(messages);
    let mut lines = 0;
    loop {
        let here = wire.here();
        let mut taken = 0;
        while let Some(length) = here[taken..].iter().position(|&octet| octet == b'\n') {
            let line = &here[taken..taken + length + 1];
            taken += length + 1;
            if line == b".\r\n" {
                wire.take(taken);
                let wrong = format!("{}: {lines} lines for {messages} messages", verb.trim());
                return if lines == messages { Ok(sizes) } else { Err(wrong) };
            }
            lines += 1;
            let second = line.split(|&octet| octet == b' ').nth(1).unwrap_or_default();
            let digits = second.iter().take_while(|octet| octet.is_ascii_digit());
            sizes.push(digits.fold(0, |sum: u64, octet| sum.wrapping_mul(10) + u64::from(octet - b'0')));
        }
        wire.take(taken);
        wire.more()?;
    }
}

/// The next message; its octets. The bodies of this load need no stuffing, so that the `+OK` tells
/// where the final dot is.
fn message(wire: &mut Wire) -> Outcome<u64> {
    let answer = ok(wire)?;
    let octets: u64 = answer
        .split(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| format!("RETR says {answer:?}"))?;
    let mut left = octets as usize;
    while left > 0 {
        let here = wire.here().len();
        if here == 0 {
            wire.more()?;
            continue;
        }
        let some = here.min(left);
        wire.take(some);
        left -= some;
    }
    while wire.here().len() < 3 {
        wire.more()?;
    }
    if !wire.here().starts_with(b".\r\n") {
        return Err(format!("no final dot after {octets} octets"));
    }
    wire.take(3);
    Ok(octets)
}

/// All messages, with at most `window` RETRs under way.
fn retrieve(wire: &mut Wire, sizes: &[u64], window: usize) -> Outcome<()> {
    let mut asked = 0;
    let mut words = String::new();
    for (got, &size) in sizes.iter().enumerate() {
        // Half a window at once: a client that pipelines writes many commands in one packet.
        if asked < sizes.len() && asked - got <= window / 2 {
            words.clear();
            while asked < sizes.len() && asked - got < window {
                asked += 1;
                let _ = write!(words, "RETR {asked}\r\n");
            }
            wire.send(words.as_bytes())?;
        }
        let octets = message(wire)?;
        if octets != size {
            return Err(format!("message {} has {octets} octets, LIST says {size}", got + 1));
        }
    }
    Ok(())
}

/// Marks all; as fast as it goes, in portions that fit into the socket both ways.
fn delete(wire: &mut Wire, messages: usize) -> Outcome<()> {
    let mut done = 0;
    while done < messages {
        let portion = (messages - done).min(500);
        let words: String = (done + 1..=done + portion).map(|n| format!("DELE {n}\r\n")).collect();
        wire.send(words.as_bytes())?;
        for _ in 0..portion {
            ok(wire)?;
        }
        done += portion;
    }
    Ok(())
}

fn wanted(options: &Options, messages: usize) -> Outcome<()> {
    let wanted = options.number("messages", messages)?;
    if messages == wanted { Ok(()) } else { Err(format!("{messages} messages where {wanted} are due")) }
}

/// One session, each step timed: `to=`, `user=`, `password=`, `steps=` some of `list,retr,pipelined,
/// last,delete` in this order, `messages=` how many must be there.
pub(crate) fn walk(options: &Options) -> Outcome<String> {
    let steps: Vec<&str> = options.text_or("steps", "list").split(',').collect();
    let began = Instant::now();
    let mut wire = enter(options, options.text("user")?)?;
    let mut figures = format!("{{\"login_ms\":{:.4}", began.elapsed().as_secs_f64() * 1e3);
    let began = Instant::now();
    let (messages, octets) = stat(&mut wire)?;
    let sizes = if steps == ["stat"] { Vec::new() } else { listing(&mut wire, "LIST\r\n", messages)? };
    let listed = began.elapsed();
    if steps != ["stat"] {
        listing(&mut wire, "UIDL\r\n", messages)?;
        let _ = write!(figures, ",\"list_ms\":{:.4}", began.elapsed().as_secs_f64() * 1e3);
        let _ = write!(figures, ",\"stat_list_ms\":{:.4}", listed.as_secs_f64() * 1e3);
        if sizes.iter().sum::<u64>() != octets {
            return Err("the sizes of LIST are not the sum of STAT".into());
        }
    }
    wanted(options, messages)?;
    for step in steps {
        let began = Instant::now();
        match step {
            "retr" => retrieve(&mut wire, &sizes, 1)?,
            "pipelined" => retrieve(&mut wire, &sizes, WINDOW)?,
            "last" => {
                wire.send(format!("RETR {messages}\r\n").as_bytes())?;
                message(&mut wire)?;
            }
            "delete" => {
                delete(&mut wire, messages)?;
                say(&mut wire, "QUIT\r\n")?;
            }
            _ => continue,
        }
        let _ = write!(figures, ",\"{step}_ms\":{:.4}", began.elapsed().as_secs_f64() * 1e3);
        if step == "delete" {
            return Ok(format!("{figures},\"messages\":{messages},\"octets\":{octets}}}"));
        }
    }
    say(&mut wire, "QUIT\r\n")?;
    Ok(format!("{figures},\"messages\":{messages},\"octets\":{octets}}}"))
}

/// Runs `work` for each number below `sessions` at once; seconds from the first start to the last end.
fn at_once(sessions: usize, work: impl Fn(usize) -> Outcome<()> + Sync) -> Outcome<f64> {
    let began = Instant::now();
    let results: Vec<Outcome<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..sessions)
            .map(|n| {
                scope.spawn({
                    let work = &work;
                    move || work(n)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err("panic".into()))).collect()
    });
    results.into_iter().collect::<Outcome<Vec<()>>>()?;
    Ok(began.elapsed().as_secs_f64())
}

/// Connect, USER, PASS, STAT, QUIT, `each=` times by each of `sessions=`, which have own mailboxes from
/// `first=` on (`mailbox=` pattern). With `fresh=1` every login is of another account.
pub(crate) fn logins(options: &Options) -> Outcome<String> {
    let (sessions, each) = (options.number("sessions", 10)?, options.number("each", 10)?);
    let (first, is_fresh) = (options.number("first", 1)?, options.number("fresh", 0)? == 1);
    let pattern = options.text("mailbox")?;
    let seconds = at_once(sessions, |session| {
        for round in 0..each {
            let number = if is_fresh { session * each + round } else { session };
            let mut wire = enter(options, &name(pattern, first + number))?;
            stat(&mut wire)?;
            say(&mut wire, "QUIT\r\n")?;
        }
        Ok(())
    })?;
    Ok(format!("{{\"logins\":{},\"seconds\":{seconds:.6}}}", sessions * each))
}

/// `sessions=` log in and read all of their mailboxes at once, `each=` times over. The clock runs from
/// the moment when all are logged in.
pub(crate) fn readers(options: &Options) -> Outcome<String> {
    let (sessions, each) = (options.number("sessions", 10)?, options.number("each", 1)?);
    let (first, pattern) = (options.number("first", 1)?, options.text("mailbox")?);
    let gate = std::sync::Barrier::new(sessions);
    let began = std::sync::Mutex::new(None);
    let count = std::sync::atomic::AtomicUsize::new(0);
    at_once(sessions, |session| {
        let entered = enter(options, &name(pattern, first + session));
        gate.wait();
        began.lock().map_err(|_| "a reader panicked")?.get_or_insert_with(Instant::now);
        let mut wire = entered?;
        let (messages, _) = stat(&mut wire)?;
        wanted(options, messages)?;
        let sizes = listing(&mut wire, "LIST\r\n", messages)?;
        for _ in 0..each {
            retrieve(&mut wire, &sizes, 1)?;
        }
        count.fetch_add(messages * each, std::sync::atomic::Ordering::Relaxed);
        say(&mut wire, "QUIT\r\n").map(drop)
    })?;
    let began = began.into_inner().ok().flatten().ok_or("nobody has begun")?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(format!("{{\"messages\":{},\"seconds\":{seconds:.6}}}", count.into_inner()))
}
