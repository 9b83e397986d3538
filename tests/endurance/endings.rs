//! Sessions that end badly, kind by kind: what is said before the end, and what has to be heard for the
//! phase that the end is to come in to have begun.

use super::{ALICE, connect_from};
use crate::disk_kit::chance::Chance;
use crate::support::{Home, Server};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use socket2::SockRef;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

pub(crate) const BOB: &str = "bob@example.org";
/// Where nothing ever arrives.
pub(crate) const CUT: &str = "cut@example.org";
/// The listeners that these sessions need.
pub(crate) const LISTENERS: [&str; 3] = ["pop3s", "submission", "lmtp"];

/// The start of a handshake: a record that promises more than comes.
const HALF_A_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03half a hello";
/// Longer than what is kept in memory, so that it is staged.
const LARGE_OCTETS: usize = 400_000;

/// What a peer does, one thing after the other.
#[derive(Clone, Debug)]
enum Turn {
    Say(Vec<u8>),
    /// Reads up to a line that begins so; a refusal before it ends the session.
    Hear(&'static str),
    /// The whole handshake.
    Secure,
}

/// A kind of bad end. It counts as reached when every turn went through.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) what: &'static str,
    listener: &'static str,
    turns: Vec<Turn>,
    /// A message of its own is staged when it was reached.
    pub(crate) is_staged: bool,
    /// Reads a little of what is sent before it goes, or nothing at all.
    reads: bool,
}

fn say(text: &str) -> Turn {
    Turn::Say(text.as_bytes().to_vec())
}

fn ending(what: &'static str, listener: &'static str, turns: impl IntoIterator<Item = Turn>) -> Ending {
    Ending { what, listener, turns: turns.into_iter().collect(), is_staged: false, reads: false }
}

pub(crate) fn all() -> Vec<Ending> {
    let mut all = of_smtp();
    all.extend(of_pop3());
    all.extend(of_tls());
    all
}

fn filler() -> String {
    "0123456789abcdef0123456789abcdef\r\n".repeat(LARGE_OCTETS.div_ceil(34) + 1)
}

fn of_smtp() -> Vec<Ending> {
    let open = format!("EHLO a\r\nMAIL FROM:<{ALICE}>\r\nRCPT TO:<{CUT}>\r\n");
    let lmtp = format!("LHLO a\r\nMAIL FROM:<{ALICE}>\r\nRCPT TO:<{CUT}>\r\nRCPT TO:<{BOB}>\r\n");
    let data = |open: &str, message: &str| {
        [say(&format!("{open}DATA\r\n")), Turn::Hear("354 "), say(&format!("Subject: half\r\n\r\n{message}"))]
    };
    let large = filler();
    let chunk = &large[..LARGE_OCTETS];
    // The answer to the first chunk tells that it was taken.
    let chunks = [
        say(&format!("{open}BDAT {LARGE_OCTETS}\r\n{chunk}")),
        Turn::Hear("250 2.0.0 "),
        say("BDAT 500000 LAST\r\nhalf"),
    ];
    let auth = [say("EHLO a\r\nAUTH PLAIN\r\n"), Turn::Hear("334 "), say("AGFu")];
    let staged = |ending| Ending { is_staged: true, ..ending };
    vec![
        ending("after the greeting", "smtp", [Turn::Hear("220 ")]),
        ending("within a command", "smtp", [say("EHLO a\r\n"), Turn::Hear("250 "), say("MAIL FRO")]),
        ending("within a small message", "smtp", data(&open, "half")),
        staged(ending("within a large message", "smtp", data(&open, &large))),
        staged(ending("between the octets of a chunk", "smtp", chunks)),
        ending("within AUTH", "smtp", auth),
        ending("within a message of LMTP", "lmtp", data(&lmtp, "half")),
        staged(ending("within a large message of LMTP", "lmtp", data(&lmtp, &large))),
    ]
}

fn of_pop3() -> Vec<Ending> {
    let login = [say(&format!("USER {BOB}\r\nPASS any\r\n")), Turn::Hear("+OK logged in")];
    let deaf = [login[0].clone(), say("RETR 1\r\n")];
    let logged_in = |turns: &[Turn]| [&login[..], turns].concat();
    let marks = [say("DELE 1\r\nDELE 2\r\n"), Turn::Hear("+OK message 2"), say("DELE 1\r\n")];
    let retr = [say("RETR 1\r\n"), Turn::Hear("+OK ")];
    let half = [say("UIDL\r\n"), Turn::Hear("."), say("TOP 1 ")];
    let auth = [say("AUTH PLAIN\r\n"), Turn::Hear("+ "), say("AGFu")];
    vec![
        Ending { reads: true, ..ending("within RETR", "pop3", logged_in(&retr)) },
        ending("within RETR that is not read", "pop3", deaf),
        ending("after DELE without QUIT", "pop3", logged_in(&marks)),
        ending("within a command of POP3", "pop3", logged_in(&half)),
        ending("within AUTH of POP3", "pop3", auth),
    ]
}

fn of_tls() -> Vec<Ending> {
    let half = || Turn::Say(HALF_A_HELLO.to_vec());
    let starttls = || {
        let (greets, begins) = (say("EHLO a\r\n"), say("STARTTLS\r\n"));
        vec![Turn::Hear("220 "), greets, Turn::Hear("250 "), begins, Turn::Hear("220 ")]
    };
    let again = [Turn::Secure, say("EHLO b\r\n"), Turn::Hear("250 ")];
    let within = |turns: &[Turn]| [&starttls()[..], &again, turns].concat();
    let login = [say("AUTH PLAIN AGFubkBleGFtcGxlLm9yZwBhbnk=\r\n"), Turn::Hear("235 ")];
    let message = [
        say(&format!("MAIL FROM:<ann@example.org>\r\nRCPT TO:<{CUT}>\r\nDATA\r\n")),
        Turn::Hear("354 "),
        say(&filler()),
    ];
    let auth = [say("AUTH PLAIN\r\n"), Turn::Hear("334 "), say("AGFu")];
    let fetch = [
        Turn::Secure,
        say(&format!("USER {BOB}\r\nPASS any\r\n")),
        Turn::Hear("+OK logged in"),
        say("RETR 1\r\n"),
        Turn::Hear("+OK "),
    ];
    vec![
        ending("within a handshake from the start", "pop3s", [half()]),
        ending("within a handshake after STARTTLS", "smtp", [starttls(), vec![half()]].concat()),
        ending("within TLS, after STARTTLS", "smtp", within(&[say("MAIL FRO")])),
        ending("within TLS, within AUTH of submission", "submission", within(&auth)),
        Ending {
            is_staged: true,
            ..ending(
                "within TLS, within a submission",
                "submission",
                within(&[&login[..], &message].concat()),
            )
        },
        Ending { reads: true, ..ending("within TLS, within RETR", "pop3s", fetch) },
    ]
}

/// A connection that may become a secure one.
enum Wire {
    Plain(TcpStream),
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    fn socket(&self) -> &TcpStream {
        match self {
            Wire::Plain(stream) => stream,
            Wire::Secure(stream) => &stream.sock,
        }
    }

    fn write(&mut self, octets: &[u8]) -> Result<()> {
        match self {
            Wire::Plain(stream) => stream.write_all(octets),
            Wire::Secure(stream) => stream.write_all(octets).and_then(|()| stream.flush()),
        }
    }

    fn read(&mut self, piece: &mut [u8]) -> Result<usize> {
        match self {
            Wire::Plain(stream) => stream.read(piece),
            Wire::Secure(stream) => stream.read(piece),
        }
    }

    /// Octet by octet, so that nothing of what follows is taken away.
    fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        let mut octet = [0];
        while !line.ends_with(b"\r\n") {
            if self.read(&mut octet)? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            line.push(octet[0]);
        }
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    fn secure(self, config: &Arc<ClientConfig>) -> Result<Wire> {
        let Wire::Plain(mut socket) = self else { return Ok(self) };
        let name = ServerName::try_from("localhost").expect("a name");
        let mut client = ClientConnection::new(config.clone(), name).map_err(Error::other)?;
        while client.is_handshaking() {
            client.complete_io(&mut socket)?;
        }
        Ok(Wire::Secure(Box::new(StreamOwned::new(client, socket))))
    }
}

/// Whom these peers trust.
pub(crate) fn trust(home: &Home) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let authority = home.data_dir().join("tls/ca.pem");
    roots.add(CertificateDer::from_pem_file(authority).expect("the authority")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    Arc::new(builder.expect("versions").with_root_certificates(roots).with_no_client_auth())
}

impl Ending {
    pub(crate) fn hears_of_its_lease(&self) -> bool {
        self.turns.iter().any(|turn| matches!(turn, Turn::Hear("+OK logged in")))
    }

    /// One session that ends so. An error when it did not get as far as that, which the server may have
    /// reasons for: the mailbox, say, is still that of the session before.
    pub(crate) fn play(&self, server: &Server, trust: &Arc<ClientConfig>, chance: &mut Chance) -> Result<()> {
        let address = server.address(self.listener).expect("it listens");
        let mut wire = Wire::Plain(connect_from(1, address));
        for turn in &self.turns {
            match turn {
                Turn::Say(octets) => wire.write(octets)?,
                Turn::Hear(begins) => loop {
                    let line = wire.line()?;
                    if line.starts_with(begins) {
                        break;
                    }
                    if line.starts_with(['4', '5', '-']) {
                        return Err(Error::other(line));
                    }
                },
                Turn::Secure => wire = wire.secure(trust)?,
            }
        }
        if self.reads {
            for _ in 0..chance.below(4) {
                wire.read(&mut [0; 2048])?;
            }
        }
        if chance.percent(50) {
            // A reset instead of a close.
            SockRef::from(wire.socket()).set_linger(Some(Duration::ZERO))?;
        }
        Ok(())
    }
}
