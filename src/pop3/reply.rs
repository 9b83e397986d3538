//! Every sentence this server says in POP3.
//!
//! A [`Reply`] cannot be made elsewhere, none holds anything that the peer wrote (but for the nonce
//! within a challenge of SCRAM, in base64), and the `+OK` that promises deletions needs the store's
//! proof.

use super::command::Syntax;
use super::marks::{Marks, Missing};
use super::offer::Offer;
use crate::mail::ids::{MsgNo, Uid};
use crate::mail::listing::Entry;
use crate::store::outcome::{Error, Expunged};
use crate::wire::dot::Stuffer;
use crate::wire::sasl::Fault;
use bytes::{BufMut, BytesMut};
use std::borrow::Cow;

/// One answer: a status line, and for CAPA the lines below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    status: Status,
    text: Cow<'static, str>,
    list: Option<Vec<Cow<'static, str>>>,
}

/// How an answer begins. The codes in brackets are for programs (RFC 2449 §8, RFC 3206 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok,
    /// More is needed; the text is for a program.
    Challenge,
    Err,
    /// The credentials were wrong: ask the user for others.
    ErrAuth,
    /// The mailbox is held by another session: try again later with the same ones.
    ErrInUse,
    /// A fault of the server that may pass: try again later.
    ErrSysTemp,
    /// A fault of the server that needs its operator.
    ErrSysPerm,
}

impl Status {
    fn text(self) -> &'static str {
        match self {
            Status::Ok => "+OK ",
            // RFC 5034 §4: a challenge begins with + and a space, even when it is empty.
            Status::Challenge => "+ ",
            Status::Err => "-ERR ",
            // RFC 3206 §4: AUTH for credentials only, SYS/TEMP and SYS/PERM for what is our fault.
            Status::ErrAuth => "-ERR [AUTH] ",
            // RFC 2449 §8.1.2: the credentials were right, the mailbox is in use.
            Status::ErrInUse => "-ERR [IN-USE] ",
            Status::ErrSysTemp => "-ERR [SYS/TEMP] ",
            Status::ErrSysPerm => "-ERR [SYS/PERM] ",
        }
    }
}

const fn fixed(status: Status, text: &'static str) -> Reply {
    Reply { status, text: Cow::Borrowed(text), list: None }
}

fn ok(text: String) -> Reply {
    Reply { status: Status::Ok, text: Cow::Owned(text), list: None }
}

impl Reply {
    /// The first line. It has no `<…>`, which would offer APOP, and no version; the name of the host is not
    /// its first word, since it may be an address in brackets.
    #[must_use]
    pub fn greeting(hostname: &str) -> Reply {
        ok(format!("Pillarbox POP3 ready at {hostname}"))
    }

    /// To USER, whatever the name: who exists is told to nobody.
    pub const USER: Reply = fixed(Status::Ok, "now the password");
    /// To NOOP.
    pub const NOOP: Reply = fixed(Status::Ok, "still here");
    /// To UTF8.
    pub const UTF8: Reply = fixed(Status::Ok, "UTF-8 it is");
    /// To QUIT before login.
    pub const BYE: Reply = fixed(Status::Ok, "bye");
    /// To STLS, before the handshake.
    pub const STLS: Reply = fixed(Status::Ok, "begin TLS now");
    /// To STLS where there is no certificate.
    pub const NO_TLS: Reply = fixed(Status::Err, "there is no TLS on this port");
    /// To STLS under TLS.
    pub const ENCRYPTED: Reply = fixed(Status::Err, "this connection is encrypted already");
    /// To USER, PASS and AUTH where a password would cross the network in clear.
    pub const ENCRYPT_FIRST: Reply =
        fixed(Status::ErrAuth, "no login without TLS here: say STLS first, or connect with TLS");
    /// To a mechanism that is not offered here.
    pub const NO_MECHANISM: Reply = fixed(Status::Err, "no such mechanism here, AUTH alone lists them");
    /// To a peer that has failed to log in too often.
    pub const BLOCKED: Reply =
        fixed(Status::ErrSysTemp, "too many failed logins from this address, try again later");
    /// To PASS without USER.
    pub const USER_FIRST: Reply = fixed(Status::Err, "say USER first");
    /// To a command that needs an open mailbox.
    pub const LOGIN_FIRST: Reply = fixed(Status::Err, "log in first, with USER and PASS");
    /// To a command that belongs before the login.
    pub const LOGGED_IN: Reply = fixed(Status::Err, "this belongs before the login, which is done");
    /// The user name or the password is wrong; which of the two is told to nobody.
    pub const DENIED: Reply = fixed(Status::ErrAuth, "wrong user name or password");
    /// Another session has the mailbox.
    pub const IN_USE: Reply = fixed(Status::ErrInUse, "another session has this mailbox open");
    /// To a session whose mailbox a newer one has taken over.
    pub const EVICTED: Reply =
        fixed(Status::ErrSysTemp, "another session has taken the mailbox over, nothing was deleted");
    /// At the end of the server.
    pub const STOPPING: Reply = fixed(Status::ErrSysTemp, "the server is stopping, nothing was deleted");
    /// To a line that is too long.
    pub const LINE_TOO_LONG: Reply = fixed(Status::Err, "line too long");
    /// To a line with a bare LF.
    pub const BARE_NEWLINE: Reply = fixed(Status::Err, "a line ends with CR LF, not with LF alone");
    /// To the last of too many errors.
    pub const TOO_MANY_ERRORS: Reply = fixed(Status::Err, "too many errors, nothing was deleted, bye");
    /// To a connection over the limits: the listener writes it without a session.
    pub const TOO_MANY_CONNECTIONS: &'static [u8] =
        b"-ERR [SYS/TEMP] too many connections, try again later\r\n";

    /// To a line that is no command.
    #[must_use]
    pub fn syntax(fault: Syntax) -> Reply {
        let text = match fault {
            Syntax::Unknown => "unknown command",
            Syntax::NotOffered => "not supported here, log in with USER and PASS",
            Syntax::Missing => "an argument is missing",
            Syntax::Superfluous => "there is an argument too many",
            Syntax::MessageNumber => "a message number is digits only, from 1 to the number of messages",
            Syntax::LineCount => "the number of lines is digits only",
            Syntax::Mechanism => return Reply::NO_MECHANISM,
            Syntax::UserName => "a user name is UTF-8 without control characters",
        };
        fixed(Status::Err, text)
    }

    /// To CAPA.
    #[must_use]
    pub fn capabilities(offer: &Offer) -> Reply {
        let list = Some(offer.capabilities());
        Reply { status: Status::Ok, text: Cow::Borrowed("this server can do"), list }
    }

    /// To AUTH without a mechanism.
    #[must_use]
    pub fn mechanisms(offer: &Offer) -> Reply {
        let list = offer.access.mechanisms().iter().map(|mechanism| mechanism.name().into()).collect();
        Reply { status: Status::Ok, text: Cow::Borrowed("the mechanisms are"), list: Some(list) }
    }

    /// A challenge of SASL, in base64 already.
    #[must_use]
    pub fn challenge(base64: String) -> Reply {
        Reply { status: Status::Challenge, text: Cow::Owned(base64), list: None }
    }

    /// To an exchange that ended without a verdict.
    #[must_use]
    pub fn exchange(fault: Fault) -> Reply {
        let text = match fault {
            Fault::Cancelled => "login cancelled",
            Fault::NotBase64 => "this is not base64",
            Fault::Malformed => "this is not what the mechanism asks for",
            Fault::ChannelBinding => "the channel binding is not that of this connection",
        };
        fixed(Status::Err, text)
    }

    /// To a login that succeeded.
    #[must_use]
    pub fn opened(marks: &Marks) -> Reply {
        ok(format!("logged in, {}", summary(marks)))
    }

    /// To STAT, whose form clients parse (RFC 1939 §5).
    #[must_use]
    pub fn stat(marks: &Marks) -> Reply {
        ok(format!("{} {}", marks.messages(), marks.octets()))
    }

    /// To LIST and UIDL of all, before the list.
    #[must_use]
    pub fn list_follows(marks: &Marks) -> Reply {
        ok(summary(marks))
    }

    /// To LIST of one message.
    #[must_use]
    pub fn size(number: MsgNo, entry: &Entry) -> Reply {
        ok(format!("{number} {}", entry.octets))
    }

    /// To UIDL of one message.
    #[must_use]
    pub fn unique_id(number: MsgNo, uid: Uid) -> Reply {
        ok(format!("{number} {uid}"))
    }

    /// To RETR, before the message: the octets that follow, without stuffing dots and last line.
    #[must_use]
    pub fn message_follows(entry: &Entry) -> Reply {
        ok(format!("{} octets", entry.octets))
    }

    /// To TOP, before the lines.
    #[must_use]
    pub fn top_follows() -> Reply {
        fixed(Status::Ok, "top of the message follows")
    }

    /// To DELE.
    #[must_use]
    pub fn marked(number: MsgNo) -> Reply {
        ok(format!("message {number} will be deleted at QUIT"))
    }

    /// To RSET.
    #[must_use]
    pub fn unmarked(marks: &Marks) -> Reply {
        ok(format!("nothing will be deleted, {}", summary(marks)))
    }

    /// To a number without a message.
    #[must_use]
    pub fn missing(why: Missing) -> Reply {
        match why {
            Missing::NoSuch => fixed(Status::Err, "no such message"),
            Missing::Marked => fixed(Status::Err, "this message is marked deleted"),
        }
    }

    /// To QUIT of an open mailbox: the deletions are on disk, here is the proof.
    #[must_use]
    pub fn updated(expunged: &Expunged) -> Reply {
        match expunged.messages() {
            0 => Reply::BYE,
            1 => fixed(Status::Ok, "1 message deleted, bye"),
            messages => ok(format!("{messages} messages deleted, bye")),
        }
    }

    /// To what the store could not do. Nothing was changed; after a failure of the disk that is not known.
    #[must_use]
    pub fn trouble(error: &Error) -> Reply {
        match error {
            Error::LeaseLost => Reply::EVICTED,
            Error::NoMailbox(_) => fixed(Status::ErrSysPerm, "this mailbox does not exist any more"),
            Error::Gone => fixed(Status::Err, "this message does not exist any more"),
            Error::Broken(_) => fixed(
                Status::ErrSysPerm,
                "the mail store fails; of messages that were marked all are deleted or none, look later",
            ),
            Error::DiskFull => {
                fixed(Status::ErrSysTemp, "the mail store has no room, nothing was deleted, try again later")
            }
            Error::MailboxFull(_) | Error::Unavailable(_) => fixed(
                Status::ErrSysTemp,
                "the mail store is not available, nothing was deleted, try again later",
            ),
        }
    }

    /// Whether it says `+OK`.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.status == Status::Ok
    }

    /// Writes it as it goes over the wire.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_slice(self.status.text().as_bytes());
        out.put_slice(self.text.as_bytes());
        out.put_slice(b"\r\n");
        if let Some(list) = &self.list {
            let mut stuffer = Stuffer::default();
            for line in list {
                stuffer.feed(line.as_bytes(), out);
                stuffer.feed(b"\r\n", out);
            }
            stuffer.finish(out);
        }
    }
}

fn summary(marks: &Marks) -> String {
    match marks.messages() {
        1 => format!("1 message ({} octets)", marks.octets()),
        messages => format!("{messages} messages ({} octets)", marks.octets()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::{Address, DOMAIN_OCTETS_MAX};
    use crate::mail::ids::{Era, MessageId};
    use crate::mail::listing::Listing;

    fn wire(reply: &Reply) -> String {
        let mut out = BytesMut::new();
        reply.encode(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    fn every_reply() -> Vec<Reply> {
        let entry = Entry { id: MessageId(i64::MAX), octets: u64::MAX };
        let number = MsgNo::parse(b"4294967295").unwrap();
        let marks = Marks::new(Listing::new(Era(7), vec![entry]));
        let mailbox = Address::parse("ann@example.org").unwrap().name();
        let mut all = vec![
            Reply::greeting(&"a".repeat(DOMAIN_OCTETS_MAX)),
            Reply::greeting("[IPv6:::1]"),
            Reply::USER,
            Reply::NOOP,
            Reply::UTF8,
            Reply::BYE,
            Reply::STLS,
            Reply::NO_TLS,
            Reply::ENCRYPTED,
            Reply::ENCRYPT_FIRST,
            Reply::NO_MECHANISM,
            Reply::BLOCKED,
            Reply::USER_FIRST,
            Reply::LOGIN_FIRST,
            Reply::LOGGED_IN,
            Reply::DENIED,
            Reply::IN_USE,
            Reply::EVICTED,
            Reply::STOPPING,
            Reply::LINE_TOO_LONG,
            Reply::BARE_NEWLINE,
            Reply::TOO_MANY_ERRORS,
            Reply::opened(&marks),
            Reply::stat(&marks),
            Reply::list_follows(&marks),
            Reply::size(number, &entry),
            Reply::unique_id(number, marks.uid(&entry)),
            Reply::message_follows(&entry),
            Reply::top_follows(),
            Reply::marked(number),
            Reply::unmarked(&marks),
            Reply::missing(Missing::NoSuch),
            Reply::missing(Missing::Marked),
        ];
        all.extend((0..3).map(|n| Reply::updated(&Expunged::pretended(n))));
        let faults = [Syntax::Unknown, Syntax::NotOffered, Syntax::Missing, Syntax::Superfluous];
        all.extend(faults.map(Reply::syntax));
        let faults = [Syntax::MessageNumber, Syntax::LineCount, Syntax::UserName, Syntax::Mechanism];
        all.extend(faults.map(Reply::syntax));
        let faults = [Fault::Cancelled, Fault::NotBase64, Fault::Malformed, Fault::ChannelBinding];
        all.extend(faults.map(Reply::exchange));
        let errors = [
            Error::MailboxFull(mailbox.clone()),
            Error::NoMailbox(mailbox),
            Error::DiskFull,
            Error::LeaseLost,
            Error::Unavailable("secret detail".into()),
            Error::Broken("secret detail".into()),
        ];
        all.extend(errors.iter().map(Reply::trouble));
        all
    }

    // A line has 512 octets at most with its CRLF, and a first `[` is kept for codes.
    #[test]
    fn every_sentence_is_one_short_ascii_line() {
        for reply in every_reply() {
            let text = wire(&reply);
            assert!(text.len() <= 512 && text.is_ascii(), "{text}");
            assert_eq!(text.find("\r\n"), Some(text.len() - 2), "{text}");
            assert!(text.starts_with("+OK ") || text.starts_with("-ERR "), "{text}");
            assert!(!reply.text.starts_with('['), "{text}");
            assert!(!text.contains("secret detail") && !text.contains("ann@"), "{text}");
        }
    }

    // proves: RFC 3206 §4
    // proves: RFC 2449 §8.1.2
    #[test]
    fn codes_tell_a_program_whose_fault_it_is() {
        for (reply, start) in [
            (Reply::DENIED, "-ERR [AUTH] "),
            (Reply::IN_USE, "-ERR [IN-USE] "),
            (Reply::ENCRYPT_FIRST, "-ERR [AUTH] "),
            (Reply::BLOCKED, "-ERR [SYS/TEMP] "),
            (Reply::STOPPING, "-ERR [SYS/TEMP] "),
            (Reply::EVICTED, "-ERR [SYS/TEMP] "),
            (Reply::trouble(&Error::LeaseLost), "-ERR [SYS/TEMP] "),
            (Reply::trouble(&Error::DiskFull), "-ERR [SYS/TEMP] "),
            (Reply::trouble(&Error::Unavailable(String::new())), "-ERR [SYS/TEMP] "),
            (Reply::trouble(&Error::Broken(String::new())), "-ERR [SYS/PERM] "),
        ] {
            assert!(wire(&reply).starts_with(start), "{reply:?}");
        }
    }

    // proves: RFC 5034 §4
    #[test]
    fn a_challenge_is_a_plus_and_a_space_even_when_empty() {
        assert_eq!(wire(&Reply::challenge(String::new())), "+ \r\n");
        assert_eq!(wire(&Reply::challenge("VXNlcjo=".into())), "+ VXNlcjo=\r\n");
    }

    #[test]
    fn the_offer_is_a_list_with_a_dot_at_its_end() {
        let text = wire(&Reply::capabilities(&Offer::default()));
        assert!(text.starts_with("+OK this server can do\r\nTOP\r\n"), "{text}");
        assert!(text.ends_with("\r\nIMPLEMENTATION Pillarbox\r\n.\r\n"), "{text}");
    }
}
