//! Passwords as the store keeps them: argon2id, as PHC strings.
//!
//! A password is the octets that the client sent. Nothing is normalised: whoever types it in
//! another Unicode form has typed another password, and no table of Unicode can go out of date.
//!
//! Hashing is slow on purpose (some 20 ms and 19 MiB), so both functions block and belong on a
//! thread that may.

use crate::mail::secret::Secret;
use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::{Output, PasswordHash};
use argon2::{Algorithm, Argon2, Block, Params, Version};
use std::fmt::Display;
use thiserror::Error;

/// Memory for one hash in KiB, passes over it, lanes: the least that OWASP recommends.
const MEMORY_KIB: u32 = 19_456;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Stands in for the hash of an account that does not exist, so that it costs the same. Whether a
/// password fits it decides nothing.
pub(super) const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$\
    Tm9ib2R5IGhhcyB0aGlzIQ$C2hWWSJSIcKvTBFmDcEKdcx2sJtMxTWXkGOhj4tQ7Hs";

/// Why a password could not be hashed, or not compared.
#[derive(Debug, Error)]
pub enum HashError {
    /// The text in the store is no hash that this program makes.
    #[error("the stored password hash cannot be read: {0}; give the account a new password")]
    Stored(String),
    /// The system gave no random salt, or no memory.
    #[error("the password cannot be hashed: {0}; try again")]
    Hash(String),
}

/// The allocator of glibc maps an allocation of more than 32 MiB, and gives it back to the system
/// when it is dropped. A smaller one would stay in the heap of whichever thread made it: after a
/// few logins, 19 MiB for each of a dozen threads. What is reserved and not used costs nothing.
const WORKSPACE_BLOCKS_MIN: usize = 33 * 1024 * 1024 / Block::SIZE;

/// Hashes a password with a random salt. Blocks for some 20 ms.
///
/// # Errors
/// [`HashError::Hash`].
pub fn hash(password: &Secret) -> Result<String, HashError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(cannot_hash)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash = argon2.hash_password(password.expose()).map_err(cannot_hash)?;
    Ok(hash.to_string())
}

/// Whether `password` is the one behind `stored`. Compares in constant time. Blocks for some 20 ms.
///
/// # Errors
/// [`HashError::Stored`] when `stored` is no such hash, [`HashError::Hash`] when there is no memory.
pub fn fits(password: &Secret, stored: &str) -> Result<bool, HashError> {
    let hash = PasswordHash::new(stored).map_err(unreadable)?;
    let (Some(salt), Some(expected)) = (&hash.salt, &hash.hash) else {
        return Err(unreadable("the salt or the hash is missing"));
    };
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).map_err(unreadable)?;
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from).map_err(unreadable)?;
    let params = Params::try_from(&hash).map_err(unreadable)?;

    let mut workspace = Vec::new();
    workspace.try_reserve_exact(params.block_count().max(WORKSPACE_BLOCKS_MIN)).map_err(cannot_hash)?;
    workspace.resize(params.block_count(), Block::new());
    let mut found = vec![0; expected.len()];
    Argon2::new(algorithm, version, params)
        .hash_password_into_with_memory(password.expose(), salt, &mut found, &mut workspace[..])
        .map_err(unreadable)?;
    // `Output` compares in constant time.
    Ok(Output::new(&found).map_err(unreadable)? == *expected)
}

fn unreadable(error: impl Display) -> HashError {
    HashError::Stored(error.to_string())
}

fn cannot_hash(error: impl Display) -> HashError {
    HashError::Hash(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn a_password_fits_its_own_hash_and_no_other_does() {
        let stored = hash(&secret(" a sécret ")).unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(fits(&secret(" a sécret "), &stored).unwrap());
        for wrong in ["a sécret", " a secret ", "", " a sécret  "] {
            assert!(!fits(&secret(wrong), &stored).unwrap(), "{wrong}");
        }
        assert_ne!(stored, hash(&secret(" a sécret ")).unwrap(), "the salt is random");
    }

    #[test]
    fn an_account_that_does_not_exist_costs_what_one_costs_that_does() {
        let nobody = PasswordHash::new(NOBODY).unwrap();
        let stored = PasswordHash::new(&hash(&secret("x")).unwrap()).unwrap();
        assert_eq!(nobody.algorithm, stored.algorithm);
        assert_eq!(nobody.version, stored.version);
        assert_eq!(nobody.params.to_string(), stored.params.to_string());
        assert_eq!(nobody.hash.map(|h| h.len()), stored.hash.map(|h| h.len()));
        assert!(!fits(&secret("x"), NOBODY).unwrap());
    }

    #[test]
    fn a_stored_text_that_is_no_hash_is_a_fault_and_no_refusal() {
        for stored in ["", "plain", "$1$abc$def", "$argon2id$v=19$m=19456,t=2,p=1$short"] {
            match fits(&secret("plain"), stored) {
                Err(HashError::Stored(_)) => {}
                Ok(fit) => assert!(!fit && stored.starts_with("$argon2id"), "{stored}"),
                Err(other) => panic!("{stored}: {other}"),
            }
        }
    }
}
