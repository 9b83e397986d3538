//! PLAIN (RFC 4616): `authzid NUL authcid NUL password` in one message.

use super::{Evidence, Fault, State, Step, Turn, user_name};
use crate::mail::secret::{Credentials, Secret};

/// Takes the one message there is.
pub(super) fn message(message: &[u8]) -> Step {
    // RFC 4616 §2: exactly two NUL, all of it UTF-8, neither name nor password empty.
    let text = std::str::from_utf8(message).map_err(|_| Fault::Malformed)?;
    let mut parts = text.split('\0');
    let (Some(acts_as), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Fault::Malformed);
    };
    let user = user_name(user.as_bytes())?;
    // RFC 4616 §2: who may act for somebody else is for the server to say; here nobody may.
    if password.is_empty() || !(acts_as.is_empty() || *acts_as == *user) {
        return Err(Fault::Malformed);
    }
    let password = Secret::new(password.as_bytes().to_vec());
    Ok((State::Checking, Turn::Check(Evidence::Password(Credentials { user, password }))))
}
