//! What EHLO announces, one line for each extension, and who may log in how. TLS makes another one.
//!
//! PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), CHUNKING
//! (RFC 3030), ENHANCEDSTATUSCODES (RFC 2034), STARTTLS (RFC 3207), AUTH (RFC 4954), LIMITS
//! (RFC 9422) and HELP (RFC 5321 §4.1.1.8).

use super::role::Terms;
use crate::wire::access::Access;

/// Whether the client has logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoggedIn {
    Yes,
    No,
}

/// What a listener can do for one connection, beside what it does for all.
pub type Offer = Access;

/// The extensions of a session under `terms`, in the order in which they are told.
pub(super) fn extensions(offer: &Offer, terms: &Terms, logged_in: LoggedIn) -> Vec<String> {
    let mut lines = vec![
        "PIPELINING".into(),
        format!("SIZE {}", terms.message_octets_max),
        "8BITMIME".into(),
        "SMTPUTF8".into(),
        "CHUNKING".into(),
        "ENHANCEDSTATUSCODES".into(),
    ];
    if offer.can_begin_tls() {
        lines.push("STARTTLS".into());
    }
    if let (LoggedIn::No, [_, ..]) = (logged_in, offer.mechanisms()) {
        let names = offer.mechanisms().iter().map(|mechanism| mechanism.name());
        lines.push(names.fold("AUTH".to_owned(), |line, name| line + " " + name));
    }
    lines.push(format!("LIMITS RCPTMAX={}", terms.recipients_max));
    lines.push("HELP".into());
    lines
}
