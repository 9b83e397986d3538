//! PLAIN (RFC 4616): `authzid NUL authcid NUL password` in one message.

use super::{Evidence, Fault, State, Step, Strictness, Turn, user_name};
use crate::mail::secret::{Credentials, Secret};

/// Takes the one message there is.
pub(super) fn message(message: &[u8], strictness: Strictness) -> Step {
    // RFC 4616 §2: exactly two NUL.
    let mut parts = message.split(|octet| *octet == 0);
    let (Some(acts_as), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Fault::Malformed);
    };
    let user = match strictness {
        Strictness::Full => sound(message, acts_as, user, password)?,
        // Where anybody may act for anybody, it is who acts that counts.
        Strictness::Lax => {
            String::from_utf8_lossy(if acts_as.is_empty() { user } else { acts_as }).as_ref().into()
        }
    };
    let password = Secret::new(password.to_vec());
    Ok((State::Checking, Turn::Check(Evidence::Password(Credentials { user, password }))))
}

/// The user name of a message that an account could have sent.
fn sound(message: &[u8], acts_as: &[u8], user: &[u8], password: &[u8]) -> Result<Box<str>, Fault> {
    // RFC 4616 §2: all of it UTF-8, neither name nor password empty.
    if std::str::from_utf8(message).is_err() || password.is_empty() {
        return Err(Fault::Malformed);
    }
    // RFC 4616 §2: who may act for somebody else is for the server to say; here nobody may.
    if !(acts_as.is_empty() || acts_as == user) {
        return Err(Fault::Malformed);
    }
    user_name(user)
}
