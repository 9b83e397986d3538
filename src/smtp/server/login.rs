//! What the outside has to say to AUTH: the mechanisms, the verdict, the log.

use super::Driver;
use crate::auth::outcome::{Denied, Verified};
use crate::auth::{Caller, Purpose, report};
use crate::smtp::role::{Logins, Role};
use crate::smtp::session::Session;
use crate::store::accounts::Mode;
use crate::wire::sasl::{Evidence, Mechanism, ScramParameters};
use std::borrow::Cow;

/// The mechanisms of a listener, of those that can be had; strongest first.
pub(super) fn mechanisms(role: Role, mode: Mode, known: &'static [Mechanism]) -> Cow<'static, [Mechanism]> {
    Cow::Borrowed(match (role.rules().logins, mode) {
        (Logins::Never, _) | (Logins::OpenMode, Mode::Closed) => &[],
        (Logins::OpenMode, Mode::Open) | (Logins::Always, _) => known,
    })
}

impl Driver<'_> {
    fn caller<'a>(&'a self, session: &Session) -> Caller<'a> {
        let proto = self.context.terms.role.rules().name;
        let failures_before = session.failed_logins();
        Caller { proto, purpose: Purpose::Sending, peer: &self.peer, failures_before }
    }

    pub(super) async fn parameters(&self, user: &str, session: &Session) -> Result<ScramParameters, Denied> {
        self.context.auth.scram_parameters(user, &self.caller(session)).await
    }

    pub(super) async fn check(&self, evidence: &Evidence, session: &Session) -> Result<Verified, Denied> {
        let caller = self.caller(session);
        let verified = self.context.auth.check(evidence, &caller).await;
        verified.inspect(|it| report::logged_in(&it.login, &session.offer().security, &caller))
    }
}
