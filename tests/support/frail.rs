//! A client that takes the death of its server for what it is: the end of its work.

use super::DEADLINE;
use super::wire::stuffed;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

/// A connection whose every step may be the last.
pub(crate) struct Frail {
    reader: BufReader<TcpStream>,
}

impl Frail {
    /// Connects and reads the greeting.
    pub(crate) fn connect(to: SocketAddr) -> Option<Frail> {
        let stream = TcpStream::connect(to).ok()?;
        stream.set_read_timeout(Some(DEADLINE)).ok()?;
        let mut client = Frail { reader: BufReader::new(stream) };
        client.last_line()?;
        Some(client)
    }

    /// The last line of a reply.
    pub(crate) fn last_line(&mut self) -> Option<String> {
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).ok().filter(|&octets| octets > 0)?;
            if line.ends_with("\r\n") && line.as_bytes().get(3) != Some(&b'-') {
                return Some(line);
            }
        }
    }

    /// Sends what has no answer.
    pub(crate) fn tell(&mut self, octets: &[u8]) -> Option<()> {
        self.reader.get_mut().write_all(octets).ok()
    }

    pub(crate) fn ask(&mut self, octets: &[u8]) -> Option<String> {
        self.reader.get_mut().write_all(octets).ok()?;
        self.last_line()
    }

    /// One message, as far as the server lets it; its last word. After a refusal the next may be tried.
    pub(crate) fn deliver(&mut self, to: &str, message: &[u8]) -> Option<String> {
        let from = b"MAIL FROM:<alice@client.example>\r\n".as_slice();
        for command in [from, format!("RCPT TO:<{to}>\r\n").as_bytes(), b"DATA\r\n"] {
            let reply = self.ask(command)?;
            if !reply.starts_with('2') && !reply.starts_with("354") {
                self.ask(b"RSET\r\n")?;
                return Some(reply);
            }
        }
        self.ask(&stuffed(message))
    }

    /// The lines of a reply of POP3 after its first, to the end.
    pub(crate) fn multi_line(&mut self) -> Option<Vec<u8>> {
        let mut all = Vec::new();
        loop {
            let from = all.len();
            self.reader.read_until(b'\n', &mut all).ok().filter(|&octets| octets > 0)?;
            if &all[from..] == b".\r\n" {
                all.truncate(from);
                return Some(all);
            }
        }
    }
}
