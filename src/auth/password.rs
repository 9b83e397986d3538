//! Password hashes: argon2id.

use crate::mail::secret::Secret;
use argon2::Argon2;
use argon2::password_hash::PasswordHasher;

/// Why a password could not be hashed.
#[derive(Debug, thiserror::Error)]
#[error("the password cannot be hashed: {0}")]
pub struct PasswordError(String);

/// Hashes a password with argon2id (19 MiB, 2 passes, 1 lane) and a new salt, as a PHC string.
///
/// # Errors
/// [`PasswordError`] when the system gives no memory or no randomness.
pub fn hash(password: &Secret) -> Result<String, PasswordError> {
    let hash = Argon2::default().hash_password(password.expose());
    hash.map(|hash| hash.to_string()).map_err(|error| PasswordError(error.to_string()))
}
