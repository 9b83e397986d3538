//! A connection: TCP or a unix socket, lines in, anything out.

use crate::Outcome;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// What is read at once, in octets.
const READ_OCTETS: usize = 128 * 1024;
/// Longest wait for an answer. A commit on a busy disk may take seconds.
const PATIENCE: Duration = Duration::from_secs(120);

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

pub(crate) struct Wire {
    socket: Socket,
    buffer: Vec<u8>,
    from: usize,
    to: usize,
}

fn said(doing: &str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{doing}: {error}")
}

impl Wire {
    /// Connects to `address:port` or `unix:PATH`.
    pub(crate) fn open(place: &str) -> Outcome<Wire> {
        Wire::with_buffer(place, READ_OCTETS)
    }

    /// The same with a read buffer of so many octets, for those who hold thousands.
    pub(crate) fn with_buffer(place: &str, octets: usize) -> Outcome<Wire> {
        let socket = match place.strip_prefix("unix:") {
            Some(path) => {
                let stream = UnixStream::connect(path).map_err(said(place))?;
                stream.set_read_timeout(Some(PATIENCE)).map_err(said(place))?;
                Socket::Unix(stream)
            }
            None => {
                let stream = TcpStream::connect(place).map_err(said(place))?;
                stream.set_nodelay(true).map_err(said(place))?;
                stream.set_read_timeout(Some(PATIENCE)).map_err(said(place))?;
                Socket::Tcp(stream)
            }
        };
        Ok(Wire { socket, buffer: vec![0; octets], from: 0, to: 0 })
    }

    /// From now on what is sent waits by Nagle's rule, as with programs that say nothing of it.
    pub(crate) fn wait_for_confirmation(&mut self) -> Outcome<()> {
        let Socket::Tcp(stream) = &self.socket else { return Ok(()) };
        stream.set_nodelay(false).map_err(said("a socket"))
    }

    pub(crate) fn send(&mut self, octets: &[u8]) -> Outcome<()> {
        let sent = match &mut self.socket {
            Socket::Tcp(stream) => stream.write_all(octets),
            Socket::Unix(stream) => stream.write_all(octets),
        };
        sent.map_err(said("sending"))
    }

    /// What has come and was not taken, after at least one more octet came.
    pub(crate) fn more(&mut self) -> Outcome<&[u8]> {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.from > 0 && self.to == self.buffer.len() {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        if self.to == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let room = &mut self.buffer[self.to..];
        let read = match &mut self.socket {
            Socket::Tcp(stream) => stream.read(room),
            Socket::Unix(stream) => stream.read(room),
        };
        match read.map_err(said("reading"))? {
            0 => Err("the server has closed the connection".into()),
            octets => {
                self.to += octets;
                Ok(&self.buffer[self.from..self.to])
            }
        }
    }

    /// What has come and was not taken.
    pub(crate) fn here(&self) -> &[u8] {
        &self.buffer[self.from..self.to]
    }

    pub(crate) fn take(&mut self, octets: usize) {
        self.from += octets;
    }

    /// The next line without its CRLF.
    pub(crate) fn line(&mut self) -> Outcome<String> {
        let mut seen = 0;
        loop {
            if let Some(at) = self.here()[seen..].iter().position(|&octet| octet == b'\n') {
                let line = String::from_utf8_lossy(&self.here()[..seen + at]).trim_end().to_owned();
                self.take(seen + at + 1);
                return Ok(line);
            }
            seen = self.here().len();
            self.more()?;
        }
    }
}
