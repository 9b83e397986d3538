//! The lines of the log on logins, of one form for all protocols.

use super::Caller;
use super::outcome::{Denied, Login};
use crate::mail::peer::Security;
use crate::wire::sasl::Fault;
use tracing::{error, info, warn};

/// A login was refused, or could not be checked.
pub(super) fn refused(user: &str, denied: &Denied, caller: &Caller<'_>) {
    match denied {
        Denied::Credentials => failed(user, "wrong user name or password", caller),
        Denied::Blocked => failed(user, "too many failed logins from this address", caller),
        Denied::Store(fault) => error!(proto = caller.proto, %fault, user, "a login cannot be checked"),
    }
}

/// What a client sent cannot be right for anybody.
pub(super) fn void(fault: Fault, caller: &Caller<'_>) {
    let reason = match fault {
        Fault::ChannelBinding => "a channel binding of another connection",
        Fault::Malformed | Fault::Cancelled | Fault::NotBase64 => "not what the mechanism asks for",
    };
    failed("", reason, caller);
}

fn failed(user: &str, reason: &str, caller: &Caller<'_>) {
    // fail2ban reads this line: its form does not change. The address is last, and the user name is
    // escaped, so that no name can forge one.
    warn!(proto = caller.proto, user, reason, ip = %caller.peer, "auth failed");
}

/// Somebody has logged in to send mail.
pub fn logged_in(login: &Login, security: &Security, caller: &Caller<'_>) {
    let (tls, cipher) = (security.version(), security.cipher());
    info!(proto = caller.proto, user = login.mailbox().to_string(), tls, cipher, ip = %caller.peer, "login");
}
