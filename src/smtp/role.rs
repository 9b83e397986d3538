//! The terms of a listener: what it is called and allows, and what it is for, as a table of the differences.
//! Everything else is the same for all.

use super::command::Client;
use crate::mail::address::Address;
use crate::mail::trace::Protocol;

/// What a server is called and what it allows; the same for all sessions of a listener.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The name in the greeting and in `Received:` lines.
    pub hostname: Box<str>,
    /// Where mail for `<postmaster>` without a domain goes.
    pub postmaster: Address,
    /// Largest message in octets.
    pub message_octets_max: u64,
    /// Most recipients of one transaction.
    pub recipients_max: usize,
    /// What the listener is for.
    pub role: Role,
}

/// What a listener is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Mail from anyone for the mailboxes of this server (RFC 5321).
    Mx,
    /// Mail from account holders (RFC 6409).
    Submission,
    /// Mail that another mail server of the same house hands over (RFC 2033).
    Lmtp,
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What it is called in the log.
    pub name: &'static str,
    /// The word for the protocol in the greeting.
    pub greeting: &'static str,
    /// How a session has to begin.
    pub hello: Hello,
    /// Whether AUTH is there.
    pub logins: Logins,
    /// Who may send.
    pub senders: Senders,
    /// What is said at the end of a message.
    pub verdict: Verdict,
    /// What a peer may do only so often.
    pub errors: Errors,
}

/// How a session has to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hello {
    /// With EHLO or HELO.
    Smtp,
    /// With LHLO.
    Lmtp,
}

/// Whether AUTH is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logins {
    /// Never.
    Never,
    /// In open mode alone, for programs that insist on it; it opens nothing.
    OpenMode,
    /// Always.
    Always,
}

/// Who may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Senders {
    /// Anyone, in the name of anyone.
    Anyone,
    /// Who has logged in, from its own addresses. In open mode too: a program that forgets AUTH is
    /// found out before its users are.
    Accounts,
}

/// What is said at the end of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// One reply: kept for all recipients or for none.
    One,
    /// One reply for each recipient that was accepted, in order.
    EachRecipient,
}

/// What counts as an error of the peer; too many of them end the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Errors {
    /// Every refusal that is for good.
    Refusals,
    /// Only to break the rules of the protocol. A server of the same house hands over what the world
    /// sends: to refuse a recipient or a message is no fault of it, and it keeps a connection for long.
    Protocol,
}

impl Role {
    /// What is different for this one.
    #[must_use]
    pub const fn rules(self) -> Rules {
        match self {
            Role::Mx => Rules {
                name: "smtp",
                greeting: "ESMTP",
                hello: Hello::Smtp,
                logins: Logins::OpenMode,
                senders: Senders::Anyone,
                verdict: Verdict::One,
                errors: Errors::Refusals,
            },
            Role::Submission => Rules {
                name: "submission",
                greeting: "ESMTP",
                hello: Hello::Smtp,
                logins: Logins::Always,
                senders: Senders::Accounts,
                verdict: Verdict::One,
                errors: Errors::Refusals,
            },
            Role::Lmtp => Rules {
                name: "lmtp",
                greeting: "LMTP",
                hello: Hello::Lmtp,
                logins: Logins::Never,
                senders: Senders::Anyone,
                verdict: Verdict::EachRecipient,
                errors: Errors::Protocol,
            },
        }
    }
}

impl Hello {
    /// Whether a client that greets so may.
    #[must_use]
    pub fn takes(self, client: &Client) -> bool {
        match client.protocol {
            Protocol::Smtp | Protocol::Esmtp => self == Hello::Smtp,
            Protocol::Lmtp => self == Hello::Lmtp,
        }
    }
}
