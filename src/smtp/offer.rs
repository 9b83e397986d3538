//! What EHLO announces, one line for each extension, and who may log in how. TLS makes another one.
//!
//! PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), CHUNKING
//! (RFC 3030), ENHANCEDSTATUSCODES (RFC 2034), STARTTLS (RFC 3207), AUTH (RFC 4954), LIMITS
//! (RFC 9422) and HELP (RFC 5321 §4.1.1.8).

use super::session::Terms;
use crate::mail::peer::Security;
use crate::wire::sasl::Mechanism;
use std::borrow::Cow;

/// Whether the listener can begin TLS when it is asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTls {
    /// It has a certificate.
    Possible,
    /// It has none, or TLS began with the connection.
    Impossible,
}

/// Whether this peer may log in without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// It is this host, the operator has allowed it, or no password is checked.
    Allowed,
    /// Whoever is on the way could read the password.
    Refused,
}

/// Whether the client has logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoggedIn {
    Yes,
    No,
}

/// What a listener can do for one connection, beside what it does for all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// What protects the connection now.
    pub security: Security,
    /// Whether TLS may begin.
    pub start_tls: StartTls,
    /// Whether a login may do without.
    pub plaintext: Plaintext,
    /// The mechanisms of SASL for this role, mode and security, strongest first; empty where there is
    /// no AUTH.
    pub mechanisms: Cow<'static, [Mechanism]>,
}

impl Default for Offer {
    /// Neither TLS nor AUTH.
    fn default() -> Offer {
        Offer {
            security: Security::Plain,
            start_tls: StartTls::Impossible,
            plaintext: Plaintext::Refused,
            mechanisms: Cow::Borrowed(&[]),
        }
    }
}

impl Offer {
    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        matches!(self.security, Security::Tls(_))
    }

    /// Whether STARTTLS may come now.
    #[must_use]
    pub fn can_begin_tls(&self) -> bool {
        // RFC 3207 §4.2: under TLS it is not announced again.
        self.start_tls == StartTls::Possible && !self.is_secured()
    }

    /// Whether there is AUTH on this connection, now or once TLS has begun.
    #[must_use]
    pub fn has_logins(&self) -> bool {
        !self.mechanisms.is_empty()
    }

    /// The mechanisms that AUTH takes now.
    #[must_use]
    pub fn mechanisms(&self) -> &[Mechanism] {
        // RFC 4954 §4: a client that would send its password in clear is not invited to.
        let takes_logins = self.is_secured() || self.plaintext == Plaintext::Allowed;
        if takes_logins { &self.mechanisms } else { &[] }
    }

    /// The extensions of a session under `terms`, in the order in which they are told.
    pub(super) fn extensions(&self, terms: &Terms, logged_in: LoggedIn) -> Vec<String> {
        let mut lines = vec![
            "PIPELINING".into(),
            format!("SIZE {}", terms.message_octets_max),
            "8BITMIME".into(),
            "SMTPUTF8".into(),
            "CHUNKING".into(),
            "ENHANCEDSTATUSCODES".into(),
        ];
        if self.can_begin_tls() {
            lines.push("STARTTLS".into());
        }
        if let (LoggedIn::No, [_, ..]) = (logged_in, self.mechanisms()) {
            let names = self.mechanisms().iter().map(|mechanism| mechanism.name());
            lines.push(names.fold("AUTH".to_owned(), |line, name| line + " " + name));
        }
        lines.push(format!("LIMITS RCPTMAX={}", terms.recipients_max));
        lines.push("HELP".into());
        lines
    }
}
