//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677), the server's side of the messages.
//!
//! ```text
//!   client-first ─► Parameters ─► server-first ─► client-final ─► Check ─► server-final ─► empty ─► Done
//! ```
//!
//! No key is known here: the proof is compared, and the signature made, by whoever has the keys.

use super::{
    Evidence, Fault, Mechanism, ScramParameters, ScramProof, ServerSignature, State, Step, Turn, decode,
    encode,
};

/// Octets of a client's nonce at most. It is sent back, so it may not fill a line by itself.
pub(super) const CLIENT_NONCE_MAX: usize = 512;
/// The only channel binding there is (RFC 9266).
const BINDING: &str = "p=tls-exporter";

/// Before the first message.
pub(super) struct Start {
    mechanism: Mechanism,
    exporter: Option<[u8; 32]>,
    nonce: [u8; 18],
}

/// After the first message.
pub(super) struct Scram {
    user: Box<str>,
    /// What `c=` must hold: the GS2 header and the octets of the channel binding.
    binding: Vec<u8>,
    /// The client's part first.
    nonce: String,
    /// What the proof covers, as far as it has been said.
    auth_message: String,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Parameters,
    ClientFinal,
    Verdict,
    Acknowledgement,
}

impl Start {
    pub(super) fn new(mechanism: Mechanism, exporter: Option<[u8; 32]>, nonce: [u8; 18]) -> Start {
        Start { mechanism, exporter, nonce }
    }

    /// Takes `client-first-message`.
    pub(super) fn message(self, message: &[u8]) -> Step {
        let text = std::str::from_utf8(message).map_err(|_| Fault::Malformed)?;
        let (flag, rest) = text.split_once(',').ok_or(Fault::Malformed)?;
        let (acts_as, bare) = rest.split_once(',').ok_or(Fault::Malformed)?;
        let octets = self.bound_octets(flag)?;
        let mut fields = bare.split(',');
        // RFC 5802 §5.1: `m=` would stand here, and an extension that must be known and is not ends it.
        let user = fields.next().and_then(|field| field.strip_prefix("n=")).ok_or(Fault::Malformed)?;
        let user = name(user)?;
        let theirs = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or(Fault::Malformed)?;
        if !is_nonce(theirs) || !fields.all(is_extension) {
            return Err(Fault::Malformed);
        }
        if !acts_as.is_empty() {
            let acts_as = acts_as.strip_prefix("a=").ok_or(Fault::Malformed)?;
            if name(acts_as)? != user {
                return Err(Fault::Malformed);
            }
        }
        let header = text.len() - bare.len();
        let mut binding = message.get(..header).ok_or(Fault::Malformed)?.to_vec();
        binding.extend_from_slice(octets);
        let nonce = format!("{theirs}{}", encode(self.nonce));
        let turn = Turn::Parameters(user.clone());
        let auth_message = bare.to_owned();
        Ok((State::Scram(Scram { user, binding, nonce, auth_message, stage: Stage::Parameters }), turn))
    }

    /// What the channel binding must be, by the flag that the client begins with.
    fn bound_octets(&self, flag: &str) -> Result<&[u8], Fault> {
        match (self.mechanism, flag, &self.exporter) {
            (Mechanism::ScramSha256Plus, BINDING, Some(exporter)) => Ok(exporter),
            (Mechanism::ScramSha256, "n", _) | (Mechanism::ScramSha256, "y", None) => Ok(&[]),
            // RFC 5802 §6: a client that could bind and believes that this server cannot was
            // offered less than the server said: somebody between them has changed it.
            // RFC 5802 §5.1: a binding of another kind, or without -PLUS, fails too.
            (_, "n" | "y", _) => Err(Fault::ChannelBinding),
            (_, flag, _) if flag.starts_with("p=") => Err(Fault::ChannelBinding),
            _ => Err(Fault::Malformed),
        }
    }
}

impl Scram {
    /// Makes `server-first-message`.
    pub(super) fn parameters(mut self, parameters: &ScramParameters) -> Step {
        if self.stage != Stage::Parameters {
            return Err(Fault::Malformed);
        }
        let (salt, iterations) = (encode(&parameters.salt), parameters.iterations);
        let server_first = format!("r={},s={salt},i={iterations}", self.nonce);
        self.auth_message.push(',');
        self.auth_message.push_str(&server_first);
        self.stage = Stage::ClientFinal;
        Ok((State::Scram(self), Turn::Challenge(encode(server_first))))
    }

    /// Takes `client-final-message`, or the empty line that follows `server-final-message`.
    pub(super) fn message(self, message: &[u8]) -> Step {
        match self.stage {
            Stage::ClientFinal => self.client_final(message),
            Stage::Acknowledgement if message.is_empty() => Ok((State::Over, Turn::Done)),
            _ => Err(Fault::Malformed),
        }
    }

    fn client_final(mut self, message: &[u8]) -> Step {
        let text = std::str::from_utf8(message).map_err(|_| Fault::Malformed)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(Fault::Malformed)?;
        let mut fields = without_proof.split(',');
        let binding = fields.next().and_then(|field| field.strip_prefix("c=")).ok_or(Fault::Malformed)?;
        let nonce = fields.next().and_then(|field| field.strip_prefix("r=")).ok_or(Fault::Malformed)?;
        if !fields.all(is_extension) {
            return Err(Fault::Malformed);
        }
        let binding = decode(binding.as_bytes()).map_err(|_| Fault::Malformed)?;
        // RFC 5802 §5.1: the binding must be that of this connection, below the same header.
        if *binding != self.binding {
            return Err(Fault::ChannelBinding);
        }
        // RFC 5802 §5.1: the nonce must be exactly the one that the server sent.
        if nonce != self.nonce {
            return Err(Fault::Malformed);
        }
        let proof = decode(proof.as_bytes()).map_err(|_| Fault::Malformed)?;
        let client_proof = proof.as_slice().try_into().map_err(|_| Fault::Malformed)?;
        self.auth_message.push(',');
        self.auth_message.push_str(without_proof);
        let user = self.user.clone();
        let auth_message = self.auth_message.as_bytes().into();
        self.stage = Stage::Verdict;
        let proof = ScramProof { user, auth_message, client_proof };
        Ok((State::Scram(self), Turn::Check(Evidence::Scram(proof))))
    }

    /// Makes `server-final-message`.
    pub(super) fn verified(mut self, signature: ServerSignature) -> Step {
        if self.stage != Stage::Verdict {
            return Err(Fault::Malformed);
        }
        self.stage = Stage::Acknowledgement;
        let server_final = format!("v={}", encode(signature.0));
        Ok((State::Scram(self), Turn::Challenge(encode(server_final))))
    }
}

/// Reads a `saslname`.
// RFC 5802 §5.1: a comma is written `=2C` and an equals sign `=3D`; any other `=` is a fault.
fn name(written: &str) -> Result<Box<str>, Fault> {
    let mut parts = written.split('=');
    let mut read = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, rest) = if let Some(rest) = part.strip_prefix("2C") {
            (',', rest)
        } else if let Some(rest) = part.strip_prefix("3D") {
            ('=', rest)
        } else {
            return Err(Fault::Malformed);
        };
        read.push(sign);
        read.push_str(rest);
    }
    super::user_name(read.as_bytes())
}

/// Printable ASCII; no comma can be in it, the fields are cut at those.
fn is_nonce(text: &str) -> bool {
    (1..=CLIENT_NONCE_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// An extension that may be passed over: a letter, an equals sign, a value.
fn is_extension(field: &str) -> bool {
    match field.as_bytes() {
        [letter, b'=', value @ ..] => {
            letter.is_ascii_alphabetic() && *letter != b'm' && !value.is_empty() && !value.contains(&0)
        }
        _ => false,
    }
}
