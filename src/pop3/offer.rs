//! What CAPA announces (RFC 2449), and who may log in how. It is the same before and after login, so
//! that a client may ask once, whenever it likes; TLS makes another one.

use crate::wire::access::{Access, Plaintext};
use std::borrow::Cow;

/// How long the server keeps messages, whatever the client does (RFC 2449 §6.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Expiry {
    /// Until the client deletes them.
    #[default]
    Never,
    /// This many days at least; 0 means that a client had better leave nothing here.
    Days(u32),
    /// Nobody can say: the oldest go when there are too many.
    Untold,
}

/// What this server can do for one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// How long messages are kept.
    pub expiry: Expiry,
    /// What protects it, and who may log in how.
    pub access: Access,
}

impl Default for Offer {
    /// USER and PASS, and nothing that depends on TLS or SASL.
    fn default() -> Offer {
        let access = Access { plaintext: Plaintext::Allowed, ..Access::default() };
        Offer { expiry: Expiry::Never, access }
    }
}

impl Offer {
    /// The lines of the answer to CAPA.
    #[must_use]
    pub fn capabilities(&self) -> Vec<Cow<'static, str>> {
        let mut lines: Vec<Cow<'static, str>> = vec!["TOP".into(), "UIDL".into()];
        if self.access.takes_logins() {
            lines.push("USER".into());
        }
        // RFC 5034 §3: one line with the mechanisms that can be used now.
        if let [first, others @ ..] = self.access.mechanisms() {
            let start = format!("SASL {}", first.name());
            lines.push(others.iter().fold(start, |line, other| line + " " + other.name()).into());
        }
        if self.access.can_begin_tls() {
            lines.push("STLS".into());
        }
        lines.push("RESP-CODES".into());
        // RFC 3206 §5: `[AUTH]` marks every failure of the credentials, so its absence tells too.
        lines.push("AUTH-RESP-CODE".into());
        // RFC 2449 §6.6: a client may send commands without waiting for the answers.
        lines.push("PIPELINING".into());
        match self.expiry {
            // RFC 2449 §6.7: NEVER asserts that the server deletes nothing; else the least number of days.
            Expiry::Never => lines.push("EXPIRE NEVER".into()),
            Expiry::Days(days) => lines.push(format!("EXPIRE {days}").into()),
            Expiry::Untold => {}
        }
        // RFC 6856 §2.2: user names and passwords may be UTF-8, before the command UTF8 too.
        lines.push("UTF8 USER".into());
        // RFC 2449 §6.9: without a version, which would only tell an attacker where to look.
        lines.push("IMPLEMENTATION Pillarbox".into());
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::peer::{Security, TlsInfo};
    use crate::wire::access::StartTls;
    use crate::wire::sasl::Mechanism;

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
        for (security, start_tls, plaintext, offered) in [
            (Security::Plain, StartTls::Impossible, Plaintext::Allowed, &["USER", SASL][..]),
            (Security::Plain, StartTls::Possible, Plaintext::Allowed, &["USER", SASL, "STLS"]),
            (Security::Plain, StartTls::Impossible, Plaintext::Refused, &[]),
            (Security::Plain, StartTls::Possible, Plaintext::Refused, &["STLS"]),
            (tls(), StartTls::Impossible, Plaintext::Allowed, &["USER", SASL]),
            (tls(), StartTls::Possible, Plaintext::Allowed, &["USER", SASL]),
            (tls(), StartTls::Impossible, Plaintext::Refused, &["USER", SASL]),
            (tls(), StartTls::Possible, Plaintext::Refused, &["USER", SASL]),
        ] {
            let access =
                Access { security, start_tls, plaintext, mechanisms: MECHANISMS.into(), ..Access::default() };
            let offer = Offer { access, ..Offer::default() };
            let mut lines = offer.capabilities();
            lines.retain(|line| line == "USER" || line == "STLS" || line.starts_with("SASL"));
            assert_eq!(lines, offered, "{offer:?}");
        }
    }

    #[test]
    fn the_expiry_is_told_in_days_or_not_at_all() {
        let offer = |expiry| Offer { expiry, ..Offer::default() };
        assert!(offer(Expiry::Days(30)).capabilities().contains(&"EXPIRE 30".into()));
        assert!(!offer(Expiry::Untold).capabilities().iter().any(|line| line.starts_with("EXPIRE")));
    }
}
