//! Passwords that were right a moment ago, so that a mail program which looks every minute does not
//! cost a slow hash each time.
//!
//! Pure: the time is an argument. Kept is no password but its HMAC under a key of this process. An
//! entry counts only as long as the hash in the store is the one it was compared with, so a changed
//! password or a removed account ends it at once.

use super::scram::hmac;
use crate::mail::address::MailboxName;
use crate::mail::secret::Secret;
use lru::LruCache;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// How long a password is remembered after it was compared.
const REMEMBERED_FOR: Duration = Duration::from_secs(5 * 60);
/// How many mailboxes are remembered.
const MAILBOXES_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// The passwords that were right of late.
pub(super) struct Remembered {
    /// `None` when the system gave no random octets: nothing is remembered then.
    key: Option<[u8; 32]>,
    entries: LruCache<MailboxName, Entry>,
}

struct Entry {
    phc: String,
    tag: [u8; 32],
    until: Instant,
}

impl Remembered {
    pub(super) fn new(key: Option<[u8; 32]>) -> Remembered {
        Remembered { key, entries: LruCache::new(MAILBOXES_MAX) }
    }

    /// Notes that `password` was found to be the one behind `phc`.
    pub(super) fn note(&mut self, mailbox: &MailboxName, password: &Secret, phc: &str, now: Instant) {
        if let Some(tag) = self.tag(mailbox, password) {
            let entry = Entry { phc: phc.to_owned(), tag, until: now + REMEMBERED_FOR };
            self.entries.put(mailbox.clone(), entry);
        }
    }

    /// Whether `password` was found to be the one behind `phc` not long ago.
    pub(super) fn holds(
        &mut self,
        mailbox: &MailboxName,
        password: &Secret,
        phc: &str,
        now: Instant,
    ) -> bool {
        let Some(tag) = self.tag(mailbox, password) else { return false };
        let Some(entry) = self.entries.get(mailbox) else { return false };
        entry.phc == phc && now < entry.until && bool::from(entry.tag.ct_eq(&tag))
    }

    fn tag(&self, mailbox: &MailboxName, password: &Secret) -> Option<[u8; 32]> {
        let mailbox = mailbox.to_string();
        self.key.as_ref().map(|key| hmac(key, &[mailbox.as_bytes(), b"\0", password.expose()]))
    }
}

impl fmt::Debug for Remembered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remembered")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::address::Address;

    fn name(text: &str) -> MailboxName {
        Address::parse(text).unwrap().name()
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn only_the_same_password_of_the_same_mailbox_with_the_same_hash_is_remembered_for_a_while() {
        let mut remembered = Remembered::new(Some([1; 32]));
        let (ann, now) = (name("ann@example.org"), Instant::now());
        remembered.note(&ann, &secret("right"), "hash", now);
        let mut holds = |mailbox: &MailboxName, password, phc, seconds| {
            remembered.holds(mailbox, &secret(password), phc, now + Duration::from_secs(seconds))
        };
        assert!(holds(&ann, "right", "hash", 0));
        assert!(holds(&ann, "right", "hash", 299));
        assert!(!holds(&ann, "right", "hash", 300));
        assert!(!holds(&ann, "wrong", "hash", 0));
        assert!(!holds(&ann, "right", "another hash", 0), "the password was changed");
        assert!(!holds(&name("bob@example.org"), "right", "hash", 0));
    }

    #[test]
    fn without_a_key_nothing_is_remembered() {
        let mut remembered = Remembered::new(None);
        let (ann, now) = (name("ann@example.org"), Instant::now());
        remembered.note(&ann, &secret("right"), "hash", now);
        assert!(!remembered.holds(&ann, &secret("right"), "hash", now));
    }

    #[test]
    fn many_mailboxes_take_no_more_memory() {
        let mut remembered = Remembered::new(Some([1; 32]));
        for n in 0..3000 {
            let mailbox = name(&format!("user{n}@example.org"));
            remembered.note(&mailbox, &secret("x"), "hash", Instant::now());
        }
        assert_eq!(remembered.entries.len(), MAILBOXES_MAX.get());
    }
}
