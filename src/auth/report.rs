//! The lines of the log on logins, of one form for all protocols.

use super::outcome::{Denied, Login};
use crate::mail::peer::Peer;
use tracing::{error, info, warn};

/// A login was refused, or could not be checked. `proto` is what the listener is for.
pub fn refused(proto: &str, user: &str, denied: &Denied, peer: &Peer) {
    let reason = match denied {
        Denied::Credentials => "wrong user name or password",
        Denied::Blocked => "too many failed logins from this address",
        Denied::Store(fault) => return error!(proto, %fault, user, "a login cannot be checked"),
    };
    // fail2ban reads this line: its form does not change. The address is last, and the user name is
    // escaped, so that no name can forge one.
    warn!(proto, user, reason, ip = %peer, "auth failed");
}

/// Somebody has logged in to send mail.
pub fn logged_in(proto: &str, login: &Login, peer: &Peer) {
    info!(proto, user = login.mailbox().to_string(), ip = %peer, "login");
}
