//! What follows `MAIL FROM:` and `RCPT TO:`: a path in angle brackets and the parameters after it
//! (RFC 5321 §4.1.1.2, §4.1.1.3, §4.1.2).

use super::syntax::{PathError, Syntax};
use crate::mail::address::{Address, AddressError, Domain, Sender};
use crate::mail::envelope::Charset;

/// The arguments of MAIL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// The reverse-path.
    pub from: Sender,
    /// The alphabet that the path is written in.
    pub written: Charset,
    /// What stands behind the path.
    pub params: MailParams,
}

/// The parameters of MAIL. All of them belong to extensions, so they need EHLO.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParams {
    /// `SIZE=n` in octets (RFC 1870); what does not fit is held as `u64::MAX`.
    pub size: Option<u64>,
    /// `BODY=…` (RFC 6152). Both kinds are kept alike, octet by octet.
    pub body: Option<BodyKind>,
    /// `SMTPUTF8` (RFC 6531).
    pub charset: Charset,
    /// `AUTH=…` (RFC 4954 §5), where AUTH is offered.
    pub submitter: Option<Submitter>,
}

/// Somebody's word for who wrote a message. Well formed, and of no effect: this server trusts no
/// client that far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitter;

impl MailParams {
    /// Whether none was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == MailParams::default()
    }
}

/// What a client says of the octets of its message (RFC 6152 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// `7BIT`
    SevenBit,
    /// `8BITMIME`
    EightBitMime,
}

/// The arguments of RCPT. No extension that is offered gives it parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rcpt {
    /// The forward-path.
    pub to: Forward,
    /// The alphabet that the path is written in.
    pub written: Charset,
}

/// A forward-path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forward {
    /// `<Postmaster>` without a domain, in any case: whoever looks after this server.
    Postmaster,
    /// An address.
    Address(Address),
}

/// Reads what follows `MAIL FROM:`.
pub(super) fn mail(arguments: &str) -> Result<Mail, Syntax> {
    let (path, params) = bracketed(arguments).map_err(Syntax::BadSender)?;
    // RFC 5321 §4.5.5: bounces come with a null reverse-path.
    let from = if path.is_empty() {
        Sender::Null
    } else {
        Sender::Address(
            without_route(path).and_then(Address::parse).map_err(|e| Syntax::BadSender(e.into()))?,
        )
    };
    Ok(Mail { from, written: alphabet(path), params: mail_params(params)? })
}

/// Reads what follows `RCPT TO:`.
pub(super) fn rcpt(arguments: &str) -> Result<Rcpt, Syntax> {
    let (path, params) = bracketed(arguments).map_err(Syntax::BadRecipient)?;
    // RFC 5321 §4.5.1: postmaster is accepted without a domain, whatever its case.
    let to = if path.eq_ignore_ascii_case("postmaster") {
        Forward::Postmaster
    } else {
        let address = without_route(path).and_then(Address::parse);
        Forward::Address(address.map_err(|e| Syntax::BadRecipient(e.into()))?)
    };
    match parameters(params).next() {
        None => Ok(Rcpt { to, written: alphabet(path) }),
        Some(param) => Err(if param.is_sound() { Syntax::UnknownParameter } else { Syntax::BadParameter }),
    }
}

/// Takes `<path>` off the front; returns what is inside and what follows.
fn bracketed(text: &str) -> Result<(&str, &str), PathError> {
    // A quirk that is kept, against the letter of RFC 5321: many clients, and most people who type
    // by hand, write spaces after the colon. They change nothing of the meaning.
    let text = text.trim_start_matches(' ');
    let inner = text.strip_prefix('<').ok_or(PathError::NoBrackets)?;
    let end = closing_bracket(inner).ok_or(PathError::NoBrackets)?;
    let rest = &inner[end + 1..];
    if !rest.is_empty() && !rest.starts_with(' ') {
        return Err(PathError::NoSpace);
    }
    Ok((&inner[..end], rest))
}

/// Where the `>` is that does not stand within quotes.
fn closing_bracket(text: &str) -> Option<usize> {
    let mut quoted = false;
    let mut octets = text.bytes().enumerate();
    while let Some((at, octet)) = octets.next() {
        match octet {
            b'"' => quoted = !quoted,
            b'\\' if quoted => {
                octets.next();
            }
            b'>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// The mailbox of a path whose source route, if it has one, is sound.
fn without_route(path: &str) -> Result<&str, AddressError> {
    if !path.starts_with('@') {
        return Ok(path);
    }
    // RFC 5321 §4.1.1.3: a source route is accepted and has no effect.
    let (route, mailbox) = path.split_once(':').ok_or(AddressError::NoLocalPart)?;
    for hop in route.split(',') {
        Domain::parse(hop.strip_prefix('@').ok_or(AddressError::BadDomain)?)?;
    }
    Ok(mailbox)
}

fn alphabet(text: &str) -> Charset {
    if text.is_ascii() { Charset::Ascii } else { Charset::Utf8 }
}

/// One `keyword` or `keyword=value` (RFC 5321 §4.1.2).
struct Param<'a> {
    keyword: &'a str,
    value: Option<&'a str>,
}

impl Param<'_> {
    /// RFC 5321 §4.1.2 `esmtp-keyword` and `esmtp-value`.
    fn is_sound(&self) -> bool {
        let keyword = self.keyword.as_bytes();
        keyword.first().is_some_and(u8::is_ascii_alphanumeric)
            && keyword.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
            && self.value.is_none_or(|v| !v.is_empty() && !v.contains('='))
    }

    fn is(&self, keyword: &str) -> bool {
        self.keyword.eq_ignore_ascii_case(keyword)
    }
}

fn parameters(text: &str) -> impl Iterator<Item = Param<'_>> {
    text.split(' ').filter(|word| !word.is_empty()).map(|word| match word.split_once('=') {
        Some((keyword, value)) => Param { keyword, value: Some(value) },
        None => Param { keyword: word, value: None },
    })
}

fn mail_params(text: &str) -> Result<MailParams, Syntax> {
    let mut params = MailParams::default();
    for param in parameters(text) {
        if !param.is_sound() {
            return Err(Syntax::BadParameter);
        }
        let repeated = if param.is("SIZE") {
            params.size.replace(size(param.value)?).is_some()
        } else if param.is("BODY") {
            params.body.replace(body_kind(param.value)?).is_some()
        } else if param.is("AUTH") {
            params.submitter.replace(submitter(param.value)?).is_some()
        } else if param.is("SMTPUTF8") {
            if param.value.is_some() {
                return Err(Syntax::BadParameter);
            }
            std::mem::replace(&mut params.charset, Charset::Utf8) == Charset::Utf8
        } else {
            // RFC 5321 §4.1.1.11: a parameter that is not known is refused, never skipped.
            return Err(Syntax::UnknownParameter);
        };
        if repeated {
            return Err(Syntax::RepeatedParameter);
        }
    }
    Ok(params)
}

/// RFC 1870 §4: decimal digits. More of them than fit mean what they say: too big.
fn size(value: Option<&str>) -> Result<u64, Syntax> {
    let digits = value.filter(|v| v.bytes().all(|b| b.is_ascii_digit())).ok_or(Syntax::BadParameter)?;
    Ok(digits.parse().unwrap_or(u64::MAX))
}

/// RFC 4954 §5: `<>` or an address, as xtext (RFC 3461 §4).
fn submitter(value: Option<&str>) -> Result<Submitter, Syntax> {
    let mut octets = value.ok_or(Syntax::BadParameter)?.bytes();
    let is_hex = |digit: Option<u8>| digit.is_some_and(|d| matches!(d, b'0'..=b'9' | b'A'..=b'F'));
    while let Some(octet) = octets.next() {
        let sound = match octet {
            b'+' => is_hex(octets.next()) && is_hex(octets.next()),
            other => other.is_ascii_graphic(),
        };
        if !sound {
            return Err(Syntax::BadParameter);
        }
    }
    Ok(Submitter)
}

/// RFC 6152 §2. `BINARYMIME` (RFC 3030 §3) is not offered, and so not known.
fn body_kind(value: Option<&str>) -> Result<BodyKind, Syntax> {
    match value {
        Some(v) if v.eq_ignore_ascii_case("7BIT") => Ok(BodyKind::SevenBit),
        Some(v) if v.eq_ignore_ascii_case("8BITMIME") => Ok(BodyKind::EightBitMime),
        Some(v) if v.eq_ignore_ascii_case("BINARYMIME") => Err(Syntax::UnknownParameter),
        _ => Err(Syntax::BadParameter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(arguments: &str) -> Result<String, Syntax> {
        mail(arguments).map(|m| m.from.to_string())
    }

    fn recipient(arguments: &str) -> Result<String, Syntax> {
        rcpt(arguments).map(|r| match r.to {
            Forward::Postmaster => "postmaster".to_owned(),
            Forward::Address(address) => address.to_string(),
        })
    }

    // proves: RFC 5321 §4.5.5
    // proves: RFC 5321 §4.1.1.3
    #[test]
    fn reverse_paths_are_read() {
        for (text, from) in [
            ("<>", "<>"),
            (" <>", "<>"),
            ("  <>", "<>"),
            ("<alice@example.org>", "<alice@example.org>"),
            (" <alice@example.org>", "<alice@example.org>"),
            ("<\"a>b\"@example.org>", "<\"a>b\"@example.org>"),
            ("<\"a\\\">b\"@example.org>", "<\"a\\\">b\"@example.org>"),
            ("<user@[127.0.0.1]>", "<user@[127.0.0.1]>"),
            ("<a/./b@x.org>", "<a/./b@x.org>"),
            ("<@relay.example,@b.example:user@x.org>", "<user@x.org>"),
            ("<grün@bücher.example>", "<grün@xn--bcher-kva.example>"),
        ] {
            assert_eq!(sender(text).as_deref(), Ok(from), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_path_is_refused_with_its_reason() {
        let address = |e: AddressError| Err(Syntax::BadSender(PathError::Address(e)));
        for (text, want) in [
            ("", Err(Syntax::BadSender(PathError::NoBrackets))),
            ("alice@example.org", Err(Syntax::BadSender(PathError::NoBrackets))),
            ("<alice@example.org", Err(Syntax::BadSender(PathError::NoBrackets))),
            ("<\"alice@example.org>", Err(Syntax::BadSender(PathError::NoBrackets))),
            ("<alice@example.org>SIZE=1", Err(Syntax::BadSender(PathError::NoSpace))),
            ("<a@x.org>>", Err(Syntax::BadSender(PathError::NoSpace))),
            ("<postmaster>", address(AddressError::NoDomain)),
            ("<a b@x.org>", address(AddressError::BadLocalPart)),
            ("<a@-x.org>", address(AddressError::BadDomain)),
            ("<@x.org>", address(AddressError::NoLocalPart)),
            ("<@x.org:>", address(AddressError::NoDomain)),
            ("<@-x.org:a@x.org>", address(AddressError::BadDomain)),
            ("<@x.org,b.org:a@x.org>", address(AddressError::BadDomain)),
        ] {
            assert_eq!(sender(text), want, "{text}");
        }
    }

    // proves: RFC 5321 §4.5.1
    #[test]
    fn forward_paths_are_read_and_postmaster_needs_no_domain() {
        for (text, to) in [
            ("<Postmaster>", "postmaster"),
            ("<POSTMASTER>", "postmaster"),
            ("<postmaster@example.org>", "postmaster@example.org"),
            ("<\"a@b\"@x.org>", "\"a@b\"@x.org"),
            ("<@a.example:bob@x.org>", "bob@x.org"),
        ] {
            assert_eq!(recipient(text).as_deref(), Ok(to), "{text}");
        }
        let bad = |e| Err(Syntax::BadRecipient(PathError::Address(e)));
        assert_eq!(recipient("<>"), bad(AddressError::NoDomain));
        assert_eq!(recipient("<bob>"), bad(AddressError::NoDomain));
        assert_eq!(recipient("<bob@x.org> NOTIFY=NEVER,SUCCESS"), Err(Syntax::UnknownParameter));
        assert_eq!(recipient("<bob@x.org> ="), Err(Syntax::BadParameter));
    }

    // proves: RFC 5321 §4.1.1.11
    #[test]
    fn parameters_are_read_once_each_and_refused_when_unknown() {
        let params = |text: &str| mail(&format!("<>{text}")).map(|m| m.params);
        let none = MailParams::default();
        let sized = |size| Ok(MailParams { size: Some(size), ..MailParams::default() });
        for (text, want) in [
            ("", Ok(none.clone())),
            ("  ", Ok(none.clone())),
            (" SIZE=0", sized(0)),
            (" size=25", sized(25)),
            (" SIZE=18446744073709551615", sized(u64::MAX)),
            (" SIZE=99999999999999999999999", sized(u64::MAX)),
            (" SIZE=", Err(Syntax::BadParameter)),
            (" SIZE", Err(Syntax::BadParameter)),
            (" SIZE=-1", Err(Syntax::BadParameter)),
            (" SIZE=+1", Err(Syntax::BadParameter)),
            (" SIZE=1k", Err(Syntax::BadParameter)),
            (" SIZE=1 SIZE=1", Err(Syntax::RepeatedParameter)),
            (" BODY=7BIT", Ok(MailParams { body: Some(BodyKind::SevenBit), ..none.clone() })),
            (" body=8bitmime", Ok(MailParams { body: Some(BodyKind::EightBitMime), ..none.clone() })),
            (" BODY=BINARYMIME", Err(Syntax::UnknownParameter)),
            (" BODY=9BIT", Err(Syntax::BadParameter)),
            (" BODY", Err(Syntax::BadParameter)),
            (" BODY=7BIT BODY=8BITMIME", Err(Syntax::RepeatedParameter)),
            (" SMTPUTF8", Ok(MailParams { charset: Charset::Utf8, ..none.clone() })),
            (" SMTPUTF8=1", Err(Syntax::BadParameter)),
            (" SMTPUTF8 SMTPUTF8", Err(Syntax::RepeatedParameter)),
            (" RET=HDRS", Err(Syntax::UnknownParameter)),
            (" AUTH=<>", Ok(MailParams { submitter: Some(Submitter), ..none.clone() })),
            (" auth=e+3Dmc2@x.org", Ok(MailParams { submitter: Some(Submitter), ..none.clone() })),
            (" AUTH=a+3", Err(Syntax::BadParameter)),
            (" AUTH=a+3d", Err(Syntax::BadParameter)),
            (" AUTH=\u{fc}", Err(Syntax::BadParameter)),
            (" AUTH", Err(Syntax::BadParameter)),
            (" AUTH=<> AUTH=<>", Err(Syntax::RepeatedParameter)),
            (" =1", Err(Syntax::BadParameter)),
            (" -X", Err(Syntax::BadParameter)),
            (" X=a=b", Err(Syntax::BadParameter)),
        ] {
            assert_eq!(params(text), want, "{text}");
        }
    }
}
