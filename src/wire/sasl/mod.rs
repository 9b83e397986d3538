//! SASL (RFC 4422): what both protocols exchange after AUTH. Pure: base64 lines in, base64 lines out.
//!
//! Each mechanism is a file. An [`Exchange`] belongs to one AUTH command; once it has failed or is
//! done, it answers everything else with [`Fault::Malformed`]. How long a line may be is the affair
//! of whoever reads lines.

mod login;
mod plain;
mod scram;
#[cfg(test)]
mod tests;

use crate::mail::peer::Security;
use crate::mail::secret::Credentials;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use login::Login;
use scram::Scram;
use std::fmt;
use std::mem;
use zeroize::Zeroizing;

/// A mechanism that this server has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 4616
    Plain,
    /// The older way of Outlook and printers; never standardised.
    Login,
    /// RFC 7677
    ScramSha256,
    /// RFC 7677 with the channel binding `tls-exporter` (RFC 9266)
    ScramSha256Plus,
}

/// How much of what a client claims has to make sense before it is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Strictness {
    /// As an account could have sent it, and for itself.
    #[default]
    Full,
    /// Any name and any password, for whomever: nobody is going to check them.
    Lax,
}

/// What a client gave to prove who it is.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// A user name and the password itself.
    Password(Credentials),
    /// A proof that it knows the password.
    Scram(ScramProof),
    /// Something that no account could have sent. It is checked all the same, so that it costs a
    /// guesser what a wrong password costs.
    Void(Fault),
}

impl Evidence {
    /// The user name as the client wrote it; empty where none was understood.
    #[must_use]
    pub fn user(&self) -> &str {
        match self {
            Evidence::Password(credentials) => &credentials.user,
            Evidence::Scram(proof) => &proof.user,
            Evidence::Void(_) => "",
        }
    }
}

/// The client's half of SCRAM (RFC 5802 §3), to be compared with the stored keys.
#[derive(Clone)]
pub struct ScramProof {
    /// The user name as the client wrote it.
    pub user: Box<str>,
    /// `AuthMessage`
    pub auth_message: Box<[u8]>,
    /// `ClientProof`
    pub client_proof: [u8; 32],
}

impl fmt::Debug for ScramProof {
    /// The user alone: with the stored key, the rest would make the client's key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramProof").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Salt and count that a SCRAM client needs; made up in a stable way for users that do not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramParameters {
    /// Raw octets.
    pub salt: Box<[u8]>,
    /// Rounds of PBKDF2.
    pub iterations: u32,
}

/// `ServerSignature` (RFC 5802 §3): proves to the client that the server knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSignature(pub [u8; 32]);

/// One exchange under way.
pub struct Exchange {
    state: State,
}

enum State {
    /// The client's first message has not come yet.
    Begun(First),
    Login(Login),
    Scram(Scram),
    /// Somebody finds out whether the password is right.
    Checking,
    Over,
}

/// A mechanism that waits for its first message.
enum First {
    Plain(Strictness),
    Login(Strictness),
    Scram(scram::Start),
}

impl fmt::Debug for Exchange {
    /// Nothing of what was exchanged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Begun(_) => "begun",
            State::Login(_) => "LOGIN",
            State::Scram(_) => "SCRAM",
            State::Checking => "checking",
            State::Over => "over",
        };
        f.debug_tuple("Exchange").field(&format_args!("{state}")).finish()
    }
}

/// What to do next in an exchange.
#[derive(Debug)]
pub enum Turn {
    /// Send this challenge (base64 already; may be empty) and wait for a line.
    Challenge(String),
    /// Find the SCRAM parameters of this user, then call [`Exchange::parameters`].
    Parameters(Box<str>),
    /// Find out whether this is right, then call [`Exchange::verified`] or give up.
    Check(Evidence),
    /// The client has been told all; it is logged in.
    Done,
    /// The exchange is over without a verdict.
    Failed(Fault),
}

/// Why an exchange ended without a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The client sent `*`.
    Cancelled,
    /// Not base64.
    NotBase64,
    /// Base64, but not a message of the mechanism; or it would act for somebody else.
    Malformed,
    /// The channel binding is missing or is that of another connection.
    ChannelBinding,
}

impl Fault {
    /// Whether it counts like a wrong password. To cancel, or to send what is not even base64, is no
    /// guess.
    #[must_use]
    pub fn is_a_guess(self) -> bool {
        match self {
            Fault::Cancelled | Fault::NotBase64 => false,
            Fault::Malformed | Fault::ChannelBinding => true,
        }
    }
}

impl Mechanism {
    const WITH_BINDING: &'static [Mechanism] =
        &[Mechanism::ScramSha256Plus, Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];

    /// Those that bring the password itself, strongest first: all that a server can take which
    /// accepts every password, because SCRAM makes the server prove that it knows it.
    pub const WITH_PASSWORD: &'static [Mechanism] = &[Mechanism::Plain, Mechanism::Login];

    /// Reads a name without regard to case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Mechanism> {
        Self::WITH_BINDING.iter().copied().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// The registered name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::Login => "LOGIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
        }
    }

    /// What is offered on a connection, strongest first: SCRAM-SHA-256-PLUS only where there is a
    /// channel binding. A server in open mode offers [`Mechanism::WITH_PASSWORD`] instead.
    #[must_use]
    pub fn offered(security: &Security) -> &'static [Mechanism] {
        let without_binding = Self::WITH_BINDING.get(1..).unwrap_or_default();
        if exporter(security).is_some() { Self::WITH_BINDING } else { without_binding }
    }
}

/// The channel binding of a connection.
fn exporter(security: &Security) -> Option<[u8; 32]> {
    match security {
        Security::Plain => None,
        Security::Tls(tls) => tls.exporter,
    }
}

impl Exchange {
    /// Begins. `initial` is the initial response as it stood in the command: base64, or `=` for an
    /// empty one (RFC 4954 §4, RFC 5034 §4). `nonce` are fresh random octets for SCRAM, which is always
    /// read with full strictness.
    pub fn begin(
        mechanism: Mechanism,
        initial: Option<&[u8]>,
        security: &Security,
        nonce: [u8; 18],
        strictness: Strictness,
    ) -> (Exchange, Turn) {
        let scram = |mechanism| First::Scram(scram::Start::new(mechanism, exporter(security), nonce));
        let first = match mechanism {
            Mechanism::Plain => First::Plain(strictness),
            Mechanism::Login => First::Login(strictness),
            Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => scram(mechanism),
        };
        let mut exchange = Exchange { state: State::Over };
        let turn = match initial {
            None => {
                let prompt = if mechanism == Mechanism::Login { login::USERNAME } else { "" };
                exchange.state = State::Begun(first);
                Turn::Challenge(prompt.to_owned())
            }
            // RFC 4954 §4 and RFC 5034 §4: a lone equals sign is an initial response without octets.
            Some(b"=") => exchange.first(first, b""),
            Some(line) => match decode(line) {
                Ok(message) => exchange.first(first, &message),
                Err(fault) => Turn::Failed(fault),
            },
        };
        (exchange, turn)
    }

    /// Takes a line of the client, without its CRLF.
    pub fn line(&mut self, line: &[u8]) -> Turn {
        let state = mem::replace(&mut self.state, State::Over);
        // RFC 4954 §4 and RFC 5034 §4: a lone asterisk cancels the exchange.
        if line == b"*" {
            return Turn::Failed(Fault::Cancelled);
        }
        let message = match decode(line) {
            Ok(message) => message,
            Err(fault) => return Turn::Failed(fault),
        };
        match state {
            State::Begun(first) => self.first(first, &message),
            State::Login(login) => self.after(login.password(&message)),
            State::Scram(scram) => self.after(scram.message(&message)),
            State::Checking | State::Over => Turn::Failed(Fault::Malformed),
        }
    }

    /// Takes the answer to [`Turn::Parameters`].
    pub fn parameters(&mut self, parameters: &ScramParameters) -> Turn {
        match mem::replace(&mut self.state, State::Over) {
            State::Scram(scram) => self.after(scram.parameters(parameters)),
            _ => Turn::Failed(Fault::Malformed),
        }
    }

    /// The evidence was right. With SCRAM the client is sent the signature and answers with an empty
    /// line before it is logged in; else the turn is [`Turn::Done`].
    pub fn verified(&mut self, signature: Option<ServerSignature>) -> Turn {
        match (mem::replace(&mut self.state, State::Over), signature) {
            (State::Scram(scram), Some(signature)) => self.after(scram.verified(signature)),
            (State::Checking, _) => Turn::Done,
            _ => Turn::Failed(Fault::Malformed),
        }
    }

    fn first(&mut self, first: First, message: &[u8]) -> Turn {
        match first {
            First::Plain(strictness) => self.after(plain::message(message, strictness)),
            First::Login(strictness) => self.after(login::user(message, strictness)),
            First::Scram(start) => self.after(start.message(message)),
        }
    }

    fn after(&mut self, step: Step) -> Turn {
        match step {
            Ok((state, turn)) => {
                self.state = state;
                turn
            }
            Err(fault) => Turn::Failed(fault),
        }
    }
}

/// What a message leads to: the next state and what to do, or the end.
type Step = Result<(State, Turn), Fault>;

/// The octets of a line. They may hold a password, so they are wiped.
// RFC 4954 §4: what is not canonical base64, its padding included, is rejected.
fn decode(line: &[u8]) -> Result<Zeroizing<Vec<u8>>, Fault> {
    STANDARD.decode(line).map(Zeroizing::new).map_err(|_| Fault::NotBase64)
}

fn encode(message: impl AsRef<[u8]>) -> String {
    STANDARD.encode(message)
}

/// A user name: text, not empty, without NUL.
fn user_name(octets: &[u8]) -> Result<Box<str>, Fault> {
    let text = std::str::from_utf8(octets).map_err(|_| Fault::Malformed)?;
    if text.is_empty() || text.contains('\0') { Err(Fault::Malformed) } else { Ok(text.into()) }
}
