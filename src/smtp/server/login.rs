//! What the outside has to say to AUTH: the mechanisms, the random octets, the verdict, the log.

use super::Driver;
use crate::auth::outcome::{Denied, Verified};
use crate::mail::peer::Security;
use crate::smtp::role::{Logins, Role};
use crate::smtp::session::Session;
use crate::store::accounts::Mode;
use crate::store::outcome::Error;
use crate::wire::sasl::{Evidence, Mechanism, ScramParameters};
use std::borrow::Cow;
use tracing::{error, info, warn};

/// The mechanisms of a listener, strongest first.
pub(super) fn mechanisms(role: Role, mode: Mode, security: &Security) -> Cow<'static, [Mechanism]> {
    match (role.rules().logins, mode) {
        (Logins::Never, _) | (Logins::OpenMode, Mode::Closed) => Cow::Borrowed(&[]),
        // A server that takes every password knows none, and SCRAM would have it prove that it does.
        (_, Mode::Open) => Cow::Borrowed(&[Mechanism::Plain, Mechanism::Login]),
        (Logins::Always, Mode::Closed) => Mechanism::offered(security).into(),
    }
}

pub(super) fn nonce() -> Result<[u8; 18], Error> {
    let mut octets = [0; 18];
    match getrandom::fill(&mut octets) {
        Ok(()) => Ok(octets),
        Err(fault) => {
            error!(%fault, "there is no randomness for a login");
            Err(Error::Unavailable(fault.to_string()))
        }
    }
}

impl Driver<'_> {
    pub(super) async fn parameters(&self, user: &str) -> Result<ScramParameters, Denied> {
        let parameters = self.context.auth.scram_parameters(user, &self.peer).await;
        parameters.inspect_err(|denied| self.log_denied(user, denied))
    }

    pub(super) async fn check(&self, evidence: &Evidence, session: &Session) -> Result<Verified, Denied> {
        let user = match evidence {
            Evidence::Password(credentials) => &*credentials.user,
            Evidence::Scram(proof) => &*proof.user,
        };
        let auth = &self.context.auth;
        match auth.check_evidence(evidence, &self.peer, session.failed_logins()).await {
            Ok(verified) => {
                info!(user = verified.login.mailbox().to_string(), ip = %self.peer, "login");
                Ok(verified)
            }
            Err(denied) => {
                self.log_denied(user, &denied);
                Err(denied)
            }
        }
    }

    fn log_denied(&self, user: &str, denied: &Denied) {
        let (proto, ip) = (self.context.terms.role.rules().name, self.peer);
        let reason = match denied {
            Denied::Credentials => "wrong user name or password",
            Denied::Blocked => "too many failed logins from this address",
            Denied::Store(fault) => return error!(%fault, ?user, "a login cannot be checked"),
        };
        // fail2ban reads this line: its form does not change. The address is last, and the user name
        // is escaped, so that no name can forge one.
        warn!(proto, ?user, reason, %ip, "auth failed");
    }
}
