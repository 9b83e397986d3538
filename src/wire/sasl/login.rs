//! LOGIN, as Outlook and printers speak it: the name, then the password, each after a prompt.

use super::{Evidence, Fault, State, Step, Turn, user_name};
use crate::mail::secret::{Credentials, Secret};

/// `Username:`. Some clients know the mechanism by the exact octets of its prompts.
pub(super) const USERNAME: &str = "VXNlcm5hbWU6";
/// `Password:`
const PASSWORD: &str = "UGFzc3dvcmQ6";

/// The name has come.
pub(super) struct Login {
    user: Box<str>,
}

/// Takes the name.
pub(super) fn user(message: &[u8]) -> Step {
    let user = user_name(message)?;
    Ok((State::Login(Login { user }), Turn::Challenge(PASSWORD.to_owned())))
}

impl Login {
    /// Takes the password: any octets but NUL, because no text says which they are.
    pub(super) fn password(self, message: &[u8]) -> Step {
        if message.is_empty() || message.contains(&0) {
            return Err(Fault::Malformed);
        }
        let password = Secret::new(message.to_vec());
        let evidence = Evidence::Password(Credentials { user: self.user, password });
        Ok((State::Checking, Turn::Check(evidence)))
    }
}
