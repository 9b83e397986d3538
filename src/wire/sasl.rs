//! SASL (RFC 4422): what both protocols exchange after AUTH. Pure: base64 lines in, base64 lines out.

use crate::mail::peer::Security;
use crate::mail::secret::Credentials;

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

/// What a client gave to prove who it is.
#[derive(Clone, Debug)]
pub enum Evidence {
    /// A user name and the password itself.
    Password(Credentials),
    /// A proof that it knows the password.
    Scram(ScramProof),
}

/// The client's half of SCRAM (RFC 5802 §3), to be compared with the stored keys.
#[derive(Clone, Debug)]
pub struct ScramProof {
    /// The user name as the client wrote it.
    pub user: Box<str>,
    /// `AuthMessage`
    pub auth_message: Box<[u8]>,
    /// `ClientProof`
    pub client_proof: [u8; 32],
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
#[derive(Debug)]
pub struct Exchange {}

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
    /// Base64, but not a message of the mechanism.
    Malformed,
    /// The channel binding is missing or is that of another connection.
    ChannelBinding,
}

impl Mechanism {
    /// Reads a name without regard to case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Mechanism> {
        todo!("{name}")
    }

    /// The registered name.
    #[must_use]
    pub fn name(self) -> &'static str {
        todo!()
    }

    /// What is offered on a connection, strongest first: SCRAM-SHA-256-PLUS only where there is a
    /// channel binding.
    #[must_use]
    pub fn offered(security: &Security) -> &'static [Mechanism] {
        todo!("{security:?}")
    }
}

impl Exchange {
    /// Begins. `initial` is the initial response as it stood in the command: base64, or `=` for an
    /// empty one (RFC 4954 §4, RFC 5034 §4). `nonce` are fresh random octets for SCRAM.
    pub fn begin(
        mechanism: Mechanism,
        initial: Option<&[u8]>,
        security: &Security,
        nonce: [u8; 18],
    ) -> (Exchange, Turn) {
        todo!("{mechanism:?} {initial:?} {security:?} {nonce:?}")
    }

    /// Takes a line of the client, without its CRLF.
    pub fn line(&mut self, line: &[u8]) -> Turn {
        todo!("{line:?}")
    }

    /// Takes the answer to [`Turn::Parameters`].
    pub fn parameters(&mut self, parameters: &ScramParameters) -> Turn {
        todo!("{parameters:?}")
    }

    /// The evidence was right. With SCRAM the client is sent the signature and answers with an empty
    /// line before it is logged in; else the turn is [`Turn::Done`].
    pub fn verified(&mut self, signature: Option<ServerSignature>) -> Turn {
        todo!("{signature:?}")
    }
}
