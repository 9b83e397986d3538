//! The keys of SCRAM-SHA-256 (RFC 5802 §3, RFC 7677): made from a password, compared with a proof.

use crate::mail::secret::Secret;
use crate::store::accounts::ScramKeys;
use crate::wire::sasl::{ScramParameters, ScramProof, ServerSignature};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Rounds of PBKDF2. The client pays for them at each login; Cyrus SASL's client refuses more than
/// 65,536, and RFC 7677 §4 asks for 4,096 at least.
pub(super) const ITERATIONS: u32 = 50_000;
/// Octets of a salt.
pub(super) const SALT_OCTETS: usize = 16;

/// The keys to keep of a new password, which is prepared already; `salt` is fresh and random. Blocks for some
/// 20 ms.
pub(super) fn new_keys(password: &Secret, salt: &[u8; SALT_OCTETS]) -> ScramKeys {
    keys(password, salt, ITERATIONS)
}

fn keys(password: &Secret, salt: &[u8], iterations: u32) -> ScramKeys {
    let mut salted = Zeroizing::new([0; 32]);
    pbkdf2::pbkdf2_hmac::<Sha256>(password.expose(), salt, iterations, salted.as_mut_slice());
    let client_key = Zeroizing::new(hmac(&salted, &[b"Client Key"]));
    let stored_key = Sha256::digest(client_key.as_slice()).into();
    let server_key = hmac(&salted, &[b"Server Key"]);
    ScramKeys { salt: salt.into(), iterations, stored_key, server_key }
}

/// The keys of nobody: what a user that does not exist is compared with, in vain but in the same
/// time. The salt is always the same for the same `user`, as if there were an account.
pub(super) fn made_up(secret: &Secret, user: &str) -> ScramKeys {
    let key = Sha256::digest(secret.expose()).into();
    let salt = hmac(&key, &[user.as_bytes()]).iter().copied().take(SALT_OCTETS).collect();
    ScramKeys { salt, iterations: ITERATIONS, stored_key: [0; 32], server_key: [0; 32] }
}

pub(super) fn parameters(keys: &ScramKeys) -> ScramParameters {
    ScramParameters { salt: keys.salt.clone(), iterations: keys.iterations }
}

/// The server's signature, when the proof is that of the password behind `keys`.
pub(super) fn check(proof: &ScramProof, keys: &ScramKeys) -> Option<ServerSignature> {
    // RFC 5802 §3: ClientKey = ClientProof XOR ClientSignature, and StoredKey = H(ClientKey).
    let mut client_key = Zeroizing::new(hmac(&keys.stored_key, &[&proof.auth_message]));
    for (octet, proof) in client_key.iter_mut().zip(proof.client_proof) {
        *octet ^= proof;
    }
    let fits = Sha256::digest(client_key.as_slice()).as_slice().ct_eq(&keys.stored_key);
    let signature = hmac(&keys.server_key, &[&proof.auth_message]);
    bool::from(fits).then_some(ServerSignature(signature))
}

/// HMAC-SHA-256 over `parts`, one after the other.
pub(super) fn hmac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // A key shorter than a block is filled up with zeros, so this is the same key and cannot fail.
    let mut block = Zeroizing::new([0; 64]);
    block[..32].copy_from_slice(key);
    let mut mac = Hmac::<Sha256>::new((&*block).into());
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    /// The example of RFC 7677 §3.
    const AUTH_MESSAGE: &str = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
        r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
        c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn example() -> (ScramKeys, ScramProof) {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let proof = ScramProof {
            user: "user".into(),
            auth_message: AUTH_MESSAGE.as_bytes().into(),
            client_proof: proof.try_into().unwrap(),
        };
        (keys(&Secret::new(b"pencil".to_vec()), &salt, 4096), proof)
    }

    // proves: RFC 5802 §3
    #[test]
    fn the_example_of_rfc_7677_is_accepted_and_signed() {
        let (keys, proof) = example();
        let signature = check(&proof, &keys).expect("the proof is right");
        assert_eq!(STANDARD.encode(signature.0), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn a_proof_or_a_message_with_one_bit_changed_is_refused() {
        let (keys, proof) = example();
        for at in [0, 17, 31] {
            let mut wrong = proof.clone();
            wrong.client_proof[at] ^= 1;
            assert_eq!(check(&wrong, &keys), None);
        }
        let mut wrong = proof;
        wrong.auth_message[0] ^= 1;
        assert_eq!(check(&wrong, &keys), None);
    }

    #[test]
    fn a_user_that_does_not_exist_has_a_salt_of_its_own_and_always_the_same() {
        let secret = |octet| Secret::new(vec![octet; 32]);
        let ann = made_up(&secret(1), "ann");
        assert_eq!(ann, made_up(&secret(1), "ann"));
        assert_ne!(ann.salt, made_up(&secret(1), "bob").salt);
        assert_ne!(ann.salt, made_up(&secret(2), "ann").salt);
        let real = new_keys(&secret(b'x'), &[7; SALT_OCTETS]);
        assert_eq!((ann.salt.len(), ann.iterations), (real.salt.len(), real.iterations));
    }

    #[test]
    fn the_keys_of_nobody_open_nothing() {
        let nobody = made_up(&Secret::new(vec![1; 32]), "ann");
        let proof = |client_proof| ScramProof {
            user: "ann".into(),
            auth_message: b"x".as_slice().into(),
            client_proof,
        };
        assert_eq!(check(&proof([0; 32]), &nobody), None);
        assert_eq!(check(&proof(hmac(&[0; 32], &[b"x"])), &nobody), None);
    }
}
