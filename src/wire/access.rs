//! What protects a connection, and who may log in over it: the rule that both protocols keep.

use super::sasl::{Mechanism, Strictness};
use crate::mail::peer::{Peer, Security};
use std::borrow::Cow;

/// Where a password may cross the network without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaintextAuth {
    /// From this host itself: loopback and unix sockets.
    LocalOnly,
    /// From everywhere.
    Anywhere,
}

impl PlaintextAuth {
    /// What this means for one peer.
    #[must_use]
    pub fn towards(self, peer: &Peer) -> Plaintext {
        match self {
            PlaintextAuth::LocalOnly if !peer.is_local() => Plaintext::Refused,
            PlaintextAuth::LocalOnly | PlaintextAuth::Anywhere => Plaintext::Allowed,
        }
    }
}

/// Whether one peer may log in without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// It is this host, the operator has allowed it, or no password is checked.
    Allowed,
    /// Whoever is on the way could read the password.
    Refused,
}

/// Whether a listener can begin TLS when it is asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTls {
    /// It has a certificate.
    Possible,
    /// It has none, or TLS began with the connection.
    Impossible,
}

/// What one connection is protected by, and what may be done about a login on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// What protects the connection now.
    pub security: Security,
    /// Whether TLS may begin.
    pub start_tls: StartTls,
    /// Whether a login may do without.
    pub plaintext: Plaintext,
    /// The mechanisms of SASL for this listener, mode and security, strongest first; empty where there
    /// is no AUTH.
    pub mechanisms: Cow<'static, [Mechanism]>,
    /// How a login is read.
    pub strictness: Strictness,
}

impl Default for Access {
    /// Neither TLS nor logins.
    fn default() -> Access {
        Access {
            security: Security::Plain,
            start_tls: StartTls::Impossible,
            plaintext: Plaintext::Refused,
            mechanisms: Cow::Borrowed(&[]),
            strictness: Strictness::Full,
        }
    }
}

impl Access {
    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_secured(&self) -> bool {
        matches!(self.security, Security::Tls(_))
    }

    /// Whether TLS may begin now: under TLS it does not begin again.
    #[must_use]
    pub fn can_begin_tls(&self) -> bool {
        // RFC 3207 §4.2 and RFC 2595 §4: it is announced only as long as it can be used.
        self.start_tls == StartTls::Possible && !self.is_secured()
    }

    /// Whether there is AUTH on this connection, now or once TLS has begun.
    #[must_use]
    pub fn has_logins(&self) -> bool {
        !self.mechanisms.is_empty()
    }

    /// Whether a password may come now.
    #[must_use]
    pub fn takes_logins(&self) -> bool {
        // RFC 4954 §4 and RFC 2595 §2.3: a client that would send its password in clear is not
        // invited to, and is told not to.
        self.is_secured() || self.plaintext == Plaintext::Allowed
    }

    /// The mechanisms that AUTH takes now.
    #[must_use]
    pub fn mechanisms(&self) -> &[Mechanism] {
        if self.takes_logins() { &self.mechanisms } else { &[] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: RFC 2595 §2.3
    #[test]
    fn a_password_crosses_in_clear_from_this_host_or_where_the_operator_allows_it() {
        let tcp = |address: &str| Peer::tcp(address.parse().unwrap());
        for (peer, is_local) in [
            (Peer::Unix, true),
            (tcp("127.0.0.1:1"), true),
            (tcp("[::1]:1"), true),
            (tcp("[::ffff:127.0.0.1]:1"), true),
            (tcp("192.0.2.1:1"), false),
            (tcp("[::ffff:192.0.2.1]:1"), false),
            (tcp("[2001:db8::1]:1"), false),
        ] {
            let expected = if is_local { Plaintext::Allowed } else { Plaintext::Refused };
            assert_eq!(PlaintextAuth::LocalOnly.towards(&peer), expected, "{peer}");
            assert_eq!(PlaintextAuth::Anywhere.towards(&peer), Plaintext::Allowed, "{peer}");
        }
    }

    // proves: RFC 4954 §4
    #[test]
    fn mechanisms_are_hidden_as_long_as_they_may_not_be_used() {
        const ALL: &[Mechanism] = Mechanism::WITH_PASSWORD;
        let refused = Access { mechanisms: ALL.into(), ..Access::default() };
        assert!(refused.has_logins() && !refused.takes_logins());
        assert_eq!(refused.mechanisms(), []);
        let allowed = Access { plaintext: Plaintext::Allowed, ..refused };
        assert_eq!(allowed.mechanisms(), ALL);
    }
}
