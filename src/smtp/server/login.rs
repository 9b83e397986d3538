//! What the outside has to say to AUTH: the mechanisms, the random octets, the verdict, the log.

use super::Driver;
use crate::auth::outcome::{Denied, Verified};
use crate::auth::report;
use crate::smtp::role::{Logins, Role};
use crate::smtp::session::Session;
use crate::store::accounts::Mode;
use crate::store::outcome::Error;
use crate::wire::sasl::{Evidence, Mechanism, ScramParameters};
use std::borrow::Cow;
use tracing::error;

/// The mechanisms of a listener, of those that can be had; strongest first.
pub(super) fn mechanisms(role: Role, mode: Mode, known: &'static [Mechanism]) -> Cow<'static, [Mechanism]> {
    Cow::Borrowed(match (role.rules().logins, mode) {
        (Logins::Never, _) | (Logins::OpenMode, Mode::Closed) => &[],
        (Logins::OpenMode, Mode::Open) | (Logins::Always, _) => known,
    })
}

/// Random octets for one exchange.
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
                report::logged_in(self.context.terms.role.rules().name, &verified.login, &self.peer);
                Ok(verified)
            }
            Err(denied) => {
                self.log_denied(user, &denied);
                Err(denied)
            }
        }
    }

    fn log_denied(&self, user: &str, denied: &Denied) {
        report::refused(self.context.terms.role.rules().name, user, denied, &self.peer);
    }
}
