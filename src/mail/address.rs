//! Mailbox addresses (RFC 5321 §4.1.2, with the UTF-8 of RFC 6531 §3.3): parse, display, compare.
//!
//! [`Address`] is what a client wrote, [`MailboxName`] is what it is compared by. Quoting belongs
//! to the text only: `"a"@x` and `a@x` are the same address, and `"a@b"@x` never turns into `a@b@x`.
//!
//! Two leniencies, on purpose: a domain may hold `_`, since container networks name hosts so; and dots of a
//! local part may stand anywhere without quotes, since telephone companies gave out such addresses. They
//! are written back with quotes.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use thiserror::Error;

/// Longest local part in octets. RFC 5321 §4.5.3.1.1 asks for at least 64; bounce addresses of
/// mailing lists are longer.
pub const LOCAL_OCTETS_MAX: usize = 256;
/// Longest domain in octets (RFC 5321 §4.5.3.1.2).
pub const DOMAIN_OCTETS_MAX: usize = 255;

/// Why a text is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AddressError {
    /// Nothing before the `@`, or nothing at all.
    #[error("the local part is empty")]
    NoLocalPart,
    /// No `@` outside quotes.
    #[error("the domain is missing")]
    NoDomain,
    /// A character that a local part must quote or may not have.
    #[error("the local part has a character that is not allowed there")]
    BadLocalPart,
    /// A domain that is neither a name nor an address literal.
    #[error("the domain is neither a host name nor an address in brackets")]
    BadDomain,
    /// Longer than [`LOCAL_OCTETS_MAX`] or [`DOMAIN_OCTETS_MAX`].
    #[error("the address is too long")]
    TooLong,
}

/// A domain in the form that is compared: lower-case A-labels, or an address literal.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(Box<str>);

impl Domain {
    /// Reads a host name (ASCII or UTF-8) or an address literal such as `[127.0.0.1]`.
    ///
    /// # Errors
    /// [`AddressError::BadDomain`] or [`AddressError::TooLong`].
    pub fn parse(text: &str) -> Result<Domain, AddressError> {
        if text.len() > DOMAIN_OCTETS_MAX {
            return Err(AddressError::TooLong);
        }
        if let Some(literal) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            return address_literal(literal).map(|l| Domain(l.into())).ok_or(AddressError::BadDomain);
        }
        let name = if text.is_ascii() {
            text.to_ascii_lowercase()
        } else {
            // RFC 6531 §3.3: a U-label is the same domain as its A-label (RFC 5890).
            idna::domain_to_ascii(text).map_err(|_| AddressError::BadDomain)?
        };
        if name.len() > DOMAIN_OCTETS_MAX {
            return Err(AddressError::TooLong);
        }
        if name.split('.').all(is_label) { Ok(Domain(name.into())) } else { Err(AddressError::BadDomain) }
    }

    /// The domain as it is compared and stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// RFC 5321 §4.1.2 `sub-domain`, RFC 1035 §2.3.4 for the 63; `_` as said above.
fn is_label(label: &str) -> bool {
    let edge = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
    let octets = label.as_bytes();
    octets.len() <= 63
        && edge(octets.first())
        && edge(octets.last())
        && octets.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// RFC 5321 §4.1.3, without the general form for which no tag is registered.
fn address_literal(text: &str) -> Option<String> {
    if let Some(v6) = text.get(..5).filter(|t| t.eq_ignore_ascii_case("IPv6:")).and(text.get(5..)) {
        return v6.parse::<Ipv6Addr>().ok().map(|ip| format!("[IPv6:{ip}]"));
    }
    text.parse::<Ipv4Addr>().ok().map(|ip| format!("[{ip}]"))
}

/// A mailbox address as a client wrote it: a local part without its quoting, and a domain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    local: Box<str>,
    domain: Domain,
}

impl Address {
    /// Reads `local@domain`, where the local part may be quoted.
    ///
    /// # Errors
    /// What is wrong with the text, as an [`AddressError`].
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let (local, rest) = local_part(text)?;
        let domain = rest.strip_prefix('@').ok_or(AddressError::NoDomain)?;
        if domain.is_empty() {
            return Err(AddressError::NoDomain);
        }
        Address::new(local, Domain::parse(domain)?)
    }

    /// An address of an unquoted local part and a domain.
    ///
    /// # Errors
    /// [`AddressError::NoLocalPart`], [`AddressError::BadLocalPart`] (a control character) or
    /// [`AddressError::TooLong`].
    pub fn new(local: String, domain: Domain) -> Result<Address, AddressError> {
        if local.is_empty() {
            return Err(AddressError::NoLocalPart);
        }
        // Some letters are longer in lower case, and the name of the mailbox has to be an address too.
        let longest =
            if local.is_ascii() { local.len() } else { local.len().max(local.to_lowercase().len()) };
        if longest > LOCAL_OCTETS_MAX {
            return Err(AddressError::TooLong);
        }
        if local.chars().any(char::is_control) {
            return Err(AddressError::BadLocalPart);
        }
        Ok(Address { local: local.into(), domain })
    }

    /// The local part without quotes, in the case that the client used.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.domain
    }

    /// Whether the text of this address is plain ASCII; if not, it needs SMTPUTF8 (RFC 6531).
    #[must_use]
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii()
    }

    /// The name that this address is compared by: the local part without regard to case.
    #[must_use]
    pub fn name(&self) -> MailboxName {
        MailboxName(Address { local: self.local.to_lowercase().into(), domain: self.domain.clone() })
    }
}

impl fmt::Display for Address {
    /// The local part is quoted when it has to be (RFC 5321 §4.1.2).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_dot_string(&self.local) {
            f.write_str(&self.local)?;
        } else {
            f.write_str("\"")?;
            for c in self.local.chars() {
                if matches!(c, '"' | '\\') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
            f.write_str("\"")?;
        }
        write!(f, "@{}", self.domain)
    }
}

/// The name of a mailbox: an address in the form that is compared, local part in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MailboxName(Address);

impl MailboxName {
    /// The address behind the name.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.0
    }

    /// The domain.
    #[must_use]
    pub fn domain(&self) -> &Domain {
        &self.0.domain
    }

    /// The same mailbox without its tag: `alice+shop` is `alice`'s. `None` where there is no tag,
    /// or nothing before it.
    #[must_use]
    pub fn without_tag(&self, separator: &str) -> Option<MailboxName> {
        if separator.is_empty() {
            return None;
        }
        let (base, _) = self.0.local.split_once(separator)?;
        (!base.is_empty()).then(|| MailboxName(Address { local: base.into(), domain: self.0.domain.clone() }))
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A reverse-path: an address, or the null one of bounces (RFC 5321 §4.5.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// `<>`
    Null,
    /// `<address>`
    Address(Address),
}

impl fmt::Display for Sender {
    /// With its angle brackets, as in `Return-Path:`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Sender::Null => f.write_str("<>"),
            Sender::Address(address) => write!(f, "<{address}>"),
        }
    }
}

/// Takes the local part off the front: its unquoted text, and what follows it.
fn local_part(text: &str) -> Result<(String, &str), AddressError> {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted_string(quoted);
    }
    let end = text.find('@').ok_or(AddressError::NoDomain)?;
    let (local, rest) = text.split_at(end);
    if local.is_empty() {
        return Err(AddressError::NoLocalPart);
    }
    if local.chars().all(|c| c == '.' || is_atext(c)) {
        Ok((local.to_owned(), rest))
    } else {
        Err(AddressError::BadLocalPart)
    }
}

/// RFC 5321 §4.1.2 `Quoted-string`, after its first quote.
fn quoted_string(text: &str) -> Result<(String, &str), AddressError> {
    let mut local = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        let c = match c {
            '"' => return Ok((local, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, escaped @ ' '..='~')) => escaped,
                _ => return Err(AddressError::BadLocalPart),
            },
            other => other,
        };
        if c.is_control() {
            return Err(AddressError::BadLocalPart);
        }
        local.push(c);
    }
    Err(AddressError::BadLocalPart)
}

/// RFC 5321 §4.1.2 `Dot-string`; RFC 6531 §3.3 adds all of UTF-8 above ASCII to `atext`.
fn is_dot_string(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// RFC 5322 §3.2.3.
fn is_atext(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c) || (!c.is_ascii() && !c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Result<String, AddressError> {
        Address::parse(text).map(|a| a.to_string())
    }

    #[test]
    fn addresses_are_read_and_written_back() {
        for (text, back) in [
            ("alice@example.org", "alice@example.org"),
            ("Alice.B+tag@Example.ORG", "Alice.B+tag@example.org"),
            ("\"a@b\"@x.org", "\"a@b\"@x.org"),
            ("\"plain\"@x.org", "plain@x.org"),
            ("\"with space\"@x.org", "\"with space\"@x.org"),
            (r#""q\"uo\\te"@x.org"#, r#""q\"uo\\te"@x.org"#),
            ("user@[127.0.0.1]", "user@[127.0.0.1]"),
            ("user@[IPv6:::1]", "user@[IPv6:::1]"),
            ("user@[ipv6:2001:DB8::1]", "user@[IPv6:2001:db8::1]"),
            ("a/b@x.org", "a/b@x.org"),
            ("grün@bücher.example", "grün@xn--bcher-kva.example"),
            ("root@localhost", "root@localhost"),
            ("root@my_app", "root@my_app"),
            ("a..b@x.org", r#""a..b"@x.org"#),
            ("a.@x.org", r#""a."@x.org"#),
            (".a@x.org", r#"".a"@x.org"#),
        ] {
            assert_eq!(shown(text).as_deref(), Ok(back), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused_with_its_reason() {
        for (text, error) in [
            ("", AddressError::NoDomain),
            ("alice", AddressError::NoDomain),
            ("alice@", AddressError::NoDomain),
            ("@x.org", AddressError::NoLocalPart),
            ("\"\"@x.org", AddressError::NoLocalPart),
            ("a b@x.org", AddressError::BadLocalPart),
            ("a\rb@x.org", AddressError::BadLocalPart),
            ("\"a\nb\"@x.org", AddressError::BadLocalPart),
            ("\"open@x.org", AddressError::BadLocalPart),
            ("\"a\"b@x.org", AddressError::NoDomain),
            ("a@-x.org", AddressError::BadDomain),
            ("a@x-.org", AddressError::BadDomain),
            ("a@x..org", AddressError::BadDomain),
            ("a@x.org.", AddressError::BadDomain),
            ("a@b@x.org", AddressError::BadDomain),
            ("a@x org", AddressError::BadDomain),
            ("a@x.org\r", AddressError::BadDomain),
            ("a@[127.0.0]", AddressError::BadDomain),
            ("a@[IPv6:zz]", AddressError::BadDomain),
        ] {
            assert_eq!(shown(text), Err(error), "{text:?}");
        }
        assert_eq!(shown(&format!("{}@x.org", "a".repeat(257))), Err(AddressError::TooLong));
        assert_eq!(shown(&format!("a@{}", "b.".repeat(128) + "c")), Err(AddressError::TooLong));
    }

    #[test]
    fn names_are_compared_without_case_and_tags_are_taken_off_the_front_part() {
        let name = |t: &str| Address::parse(t).map(|a| a.name());
        assert_eq!(name("ALICE@Example.org"), name("alice@example.ORG"));
        assert_ne!(name("alice@example.org"), name("alice@example.com"));
        let tagged = name("alice+shop+x@example.org").ok();
        assert_eq!(tagged.as_ref().and_then(|n| n.without_tag("+")), name("alice@example.org").ok());
        assert_eq!(tagged.as_ref().and_then(|n| n.without_tag("")), None);
        assert_eq!(name("+x@example.org").ok().and_then(|n| n.without_tag("+")), None);
    }

    #[test]
    fn the_name_of_an_address_is_an_address_also_where_lower_case_is_longer() {
        // This capital has two octets and becomes three.
        let dotted = |letters: usize| Address::parse(&format!("{}@x.org", "\u{130}".repeat(letters)));
        for letters in 1..=128 {
            if let Ok(address) = dotted(letters) {
                let name = address.name();
                assert_eq!(
                    Address::parse(&name.to_string()).map(|again| again.name()),
                    Ok(name),
                    "{letters}"
                );
            }
        }
        assert!(dotted(85).is_ok());
        assert_eq!(dotted(86), Err(AddressError::TooLong));
    }
}
