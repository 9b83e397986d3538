//! What CAPA announces (RFC 2449). It is the same before and after login, so that a client may ask
//! once, whenever it likes.

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

/// What this server can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Offer {
    expiry: Expiry,
}

impl Offer {
    /// What can be done with messages that are kept for `expiry`.
    #[must_use]
    pub fn new(expiry: Expiry) -> Offer {
        Offer { expiry }
    }

    /// The lines of the answer to CAPA.
    #[must_use]
    pub fn capabilities(&self) -> Vec<Cow<'static, str>> {
        let expire = match self.expiry {
            // RFC 2449 §6.7: NEVER, or how many days a message stays at least.
            Expiry::Never => "EXPIRE NEVER".into(),
            Expiry::Days(days) => format!("EXPIRE {days}").into(),
        };
        vec![
            "TOP".into(),
            "UIDL".into(),
            "USER".into(),
            "RESP-CODES".into(),
            // RFC 3206 §5: `[AUTH]` marks every failure of the credentials, so its absence tells too.
            "AUTH-RESP-CODE".into(),
            // RFC 2449 §6.6: a client may send commands without waiting for the answers.
            "PIPELINING".into(),
            expire,
            // RFC 6856 §2.2: user names and passwords may be UTF-8. They are compared as they come
            // (names without regard to case); SASLprep, which is asked for, would have to be
            // applied on the way in too, and its Unicode is that of 2002.
            "UTF8 USER".into(),
            // RFC 2449 §6.9: without a version, which would only tell an attacker where to look.
            "IMPLEMENTATION Pillarbox".into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // proves: RFC 2449 §6.7
    // proves: RFC 2449 §6.9
    // proves: RFC 3206 §5
    // proves: RFC 6856 §2.2
    #[test]
    fn the_offer_is_what_the_server_can_do() {
        let offer = Offer::new(Expiry::Never).capabilities();
        assert_eq!(
            offer,
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

    #[test]
    fn the_expiry_is_told_in_days() {
        assert!(Offer::new(Expiry::Days(30)).capabilities().contains(&"EXPIRE 30".into()));
    }
}
