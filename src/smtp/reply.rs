//! Every sentence that this server says over SMTP, with its code and enhanced code.
//!
//! No other file can make a [`Reply`], so this one shows, and one test holds, all there is to say.
//! RFC 2034 §4: the enhanced code stands in every 2xx, 4xx and 5xx reply but the greeting and the
//! answers to EHLO, HELO and LHLO. Codes: RFC 5321 §4.2.3, RFC 3463 with its IANA registry.

use super::intake::BodyFault;
use super::role::{Hello, Role};
use super::syntax::Syntax;
use crate::store::outcome::{Error, Receipt};
use crate::wire::sasl::Fault;
use bytes::{BufMut, BytesMut};
use std::borrow::Cow;

/// What a connection over the limits is told instead of a greeting. It never becomes a session.
pub const TOO_MANY_CONNECTIONS: &[u8] = b"421 4.7.0 too many connections, try again later\r\n";

/// One reply, of one or several lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    /// Empty where RFC 2034 wants none.
    enhanced: &'static str,
    /// Its lines, separated by LF.
    text: Cow<'static, str>,
}

const fn fixed(code: u16, enhanced: &'static str, text: &'static str) -> Reply {
    Reply { code, enhanced, text: Cow::Borrowed(text) }
}

fn told(code: u16, enhanced: &'static str, text: String) -> Reply {
    // RFC 5321 §4.5.3.1.5: a line of a reply has at most 512 octets. So nothing that a client said
    // is repeated, which also leaves no way to make the server say a forged line.
    Reply { code, enhanced, text: Cow::Owned(text) }
}

impl Reply {
    pub(super) const OK: Reply = fixed(250, "2.0.0", "ok");
    pub(super) const SENDER_OK: Reply = fixed(250, "2.1.0", "sender ok");
    pub(super) const RECIPIENT_OK: Reply = fixed(250, "2.1.5", "recipient ok");
    pub(super) const SEND_DATA: Reply = fixed(354, "", "send the message, end it with CRLF.CRLF");
    pub(super) const BYE: Reply = fixed(221, "2.0.0", "bye");
    pub(super) const NOT_VERIFIED: Reply =
        fixed(252, "2.5.2", "cannot tell, send a message and see whether its recipient is accepted");
    pub(super) const NO_LISTS: Reply = fixed(502, "5.5.1", "lists are not expanded here");

    pub(super) const TLS_NEXT: Reply = fixed(220, "2.0.0", "begin TLS now");
    pub(super) const ENCRYPTED: Reply = fixed(503, "5.5.1", "this connection is encrypted already");
    pub(super) const NOT_OFFERED: Reply = fixed(502, "5.5.1", "not offered here");

    pub(super) const LOGGED_IN: Reply = fixed(235, "2.7.0", "logged in");
    pub(super) const LOGGED_IN_BEFORE: Reply = fixed(503, "5.5.1", "logged in already");
    pub(super) const NO_AUTH_NOW: Reply =
        fixed(503, "5.5.1", "a transaction is under way, send AUTH before or after it");
    pub(super) const NO_MECHANISM: Reply = fixed(504, "5.5.4", "no such mechanism here, EHLO lists them");
    pub(super) const RESPONSE_TOO_LONG: Reply = fixed(500, "5.5.6", "the response is too long");
    pub(super) const ENCRYPT_FIRST: Reply =
        fixed(538, "5.7.11", "no login without TLS here, send STARTTLS first or connect with TLS");
    /// The same for an unknown account and a wrong password.
    pub(super) const DENIED: Reply = fixed(535, "5.7.8", "wrong user name or password");
    pub(super) const TOO_MANY_LOGINS: Reply = fixed(421, "4.7.0", "too many failed logins, try again later");
    pub(super) const TLS_FIRST: Reply = fixed(530, "5.7.0", "must issue a STARTTLS command first, then AUTH");
    pub(super) const AUTH_FIRST: Reply =
        fixed(530, "5.7.0", "authentication required, send AUTH before MAIL");
    pub(super) const NOT_YOURS: Reply =
        fixed(550, "5.7.1", "the address is not yours to send from; it has to be one of your account");

    pub(super) const EHLO_FIRST: Reply = fixed(503, "5.5.1", "send EHLO first");
    pub(super) const MAIL_FIRST: Reply = fixed(503, "5.5.1", "send MAIL first");
    /// What was sent ahead, for a transaction that is refused: no error of its own.
    pub(super) const FAILED: Reply =
        fixed(503, "5.5.1", "this transaction is refused, begin another one with MAIL");
    pub(super) const RCPT_FIRST: Reply = fixed(503, "5.5.1", "send RCPT first");
    pub(super) const NESTED_MAIL: Reply =
        fixed(503, "5.5.1", "a transaction is under way, send RSET before another MAIL");
    pub(super) const IN_CHUNKS: Reply =
        fixed(503, "5.5.1", "a message is under way in chunks, send BDAT or RSET");
    pub(super) const NO_VALID_RECIPIENTS: Reply = fixed(554, "5.5.1", "no recipient was accepted");
    /// RFC 2033 wants another code.
    pub(super) const NO_LMTP_RECIPIENTS: Reply = fixed(503, "5.5.1", "no recipient was accepted");

    pub(super) const EHLO_FOR_PARAMETERS: Reply =
        fixed(555, "5.5.4", "parameters need EHLO, and this session began with HELO");
    pub(super) const NEEDS_SMTPUTF8: Reply =
        fixed(553, "5.6.7", "an address that is not ASCII needs SMTPUTF8 in MAIL");

    pub(super) const NOT_OURS: Reply =
        fixed(550, "5.7.1", "not a domain of this server, which sends no mail on (relaying denied)");
    pub(super) const NO_MAILBOX: Reply = fixed(550, "5.1.1", "no such mailbox here");
    pub(super) const MAILBOX_FULL: Reply = fixed(452, "4.2.2", "the mailbox is full");
    pub(super) const TOO_MANY_RECIPIENTS: Reply =
        fixed(452, "4.5.3", "too many recipients, send the message to the others in another transaction");

    pub(super) const LINE_TOO_LONG: Reply = fixed(500, "5.5.2", "line too long");
    pub(super) const BARE_NEWLINE: Reply =
        fixed(500, "5.5.2", "a line ends with CRLF, LF alone does not end it");

    pub(super) const TOO_MANY_ERRORS: Reply = fixed(421, "4.7.0", "too many errors, closing");
    pub(super) const STOPPING: Reply = fixed(421, "4.3.2", "the server is shutting down, try again later");
    pub(super) const TIMEOUT: Reply = fixed(421, "4.4.2", "timeout, closing");
    pub(super) const OUT_OF_STEP: Reply =
        fixed(421, "4.7.0", "what follows cannot be told from commands, closing");
    pub(super) const CONFUSED: Reply = fixed(421, "4.3.0", "internal error, closing");

    /// The first words of a session (RFC 5321 §4.2). They tell no version.
    pub(super) fn greeting(hostname: &str, role: Role) -> Reply {
        told(220, "", format!("{hostname} {} Pillarbox", role.rules().greeting))
    }

    /// To HELP.
    pub(super) fn help(hello: Hello) -> Reply {
        match hello {
            Hello::Smtp => fixed(
                214,
                "2.0.0",
                "commands: EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\n\
                 how they work: RFC 5321, https://www.rfc-editor.org/rfc/rfc5321",
            ),
            Hello::Lmtp => fixed(
                214,
                "2.0.0",
                "commands: LHLO MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT\n\
                 how they work: RFC 2033, https://www.rfc-editor.org/rfc/rfc2033",
            ),
        }
    }

    /// To a command that has to wait for the greeting of the client.
    pub(super) fn hello_first(hello: Hello) -> Reply {
        match hello {
            Hello::Smtp => fixed(503, "5.5.1", "send EHLO or HELO first"),
            Hello::Lmtp => fixed(503, "5.5.1", "send LHLO first"),
        }
    }

    /// To a greeting of the other protocol.
    pub(super) fn other_hello(hello: Hello) -> Reply {
        match hello {
            Hello::Smtp => Reply::NOT_OFFERED,
            // RFC 2033 §4.1: EHLO and HELO are answered with 500.
            Hello::Lmtp => fixed(500, "5.5.1", "this is LMTP, send LHLO"),
        }
    }

    /// A challenge of SASL, in base64 already.
    pub(super) fn challenge(base64: String) -> Reply {
        told(334, "", base64)
    }

    /// To an exchange of SASL that ended without a verdict.
    pub(super) fn exchange(fault: Fault) -> Reply {
        match fault {
            Fault::Cancelled => fixed(501, "5.7.0", "login cancelled"),
            Fault::NotBase64 => fixed(501, "5.5.2", "this is not base64"),
            Fault::Malformed => fixed(501, "5.5.2", "this is not what the mechanism asks for"),
            Fault::ChannelBinding => {
                fixed(535, "5.7.8", "the channel binding is not that of this connection")
            }
        }
    }

    /// To a login that could not be checked. As every trouble of the store, it may pass.
    pub(super) fn login_trouble() -> Reply {
        fixed(454, "4.7.0", "logins cannot be checked at the moment, try again later")
    }

    /// The answer to EHLO, HELO or LHLO: the server's name, then a line for each extension.
    pub(super) fn hello(hostname: &str, extensions: &[String]) -> Reply {
        let mut text = hostname.to_owned();
        for extension in extensions {
            text.push('\n');
            text.push_str(extension);
        }
        told(250, "", text)
    }

    /// The only 250 that ends a message: it takes the proof that the message is on disk.
    #[must_use]
    pub fn accepted(receipt: &Receipt) -> Reply {
        told(250, "2.0.0", format!("queued as {}", receipt.queue_id()))
    }

    /// A chunk that is not the last was taken (RFC 3030 §2).
    pub(super) fn chunk_taken(octets: u64) -> Reply {
        told(250, "2.0.0", format!("{octets} octets received"))
    }

    /// A message that is, or would be, larger than `octets_max`.
    pub(super) fn too_big(octets_max: u64) -> Reply {
        told(552, "5.3.4", format!("message too big, the limit is {octets_max} octets"))
    }

    /// The store could not do what it was asked: the only way from its errors to a code. All of
    /// them may pass, so all say "try again".
    #[must_use]
    pub fn trouble(error: &Error) -> Reply {
        match error {
            Error::MailboxFull(_) => Reply::MAILBOX_FULL,
            // The recipient was there at RCPT. The next try tells it there, and spares the others.
            Error::NoMailbox(_) => fixed(451, "4.2.1", "a mailbox has just gone, try again"),
            Error::DiskFull => fixed(452, "4.3.1", "no room to keep mail, try again later"),
            Error::LeaseLost | Error::Gone | Error::Unavailable(_) | Error::Broken(_) => {
                fixed(451, "4.3.0", "mail cannot be kept at the moment, try again later")
            }
        }
    }

    /// A message that was read to its end and is refused all the same.
    pub(super) fn fault(fault: &BodyFault, octets_max: u64) -> Reply {
        match fault {
            BodyFault::TooBig => Reply::too_big(octets_max),
            BodyFault::HeaderTooBig => fixed(552, "5.3.4", "the header is too big, the limit is 1 MiB"),
            BodyFault::BareNewline => fixed(
                550,
                "5.6.11",
                "a CR or LF stands alone in the message, and servers disagree on what that means; \
                 end each line with CRLF",
            ),
            BodyFault::Loop => fixed(554, "5.4.6", "too many Received lines, the message goes in a circle"),
            BodyFault::Store(error) => Reply::trouble(error),
        }
    }

    /// A line that is no command.
    pub(super) fn syntax(fault: &Syntax) -> Reply {
        match fault {
            Syntax::Empty => fixed(500, "5.5.2", "an empty line is no command"),
            Syntax::Control => fixed(500, "5.5.2", "a command has no control characters"),
            Syntax::NotUtf8 => fixed(500, "5.5.2", "a command is ASCII or UTF-8"),
            Syntax::Unknown => fixed(500, "5.5.2", "no such command"),
            Syntax::NotImplemented => Reply::NOT_OFFERED,
            Syntax::Web => fixed(421, "4.7.0", "this is a mail server, closing"),
            Syntax::NoArgument => fixed(501, "5.5.4", "the argument is missing"),
            Syntax::Argument => fixed(501, "5.5.4", "the command takes no argument"),
            Syntax::NoKeyword => fixed(501, "5.5.4", "write MAIL FROM:<address> or RCPT TO:<address>"),
            Syntax::BadName => fixed(501, "5.5.4", "give the name of your host, or its address in brackets"),
            Syntax::BadSender(why) => told(501, "5.1.7", format!("bad sender: {why}")),
            Syntax::BadRecipient(why) => told(501, "5.1.3", format!("bad recipient: {why}")),
            Syntax::BadParameter => fixed(501, "5.5.4", "a parameter is not well formed"),
            Syntax::UnknownParameter => fixed(555, "5.5.4", "a parameter is not known"),
            Syntax::RepeatedParameter => fixed(501, "5.5.4", "a parameter stands twice"),
            Syntax::BadChunk => fixed(501, "5.5.4", "write BDAT size [LAST]"),
        }
    }

    /// The code, such as 250.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// What it says, with the enhanced code, lines separated by LF; for the log.
    #[must_use]
    pub fn text(&self) -> String {
        if self.enhanced.is_empty() {
            self.text.to_string()
        } else {
            format!("{} {}", self.enhanced, self.text)
        }
    }

    /// Whether it refuses for good, and not only because of what was refused before.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.code >= 500 && *self != Reply::FAILED
    }

    /// Whether it refuses a command that is no command, is in the wrong place or has a wrong
    /// argument; but not an address, nor DATA of a client that has named recipients, of which none was
    /// accepted.
    #[must_use]
    pub fn is_protocol_error(&self) -> bool {
        let is_about_mail = self.enhanced.starts_with("5.1.") || *self == Reply::NO_LMTP_RECIPIENTS;
        self.is_error() && self.code <= 504 && !is_about_mail
    }

    /// Whether it refuses, for now or for good.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.code >= 400
    }

    /// Writes it as it goes over the wire (RFC 5321 §4.2.1).
    pub fn encode(&self, out: &mut BytesMut) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(line) = lines.next() {
            out.put_slice(self.code.to_string().as_bytes());
            out.put_u8(if lines.peek().is_some() { b'-' } else { b' ' });
            if !self.enhanced.is_empty() {
                // RFC 2034 §4: in a reply of several lines each has the code.
                out.put_slice(self.enhanced.as_bytes());
                out.put_u8(b' ');
            }
            out.put_slice(line.as_bytes());
            out.put_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::{Address, AddressError};
    use crate::mail::ids::QueueId;
    use crate::smtp::syntax::PathError;

    fn wire(reply: &Reply) -> String {
        let mut out = BytesMut::new();
        reply.encode(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn replies_of_roles_tls_and_auth() -> Vec<Reply> {
        let mut all = vec![
            Reply::help(Hello::Smtp),
            Reply::help(Hello::Lmtp),
            Reply::NOT_OFFERED,
            Reply::hello_first(Hello::Smtp),
            Reply::hello_first(Hello::Lmtp),
            Reply::other_hello(Hello::Lmtp),
            Reply::EHLO_FIRST,
            Reply::NO_LMTP_RECIPIENTS,
            Reply::TLS_NEXT,
            Reply::ENCRYPTED,
            Reply::LOGGED_IN,
            Reply::LOGGED_IN_BEFORE,
            Reply::NO_AUTH_NOW,
            Reply::NO_MECHANISM,
            Reply::RESPONSE_TOO_LONG,
            Reply::ENCRYPT_FIRST,
            Reply::DENIED,
            Reply::TOO_MANY_LOGINS,
            Reply::TLS_FIRST,
            Reply::AUTH_FIRST,
            Reply::NOT_YOURS,
            Reply::challenge("VXNlcm5hbWU6".into()),
            Reply::login_trouble(),
        ];
        let exchange = [Fault::Cancelled, Fault::NotBase64, Fault::Malformed, Fault::ChannelBinding];
        all.extend(exchange.map(Reply::exchange));
        all
    }

    fn every_reply() -> Vec<Reply> {
        let mailbox = || Address::parse("a@x.org").unwrap().name();
        let errors = [
            Error::MailboxFull(mailbox()),
            Error::NoMailbox(mailbox()),
            Error::DiskFull,
            Error::LeaseLost,
            Error::Unavailable("x".into()),
            Error::Broken("x".into()),
        ];
        let faults = [BodyFault::TooBig, BodyFault::HeaderTooBig, BodyFault::BareNewline, BodyFault::Loop];
        let syntax = [
            Syntax::Empty,
            Syntax::Control,
            Syntax::NotUtf8,
            Syntax::Unknown,
            Syntax::NotImplemented,
            Syntax::Web,
            Syntax::NoArgument,
            Syntax::Argument,
            Syntax::NoKeyword,
            Syntax::BadName,
            Syntax::BadSender(PathError::NoBrackets),
            Syntax::BadSender(PathError::NoSpace),
            Syntax::BadRecipient(PathError::Address(AddressError::BadLocalPart)),
            Syntax::BadParameter,
            Syntax::UnknownParameter,
            Syntax::RepeatedParameter,
            Syntax::BadChunk,
        ];
        let mut all = vec![
            Reply::OK,
            Reply::SENDER_OK,
            Reply::RECIPIENT_OK,
            Reply::SEND_DATA,
            Reply::BYE,
            Reply::NOT_VERIFIED,
            Reply::NO_LISTS,
            Reply::MAIL_FIRST,
            Reply::FAILED,
            Reply::OUT_OF_STEP,
            Reply::RCPT_FIRST,
            Reply::NESTED_MAIL,
            Reply::IN_CHUNKS,
            Reply::NO_VALID_RECIPIENTS,
            Reply::EHLO_FOR_PARAMETERS,
            Reply::NEEDS_SMTPUTF8,
            Reply::NOT_OURS,
            Reply::NO_MAILBOX,
            Reply::MAILBOX_FULL,
            Reply::TOO_MANY_RECIPIENTS,
            Reply::LINE_TOO_LONG,
            Reply::BARE_NEWLINE,
            Reply::TOO_MANY_ERRORS,
            Reply::STOPPING,
            Reply::TIMEOUT,
            Reply::CONFUSED,
            Reply::greeting("mx.example.org", Role::Mx),
            Reply::hello("mx.example.org", &["PIPELINING".into(), "8BITMIME".into()]),
            Reply::accepted(&Receipt::pretended(QueueId::from_random(0))),
            Reply::chunk_taken(u64::MAX),
            Reply::too_big(u64::MAX),
        ];
        all.extend(replies_of_roles_tls_and_auth());
        all.extend(errors.iter().map(Reply::trouble));
        all.extend(faults.iter().map(|fault| Reply::fault(fault, u64::MAX)));
        all.extend(syntax.iter().map(Reply::syntax));
        all
    }

    // proves: RFC 2034 §4
    // proves: RFC 5321 §4.5.3.1.5
    #[test]
    fn each_reply_has_a_code_of_its_class_and_lines_that_every_client_can_read() {
        for reply in every_reply() {
            let class = reply.code / 100;
            assert!((200..600).contains(&reply.code), "{reply:?}");
            if !reply.enhanced.is_empty() {
                assert!(reply.enhanced.starts_with(&format!("{class}.")), "{reply:?}");
                assert_eq!(reply.enhanced.split('.').filter(|n| n.parse::<u16>().is_ok()).count(), 3);
            } else {
                assert!(matches!(reply.code, 220 | 250 | 334 | 354), "{reply:?}");
            }
            let text = wire(&reply);
            let lines: Vec<&str> = text.split_terminator("\r\n").collect();
            for (at, line) in lines.iter().enumerate() {
                assert!(line.len() <= 510 && line.bytes().all(|b| (b' '..=b'~').contains(&b)), "{line:?}");
                let dash = if at + 1 == lines.len() { " " } else { "-" };
                assert!(line.starts_with(&format!("{}{dash}{}", reply.code, reply.enhanced)), "{line:?}");
            }
        }
    }

    #[test]
    fn replies_look_as_the_standard_wants_them() {
        let receipt = Receipt::pretended(QueueId::from_random(0));
        assert_eq!(wire(&Reply::accepted(&receipt)), "250 2.0.0 queued as 000000000000\r\n");
        assert_eq!(
            wire(&Reply::greeting("mx.example.org", Role::Submission)),
            "220 mx.example.org ESMTP Pillarbox\r\n"
        );
        let greeting = Reply::greeting("mx.example.org", Role::Lmtp);
        assert_eq!(wire(&greeting), "220 mx.example.org LMTP Pillarbox\r\n");
        assert_eq!(wire(&Reply::challenge(String::new())), "334 \r\n");
        let ehlo = Reply::hello("mx.example.org", &["PIPELINING".into(), "SIZE 10".into()]);
        assert_eq!(wire(&ehlo), "250-mx.example.org\r\n250-PIPELINING\r\n250 SIZE 10\r\n");
        assert!(wire(&Reply::help(Hello::Smtp)).starts_with("214-2.0.0 commands"));
        assert_eq!(wire(&Reply::trouble(&Error::DiskFull)).split(' ').nth(1), Some("4.3.1"));
        assert!(TOO_MANY_CONNECTIONS.starts_with(b"421 4.7.0 ") && TOO_MANY_CONNECTIONS.ends_with(b"\r\n"));
    }
}
