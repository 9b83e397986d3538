//! What CAPA announces (RFC 2449), and who may log in how. It is the same before and after login, so
//! that a client may ask once, whenever it likes; TLS makes another one.

use crate::mail::peer::Security;
use crate::wire::sasl::Mechanism;
use std::borrow::Cow;

/// How long the server keeps messages, whatever the client does (RFC 2449 §6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Expiry {
    /// Until the client deletes them.
    #[default]
    Never,
    /// This many days at least.
    Days(u32),
}

/// Whether the listener can begin TLS when it is asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stls {
    /// It has a certificate.
    Possible,
    /// It has none, or TLS began with the connection.
    Impossible,
}

/// Whether this peer may log in without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// It is this host, or the operator has allowed it.
    Allowed,
    /// Whoever is on the way could read the password.
    Refused,
}

/// What this server can do for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// How long messages are kept.
    pub expiry: Expiry,
    /// What protects the connection now.
    pub security: Security,
    /// Whether TLS may begin.
    pub stls: Stls,
    /// Whether a login may do without.
    pub plaintext: Plaintext,
    /// The mechanisms of SASL for this mode and security, strongest first.
    pub mechanisms: Cow<'static, [Mechanism]>,
}

impl Default for Offer {
    /// USER and PASS, and nothing that depends on TLS or SASL.
    fn default() -> Offer {
        Offer {
            expiry: Expiry::Never,
            security: Security::Plain,
            stls: Stls::Impossible,
            plaintext: Plaintext::Allowed,
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

    /// Whether STLS may come now.
    #[must_use]
    pub fn can_begin_tls(&self) -> bool {
        // RFC 2595 §4: STLS is announced only as long as it can be used.
        self.stls == Stls::Possible && !self.is_secured()
    }

    /// Whether USER, PASS and AUTH may come now.
    #[must_use]
    pub fn takes_logins(&self) -> bool {
        // RFC 2595 §2.3: a client that would send its password in clear is told not to.
        self.is_secured() || self.plaintext == Plaintext::Allowed
    }

    /// The mechanisms that AUTH takes now.
    #[must_use]
    pub fn mechanisms(&self) -> &[Mechanism] {
        if self.takes_logins() { &self.mechanisms } else { &[] }
    }

    /// The lines of the answer to CAPA.
    #[must_use]
    pub fn capabilities(&self) -> Vec<Cow<'static, str>> {
        let mut lines: Vec<Cow<'static, str>> = vec!["TOP".into(), "UIDL".into()];
        if self.takes_logins() {
            lines.push("USER".into());
        }
        // RFC 5034 §3: one line with the mechanisms that can be used now.
        if let [first, others @ ..] = self.mechanisms() {
            let start = format!("SASL {}", first.name());
            lines.push(others.iter().fold(start, |line, other| line + " " + other.name()).into());
        }
        if self.can_begin_tls() {
            lines.push("STLS".into());
        }
        lines.push("RESP-CODES".into());
        // RFC 3206 §5: `[AUTH]` marks every failure of the credentials, so its absence tells too.
        lines.push("AUTH-RESP-CODE".into());
        // RFC 2449 §6.6: a client may send commands without waiting for the answers.
        lines.push("PIPELINING".into());
        lines.push(match self.expiry {
            // RFC 2449 §6.7: NEVER, or how many days a message stays at least.
            Expiry::Never => "EXPIRE NEVER".into(),
            Expiry::Days(days) => format!("EXPIRE {days}").into(),
        });
        // RFC 6856 §2.2: user names and passwords may be UTF-8. They are compared as they come
        // (names without regard to case); SASLprep, which is asked for, would have to be
        // applied on the way in too, and its Unicode is that of 2002.
        lines.push("UTF8 USER".into());
        // RFC 2449 §6.9: without a version, which would only tell an attacker where to look.
        lines.push("IMPLEMENTATION Pillarbox".into());
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::peer::TlsInfo;

    const MECHANISMS: &[Mechanism] = &[Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];

    fn tls() -> Security {
        Security::Tls(TlsInfo { version: "TLSv1.3".into(), cipher: "x".into(), exporter: None })
    }

    // proves: RFC 2449 §6.7
    // proves: RFC 2449 §6.9
    // proves: RFC 3206 §5
    // proves: RFC 6856 §2.2
    #[test]
    fn the_offer_is_what_the_server_can_do() {
        assert_eq!(
            Offer::default().capabilities(),
            [
                "TOP",
                "UIDL",
                "USER",
                "RESP-CODES",
                "AUTH-RESP-CODE",
                "PIPELINING",
                "EXPIRE NEVER",
                "UTF8 USER",
                "IMPLEMENTATION Pillarbox",
            ]
        );
    }

    // proves: RFC 2595 §2.3, §4
    // proves: RFC 5034 §3
    #[test]
    fn logins_and_tls_are_offered_only_where_they_can_be_used() {
        const SASL: &str = "SASL SCRAM-SHA-256 PLAIN LOGIN";
        for (security, stls, plaintext, offered) in [
            (Security::Plain, Stls::Impossible, Plaintext::Allowed, &["USER", SASL][..]),
            (Security::Plain, Stls::Possible, Plaintext::Allowed, &["USER", SASL, "STLS"]),
            (Security::Plain, Stls::Impossible, Plaintext::Refused, &[]),
            (Security::Plain, Stls::Possible, Plaintext::Refused, &["STLS"]),
            (tls(), Stls::Impossible, Plaintext::Allowed, &["USER", SASL]),
            (tls(), Stls::Possible, Plaintext::Allowed, &["USER", SASL]),
            (tls(), Stls::Impossible, Plaintext::Refused, &["USER", SASL]),
            (tls(), Stls::Possible, Plaintext::Refused, &["USER", SASL]),
        ] {
            let offer =
                Offer { security, stls, plaintext, mechanisms: MECHANISMS.into(), expiry: Expiry::Never };
            let mut lines = offer.capabilities();
            lines.retain(|line| line == "USER" || line == "STLS" || line.starts_with("SASL"));
            assert_eq!(lines, offered, "{offer:?}");
        }
    }

    #[test]
    fn the_expiry_is_told_in_days() {
        let offer = Offer { expiry: Expiry::Days(30), ..Offer::default() };
        assert!(offer.capabilities().contains(&"EXPIRE 30".into()));
    }
}
