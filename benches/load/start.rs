//! How long a program takes from its start until both of its listeners greet.

use crate::Outcome;
use crate::options::Options;
use std::io::Read as _;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Pause between two tries to connect, small against what is measured.
const PAUSE: Duration = Duration::from_micros(100);
/// Longest start.
const PATIENCE: Duration = Duration::from_secs(30);

/// `program=`, `config=`, `smtp=` and `pop3=` places. The program is ended again.
pub(crate) fn start(options: &Options) -> Outcome<String> {
    let places = [options.text("smtp")?, options.text("pop3")?];
    if let Some(place) = places.iter().find(|place| TcpStream::connect(place).is_ok()) {
        return Err(format!("{place} is taken"));
    }
    let began = Instant::now();
    let mut child = Command::new(options.text("program")?)
        .args(["--config", options.text("config")?, "serve"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let greeted = places.iter().try_for_each(|place| greeting(place, &mut child, began));
    let spent = began.elapsed();
    // SIGTERM, which the standard library does not send.
    let ended = Command::new("kill").arg(child.id().to_string()).status();
    if !ended.is_ok_and(|status| status.success()) {
        let _ = child.kill();
    }
    let _ = child.wait();
    greeted.map(|()| format!("{{\"ms\":{:.4}}}", spent.as_secs_f64() * 1e3))
}

fn greeting(place: &str, child: &mut Child, began: Instant) -> Outcome<()> {
    loop {
        if let Ok(mut stream) = TcpStream::connect(place) {
            return match stream.read(&mut [0; 64]) {
                Ok(1..) => Ok(()),
                _ => Err(format!("{place} does not greet")),
            };
        }
        if let Ok(Some(status)) = child.try_wait() {
            return Err(format!("the program has ended: {status}"));
        }
        if began.elapsed() > PATIENCE {
            return Err(format!("nobody listens on {place}"));
        }
        std::thread::sleep(PAUSE);
    }
}
