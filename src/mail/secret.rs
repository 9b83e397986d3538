//! Passwords: never printed, wiped when dropped.

use std::fmt;
use zeroize::Zeroizing;

/// Octets that no log line, error or debug output ever shows, and that are overwritten on drop.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the octets over; the caller keeps no copy.
    #[must_use]
    pub fn new(octets: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(octets))
    }

    /// The octets, for the one place that hashes or compares them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a client gave to prove who it is.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user name as the client wrote it: untrusted text, escaped wherever it is logged.
    pub user: Box<str>,
    /// The password.
    pub password: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_output_of_credentials_does_not_show_the_password() {
        let shown =
            format!("{:?}", Credentials { user: "ann".into(), password: Secret::new(b"hunter2".to_vec()) });
        assert!(shown.contains("ann") && !shown.contains("hunter2"));
    }
}
