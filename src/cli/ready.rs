//! `pillarbox ready`: whether the running server answers. For health checks, so it needs nothing but
//! the data directory. A server whose connections are used up answers, by saying so: whoever started it
//! anew for that would end the sessions that it is busy with.

mod unverified;

use super::output::{Failure, Output};
use super::text::{cut, one_line};
use crate::config::Config;
use crate::config::bind::Bind;
use crate::store::tenancy::lock_note;
use rustls::{ClientConnection, StreamOwned};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long one listener may take to greet.
const GREETING_MAX: Duration = Duration::from_secs(2);
/// The kinds of listener that say nothing before TLS.
const TLS_FROM_START: [&str; 2] = ["submissions", "pop3s"];
/// How those are answered who are one too many. With TLS from the first octet there are no words for it,
/// and the connection is only closed.
const FULL: [&[u8]; 2] = [b"421 4.7.0 too many ", b"-ERR [SYS/TEMP] too many "];
/// How long to wait before asking again.
const PAUSE: Duration = Duration::from_millis(50);

/// Asks the running server, again and again until `wait` has passed.
///
/// # Errors
/// [`Failure`] with the last reason.
pub fn run(config: &Config, wait: Option<Duration>, out: &mut Output) -> Result<(), Failure> {
    let deadline = Instant::now() + wait.unwrap_or_default();
    loop {
        match ask(&config.data_dir) {
            Ok(line) => return out.line(line),
            Err(reason) if Instant::now() >= deadline => return Err(Failure::Reason(reason)),
            Err(_) => std::thread::sleep(PAUSE.min(deadline.saturating_duration_since(Instant::now()))),
        }
    }
}

fn ask(data_dir: &Path) -> Result<String, String> {
    // The note of a server that is gone names ports that may be another's by now.
    let note = lock_note(data_dir)
        .map_err(|error| format!("the lock of a server on {} cannot be read: {error}", data_dir.display()))?;
    let text = note.ok_or_else(|| format!("no server runs on {}", data_dir.display()))?;
    let line = text.lines().find(|line| line.starts_with("ready"));
    let line = line.ok_or_else(|| format!("the server on {} is not ready", data_dir.display()))?;
    let listeners =
        listeners(line).ok_or_else(|| format!("the server on {} holds no ready line", data_dir.display()))?;
    for (name, bind) in &listeners {
        greeting(name, bind).map_err(|reason| format!("{name} at {bind}: {reason}"))?;
    }
    Ok(line.to_owned())
}

/// The listeners of a ready line: `ready smtp=127.0.0.1:1025,[::1]:1025 pop3=unix:/run/pop3`.
fn listeners(line: &str) -> Option<Vec<(&str, Bind)>> {
    let mut listeners = Vec::new();
    for word in line.strip_prefix("ready")?.split_whitespace() {
        let (name, places) = word.split_once('=')?;
        for place in places.split(',') {
            listeners.push((name, Bind::parse(place, 0).ok()?));
        }
    }
    (!listeners.is_empty()).then_some(listeners)
}

/// Waits for the greeting, and takes its leave so that the server sees no broken connection; or for the
/// words that there is no room for more.
fn greeting(name: &str, bind: &Bind) -> Result<(), String> {
    let deadline = Instant::now() + GREETING_MAX;
    let stream = connect(name, bind, deadline);
    let mut stream = stream.map_err(|error| format!("cannot connect: {error}"))?;
    let mut greeting = Vec::new();
    while !greeting.ends_with(b"\n") && greeting.len() < 512 {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err("no greeting within 2 s".to_owned());
        }
        let mut buffer = [0; 512];
        match stream.patience(left).and_then(|()| stream.read(&mut buffer)) {
            Ok(0) if TLS_FROM_START.contains(&name) => return Ok(()),
            Ok(0) => return Err("closed without a greeting".to_owned()),
            Ok(n) => greeting.extend_from_slice(buffer.get(..n).unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Err("no greeting within 2 s".to_owned());
            }
            Err(error) if TLS_FROM_START.contains(&name) && is_closed(&error) => return Ok(()),
            Err(error) => return Err(format!("no greeting: {error}")),
        }
    }
    if FULL.iter().any(|words| greeting.starts_with(words)) {
        return Ok(());
    }
    if !greeting.starts_with(b"220") && !greeting.starts_with(b"+OK") {
        let said = one_line(&String::from_utf8_lossy(&greeting));
        return Err(format!("answers {}", cut(&said, 80)));
    }
    // It has answered, which is all that was asked.
    let _ = stream.write_all(b"QUIT\r\n");
    let _ = stream.read(&mut [0; 512]);
    Ok(())
}

/// That the other end has closed, whatever it had of ours by then.
fn is_closed(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

fn connect(name: &str, bind: &Bind, deadline: Instant) -> io::Result<Box<dyn Stream>> {
    match bind {
        Bind::Unix(path) => Ok(Box::new(UnixStream::connect(path)?)),
        Bind::Tcp(address) => {
            let stream = TcpStream::connect_timeout(&reachable(*address), GREETING_MAX)?;
            if !TLS_FROM_START.contains(&name) {
                return Ok(Box::new(stream));
            }
            stream.patience(deadline.saturating_duration_since(Instant::now()).max(PAUSE))?;
            Ok(Box::new(unverified::over(stream).map_err(io::Error::other)?))
        }
    }
}

/// An address that stands for all networks is reached over loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

trait Stream: Read + Write {
    fn patience(&self, limit: Duration) -> io::Result<()>;
}

impl Stream for TcpStream {
    fn patience(&self, limit: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(limit))?;
        self.set_read_timeout(Some(limit))
    }
}

impl Stream for StreamOwned<ClientConnection, TcpStream> {
    fn patience(&self, limit: Duration) -> io::Result<()> {
        self.sock.patience(limit)
    }
}

impl Stream for UnixStream {
    fn patience(&self, limit: Duration) -> io::Result<()> {
        self.set_write_timeout(Some(limit))?;
        self.set_read_timeout(Some(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pop3::reply::Reply;
    use crate::smtp::reply::TOO_MANY_CONNECTIONS;
    use std::fs::File;
    use std::net::TcpListener;

    /// Leaves a note as a server does that runs for as long as the file is kept.
    fn served(dir: &Path, note: &str) -> File {
        let path = dir.join("pillarbox.lock");
        std::fs::write(&path, note).expect("the file");
        let lock = File::open(&path).expect("the file");
        lock.lock().expect("the lock");
        lock
    }

    fn answered(says: &'static [u8]) -> Result<String, String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let dir = tempfile::tempdir().expect("a directory");
        let line = format!("pid 1\nready smtp=0.0.0.0:{}\n", address.port());
        let _lock = served(dir.path(), &line);
        let server = std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().expect("a peer");
            peer.write_all(says).expect("written");
            let mut rest = Vec::new();
            let _ = peer.read_to_end(&mut rest);
            rest
        });
        let answer = ask(dir.path());
        drop(server);
        answer
    }

    #[test]
    fn a_server_is_ready_when_every_listener_greets() {
        assert!(answered(b"220 mx ESMTP\r\n").is_ok_and(|line| line.starts_with("ready smtp=")));
        assert!(answered(b"+OK hello\r\n").is_ok());
        for full in [TOO_MANY_CONNECTIONS, Reply::TOO_MANY_CONNECTIONS] {
            assert!(answered(full).is_ok(), "it is full, and answers");
        }
        let stopping = answered(b"421 4.3.2 the server\x1b is stopping\r\n").expect_err("not ready");
        assert!(stopping.contains("answers 421 4.3.2 the server\u{fffd} is stopping"), "{stopping}");
        assert!(answered(b"-ERR [SYS/TEMP] the server is stopping\r\n").is_err());
        assert!(answered(b"").is_err_and(|reason| reason.contains("no greeting within 2 s")));
    }

    #[test]
    fn without_a_server_the_reason_is_told() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(ask(dir.path()).is_err_and(|reason| reason.starts_with("no server runs on ")));
        for (note, end) in [("pid 1\n", " is not ready"), ("pid 1\nready what\n", " holds no ready line")] {
            let _lock = served(dir.path(), note);
            assert!(ask(dir.path()).is_err_and(|reason| reason.ends_with(end)), "{note}");
        }
        let _lock = served(dir.path(), "pid 1\nready smtp=unix:/nowhere/s\n");
        assert!(
            ask(dir.path())
                .is_err_and(|reason| reason.starts_with("smtp at unix:/nowhere/s: cannot connect"))
        );
    }

    #[test]
    fn the_note_of_a_server_that_was_killed_says_nothing_about_whoever_has_its_port_now() {
        let another = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = another.local_addr().expect("its address");
        let dir = tempfile::tempdir().expect("a directory");
        drop(served(dir.path(), &format!("pid 1\nready smtp={address}\n")));
        assert!(ask(dir.path()).is_err_and(|reason| reason.starts_with("no server runs on ")));
    }

    #[test]
    fn a_ready_line_names_every_listener() {
        let line = "ready smtp=127.0.0.1:1025,[::1]:1025 pop3=unix:/run/pop3";
        let names: Vec<_> =
            listeners(line).expect("listeners").iter().map(|(n, b)| format!("{n} {b}")).collect();
        assert_eq!(names, ["smtp 127.0.0.1:1025", "smtp [::1]:1025", "pop3 unix:/run/pop3"]);
        assert!(listeners("ready").is_none());
    }
}
