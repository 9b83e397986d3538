//! What EHLO announces, one line for each extension.
//!
//! PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531), CHUNKING
//! (RFC 3030), ENHANCEDSTATUSCODES (RFC 2034), LIMITS (RFC 9422) and HELP (RFC 5321 §4.1.1.8).

use super::session::Terms;

/// The extensions of a session under `terms`, in the order in which they are told.
pub(super) fn extensions(terms: &Terms) -> Vec<String> {
    vec![
        "PIPELINING".into(),
        format!("SIZE {}", terms.message_octets_max),
        "8BITMIME".into(),
        "SMTPUTF8".into(),
        "CHUNKING".into(),
        "ENHANCEDSTATUSCODES".into(),
        format!("LIMITS RCPTMAX={}", terms.recipients_max),
        "HELP".into(),
    ]
}
