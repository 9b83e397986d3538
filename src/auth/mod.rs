//! Who may open which mailbox, and how fast one may guess.

pub mod outcome;
pub mod password;
pub mod throttle;

use crate::mail::address::{Address, Domain, MailboxName};
use crate::mail::peer::Peer;
use crate::mail::secret::{Credentials, Secret};
use crate::store::Store;
use crate::store::accounts::Mode;
use crate::store::outcome::Error;
use crate::wire::sasl::{Evidence, ScramParameters};
use outcome::{Denied, Login, Verified};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use throttle::Throttle;
use tokio::sync::Semaphore;
use tracing::error;

/// Checks credentials. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Auth {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    mode: Mode,
    hostname: Domain,
    /// As many hashes at once as there are cores: more would only take memory, 19 MiB each. Those
    /// who wait are as many as there are connections at most.
    hashing: Arc<Semaphore>,
    throttle: Mutex<Throttle>,
}

impl Auth {
    /// `hostname` is the domain of user names that have none.
    #[must_use]
    pub fn new(store: Store, mode: Mode, hostname: Domain) -> Auth {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let hashing = Arc::new(Semaphore::new(cores));
        Auth { shared: Arc::new(Shared { store, mode, hostname, hashing, throttle: Mutex::default() }) }
    }

    /// Who `credentials` belong to. A refusal takes its time: the more failures `peer` has had
    /// lately and the more `failures_before` in this session, the longer. In open mode every
    /// password is right.
    ///
    /// # Errors
    /// [`Denied`], the same in words and time for an unknown account and a wrong password.
    pub async fn verify(
        &self,
        credentials: &Credentials,
        peer: &Peer,
        failures_before: u32,
    ) -> Result<Login, Denied> {
        let mailbox = mailbox_of(&credentials.user, &self.shared.hostname);
        let login = match self.shared.mode {
            Mode::Open => mailbox.map(Login::new),
            Mode::Closed => self.check(mailbox, &credentials.password).await?,
        };
        match login {
            Some(login) => Ok(login),
            None => {
                self.keep_waiting(peer, failures_before).await;
                Err(Denied::Credentials)
            }
        }
    }

    /// Whether `peer` is shut out for its failed logins. Loopback and unix sockets never are.
    #[must_use]
    pub fn is_blocked(&self, peer: &Peer) -> bool {
        todo!("{peer}")
    }

    /// What a SCRAM client needs; for a user that does not exist it is made up, always the same.
    ///
    /// # Errors
    /// [`Denied::Store`] when it could not be looked up, [`Denied::Blocked`].
    pub async fn scram_parameters(&self, user: &str, peer: &Peer) -> Result<ScramParameters, Denied> {
        todo!("{user} {peer}")
    }

    /// Like [`Auth::verify`], for any evidence that a SASL exchange brings.
    ///
    /// # Errors
    /// [`Denied`], the same in words and time whatever was wrong.
    pub async fn check_evidence(
        &self,
        evidence: &Evidence,
        peer: &Peer,
        failures_before: u32,
    ) -> Result<Verified, Denied> {
        todo!("{evidence:?} {peer} {failures_before}")
    }

    /// Checks the password of an account, or of nobody in the same time.
    async fn check(&self, mailbox: Option<MailboxName>, password: &Secret) -> Result<Option<Login>, Denied> {
        let stored = match &mailbox {
            Some(mailbox) => self.shared.store.password_hash(mailbox).await.map_err(Denied::Store)?,
            None => None,
        };
        let exists = stored.is_some();
        let fits = self.fits(password.clone(), stored.unwrap_or_else(|| password::NOBODY.to_owned())).await?;
        Ok(if exists && fits { mailbox.map(Login::new) } else { None })
    }

    /// Compares on a thread that may block. The permit goes along, so that a session which ends
    /// meanwhile frees it no sooner than the core.
    async fn fits(&self, password: Secret, stored: String) -> Result<bool, Denied> {
        let cannot = |reason: String| {
            error!(%reason, "a password cannot be checked");
            Denied::Store(Error::Unavailable(reason))
        };
        let hashing = self.shared.hashing.clone();
        let permit = hashing.acquire_owned().await.map_err(|closed| cannot(closed.to_string()))?;
        let work = move || {
            let fits = password::fits(&password, &stored);
            drop(permit);
            fits
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(fits) => fits.map_err(|fault| cannot(fault.to_string())),
            Err(lost) => Err(cannot(lost.to_string())),
        }
    }

    async fn keep_waiting(&self, peer: &Peer, failures_before: u32) {
        let delay = {
            let mut throttle = self.shared.throttle.lock().unwrap_or_else(PoisonError::into_inner);
            throttle.failed(peer.ip(), failures_before, Instant::now())
        };
        tokio::time::sleep(delay).await;
    }
}

/// The mailbox of a user name: an address, or a local part at `hostname`. The name of a mailbox and
/// nothing that leads to it: no tag is taken off, no alias followed.
fn mailbox_of(user: &str, hostname: &Domain) -> Option<MailboxName> {
    let whole;
    let text = if user.contains('@') {
        user
    } else {
        whole = format!("{user}@{hostname}");
        &whole
    };
    Address::parse(text).ok().map(|address| address.name())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_name_is_an_address_or_a_local_part_at_this_host() {
        let hostname = Domain::parse("mail.example.org").unwrap();
        for (user, mailbox) in [
            ("ann@example.org", Some("ann@example.org")),
            ("Ann@Example.ORG", Some("ann@example.org")),
            ("ann", Some("ann@mail.example.org")),
            ("ANN", Some("ann@mail.example.org")),
            ("ann+shop@example.org", Some("ann+shop@example.org")),
            ("\"a b\"@example.org", Some("\"a b\"@example.org")),
            ("\"a b\"", Some("\"a b\"@mail.example.org")),
            ("grün@bücher.example", Some("grün@xn--bcher-kva.example")),
            ("", None),
            ("@", None),
            ("ann@", None),
            ("two words", None),
            ("ann@example.org@evil.example", None),
            ("../../etc/passwd", None),
            ("' OR 1=1 --", None),
        ] {
            let got = mailbox_of(user, &hostname).map(|name| name.to_string());
            assert_eq!(got.as_deref(), mailbox, "{user}");
        }
    }
}
