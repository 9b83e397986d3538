//! Lines over TLS, by `openssl s_client`.

use crate::support::DEADLINE;
use crate::support::programs::needs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// How TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// With the connection.
    AtOnce,
    /// After STARTTLS.
    Smtp,
    /// After STLS.
    Pop3,
}

/// A connection over TLS. Dropping it closes it.
pub(crate) struct Tunnel {
    child: Child,
    lines: Receiver<String>,
    complaints: Receiver<String>,
}

impl Tunnel {
    /// Connects and shakes hands; the certificate must be good.
    pub(crate) fn open(to: SocketAddr, start: Start, ca: &Path) -> Tunnel {
        Tunnel::start(to, start, ca, &["-quiet"])
    }

    /// The same, and the value of the channel binding `tls-exporter` as this end computes it, in
    /// hexadecimal. What openssl tells of the connection is among the lines that follow.
    pub(crate) fn with_binding(to: SocketAddr, start: Start, ca: &Path) -> (Tunnel, String) {
        let export = ["-keymatexport", "EXPORTER-Channel-Binding", "-keymatexportlen", "32"];
        let mut tunnel = Tunnel::start(to, start, ca, &[&["-ign_eof"], &export[..]].concat());
        loop {
            let line = tunnel.line();
            if let Some(value) = line.trim().strip_prefix("Keying material: ") {
                return (tunnel, value.to_owned());
            }
        }
    }

    fn start(to: SocketAddr, start: Start, ca: &Path, options: &[&str]) -> Tunnel {
        needs("openssl", "openssl");
        let mut command = Command::new("openssl");
        command.arg("s_client").args(options).args(["-connect", &to.to_string(), "-CAfile"]).arg(ca);
        command.args(["-verify_return_error", "-verify_hostname", "localhost", "-servername", "localhost"]);
        match start {
            Start::AtOnce => {}
            Start::Smtp => drop(command.args(["-starttls", "smtp", "-name", "client.example"])),
            Start::Pop3 => drop(command.args(["-starttls", "pop3"])),
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("openssl");
        let stdout = child.stdout.take().expect("a pipe");
        let (said, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
                if said.send(line).is_err() {
                    break;
                }
            }
        });
        let mut stderr = child.stderr.take().expect("a pipe");
        let (complained, complaints) = channel();
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            let _ = complained.send(String::from_utf8_lossy(&text).into_owned());
        });
        Tunnel { child, lines, complaints }
    }

    pub(crate) fn say(&mut self, line: &str) {
        let stdin = self.child.stdin.as_mut().expect("a pipe");
        stdin.write_all(format!("{line}\r\n").as_bytes()).expect("openssl takes what is said");
    }

    /// The next line of the server.
    pub(crate) fn line(&mut self) -> String {
        self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| {
            let _ = self.child.kill();
            panic!("the server says nothing; openssl says {:?}", self.complaints.recv_timeout(DEADLINE))
        })
    }

    /// Waits for the end; what was said until then.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        let mut rest = Vec::new();
        while let Ok(line) = self.lines.recv_timeout(DEADLINE) {
            rest.push(line);
        }
        rest
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
