//! LOGIN, as Outlook and printers speak it: the name, then the password, each after a prompt.

use super::{Evidence, Fault, State, Step, Strictness, Turn, user_name};
use crate::mail::secret::{Credentials, Secret};

/// `Username:`. Some clients know the mechanism by the exact octets of its prompts.
pub(super) const USERNAME: &str = "VXNlcm5hbWU6";
/// `Password:`
const PASSWORD: &str = "UGFzc3dvcmQ6";

/// The name has come.
pub(super) struct Login {
    user: Box<str>,
    strictness: Strictness,
}

/// Takes the name.
pub(super) fn user(message: &[u8], strictness: Strictness) -> Step {
    let user = match strictness {
        Strictness::Full => user_name(message)?,
        Strictness::Lax => String::from_utf8_lossy(message).as_ref().into(),
    };
    Ok((State::Login(Login { user, strictness }), Turn::Challenge(PASSWORD.to_owned())))
}

impl Login {
    /// Takes the password: any octets but NUL, because no text says which they are.
    pub(super) fn password(self, message: &[u8]) -> Step {
        if self.strictness == Strictness::Full && (message.is_empty() || message.contains(&0)) {
            return Err(Fault::Malformed);
        }
        let password = Secret::new(message.to_vec());
        let evidence = Evidence::Password(Credentials { user: self.user, password });
        Ok((State::Checking, Turn::Check(evidence)))
    }
}
