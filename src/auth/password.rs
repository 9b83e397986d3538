//! Passwords as the store keeps them: argon2id, as PHC strings, and the keys of SCRAM.
//!
//! A password is prepared by SASLprep (RFC 4013), when it is set and when it is compared, because
//! SCRAM's clients do so too. One that SASLprep forbids, or that is no UTF-8, counts octet for
//! octet; SCRAM cannot carry it. ASCII is never changed.
//!
//! Hashing is slow on purpose (some 20 ms and 19 MiB), so both public functions block and belong on
//! a thread that may.

use super::scram;
use crate::mail::secret::Secret;
use crate::store::accounts::StoredPassword;
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

/// What to keep of a new password, all salts random. Blocks for some 50 ms.
///
/// # Errors
/// [`HashError::Hash`].
pub fn stored(password: &Secret) -> Result<StoredPassword, HashError> {
    match prepared(password) {
        Some(prepared) => {
            let mut salt = [0; scram::SALT_OCTETS];
            getrandom::fill(&mut salt).map_err(cannot_hash)?;
            let scram = Some(scram::new_keys(&prepared, &salt));
            Ok(StoredPassword { phc: hash(&prepared)?, scram })
        }
        None => Ok(StoredPassword { phc: hash(password)?, scram: None }),
    }
}

/// The password in the form in which it is hashed; `None` when it has no such form.
fn prepared(password: &Secret) -> Option<Secret> {
    let text = std::str::from_utf8(password.expose()).ok()?;
    // RFC 4013 §2: mapping, normalisation, and what is prohibited.
    let prepared = stringprep::saslprep(text).ok()?;
    (!prepared.is_empty()).then(|| Secret::new(prepared.into_owned().into_bytes()))
}

fn hash(password: &Secret) -> Result<String, HashError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(cannot_hash)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash = argon2.hash_password(password.expose()).map_err(cannot_hash)?;
    Ok(hash.to_string())
}

/// Whether `password` is the one behind `stored`, a PHC string. Compares in constant time. Blocks for
/// some 20 ms; twice as long for a password that is wrong and that preparing changes, because
/// hashes from before schema version 2 are of passwords as they came.
///
/// # Errors
/// [`HashError::Stored`] when `stored` is no such hash, [`HashError::Hash`] when there is no memory.
pub fn fits(password: &Secret, stored: &str) -> Result<bool, HashError> {
    match prepared(password) {
        Some(prepared) if prepared.expose() != password.expose() => {
            Ok(octets_fit(&prepared, stored)? || octets_fit(password, stored)?)
        }
        _ => octets_fit(password, stored),
    }
}

fn octets_fit(password: &Secret, stored: &str) -> Result<bool, HashError> {
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
    fn the_same_password_twice_has_keys_with_salts_of_their_own() {
        let salt = || stored(&secret("sesame")).unwrap().scram.unwrap().salt;
        assert_ne!(salt(), salt());
    }

    // proves: RFC 4013 §2
    #[test]
    fn the_form_in_which_a_password_was_typed_does_not_matter() {
        let set = |text: &str| stored(&secret(text)).unwrap();
        // Composed and decomposed; a space that is not ASCII's; a soft hyphen.
        for (one, other) in [("s\u{e9}same", "se\u{301}same"), ("a\u{a0}b", "a b"), ("a\u{ad}b", "ab")] {
            assert!(fits(&secret(other), &set(one).phc).unwrap(), "{one}");
            assert!(fits(&secret(one), &set(other).phc).unwrap(), "{other}");
            assert!(set(one).scram.is_some());
        }
    }

    #[test]
    fn a_password_without_a_prepared_form_counts_octet_for_octet_and_has_no_scram_keys() {
        for octets in [b"s\xe9same".as_slice(), b"bell\x07", "\u{ad}".as_bytes(), "\u{e000}x".as_bytes()] {
            let password = Secret::new(octets.to_vec());
            let kept = stored(&password).unwrap();
            assert_eq!(kept.scram, None, "{octets:?}");
            assert!(fits(&password, &kept.phc).unwrap(), "{octets:?}");
            assert!(!fits(&secret("sesame"), &kept.phc).unwrap());
        }
    }

    #[test]
    fn a_hash_from_before_passwords_were_prepared_still_fits() {
        let old = hash(&secret("se\u{301}same")).unwrap();
        assert!(fits(&secret("se\u{301}same"), &old).unwrap());
        assert!(!fits(&secret("s\u{e9}same"), &old).unwrap(), "nobody knows what that was typed as");
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
