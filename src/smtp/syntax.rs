//! What can be wrong with a line: `reply` has a sentence for each.

use crate::mail::address::AddressError;

/// Why a line is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// Nothing but spaces.
    Empty,
    /// A control character; a CR that ends nothing is one too.
    Control,
    /// Octets that are not UTF-8.
    NotUtf8,
    /// A word that is no command of SMTP.
    Unknown,
    /// A command of SMTP that this server does not have.
    NotImplemented,
    /// The words of a web browser.
    Web,
    /// The argument is missing.
    NoArgument,
    /// There is an argument where there may be none.
    Argument,
    /// `FROM:` or `TO:` is missing.
    NoKeyword,
    /// A name in EHLO or HELO that does not fit into a `Received:` line.
    BadName,
    /// The path of MAIL.
    BadSender(PathError),
    /// The path of RCPT.
    BadRecipient(PathError),
    /// A parameter that is not well formed.
    BadParameter,
    /// A parameter that no offered extension defines.
    UnknownParameter,
    /// The same parameter twice.
    RepeatedParameter,
    /// BDAT whose octets cannot be counted.
    BadChunk,
}

/// Why a path could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not begin with `<`, or its `>` is missing.
    #[error("it has to stand in angle brackets, as in <user@example.org>")]
    NoBrackets,
    /// Something stands right behind the `>`.
    #[error("a space has to stand between the address and what follows it")]
    NoSpace,
    /// What stands between the brackets.
    #[error(transparent)]
    Address(#[from] AddressError),
}
