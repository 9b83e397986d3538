//! Who may open which mailbox, and how fast one may guess.

pub mod outcome;
pub mod password;
mod remembered;
pub mod report;
mod scram;
pub mod throttle;

use crate::mail::address::{Address, Domain, MailboxName};
use crate::mail::peer::{Peer, Security};
use crate::mail::secret::{Credentials, Secret};
use crate::store::Store;
use crate::store::accounts::{Mode, ScramKeys};
use crate::store::outcome::Error;
use crate::wire::sasl::{Evidence, Mechanism, ScramParameters};
use outcome::{Denied, Login, Verified};
use remembered::Remembered;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use throttle::Throttle;
use tokio::sync::Semaphore;
use tracing::{error, warn};

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
    remembered: Mutex<Remembered>,
}

impl Auth {
    /// `hostname` is the domain of user names that have none.
    #[must_use]
    pub fn new(store: Store, mode: Mode, hostname: Domain) -> Auth {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let hashing = Arc::new(Semaphore::new(cores));
        let mut key = [0; 32];
        let key = getrandom::fill(&mut key).ok().map(|()| key);
        let (throttle, remembered) = (Mutex::default(), Mutex::new(Remembered::new(key)));
        Auth { shared: Arc::new(Shared { store, mode, hostname, hashing, throttle, remembered }) }
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
            Mode::Closed => self.check(mailbox, &credentials.password, peer).await?,
        };
        match login {
            Some(login) => Ok(login),
            None => Err(self.refuse(peer, failures_before).await),
        }
    }

    /// What a connection is offered, strongest first. In open mode these are the mechanisms that bring
    /// the password: with SCRAM this server would have to know it.
    #[must_use]
    pub fn mechanisms(&self, security: &Security) -> &'static [Mechanism] {
        match self.shared.mode {
            Mode::Open => Mechanism::WITH_PASSWORD,
            Mode::Closed => Mechanism::offered(security),
        }
    }

    /// Whether `peer` is shut out for its failed logins. Loopback and unix sockets never are, nor is
    /// anybody in open mode.
    #[must_use]
    pub fn is_blocked(&self, peer: &Peer) -> bool {
        if self.shared.mode == Mode::Open {
            return false;
        }
        let now = Instant::now();
        let mut throttle = locked(&self.shared.throttle);
        let released = throttle.released(now);
        let is_blocked = throttle.is_blocked(peer.ip(), now);
        drop(throttle);
        for origin in released {
            warn!(ip = %origin, "address no longer blocked");
        }
        is_blocked
    }

    /// What a SCRAM client needs; for a user that does not exist it is made up, always the same.
    ///
    /// # Errors
    /// [`Denied::Store`] when it could not be looked up, [`Denied::Blocked`].
    pub async fn scram_parameters(&self, user: &str, peer: &Peer) -> Result<ScramParameters, Denied> {
        self.admit(peer)?;
        let (keys, _) = self.scram_keys(user).await?;
        Ok(scram::parameters(&keys))
    }

    /// Like [`Auth::verify`], for any evidence that a SASL exchange brings. In open mode every password
    /// is right, and no SCRAM proof.
    ///
    /// # Errors
    /// [`Denied`], the same in words and time whatever was wrong.
    pub async fn check_evidence(
        &self,
        evidence: &Evidence,
        peer: &Peer,
        failures_before: u32,
    ) -> Result<Verified, Denied> {
        let proof = match evidence {
            Evidence::Password(credentials) => {
                let login = self.verify(credentials, peer, failures_before).await?;
                return Ok(Verified { login, signature: None });
            }
            Evidence::Scram(proof) => proof,
        };
        self.admit(peer)?;
        let (keys, login) = self.scram_keys(&proof.user).await?;
        match (scram::check(proof, &keys), login) {
            (Some(signature), Some(login)) => Ok(Verified { login, signature: Some(signature) }),
            _ => Err(self.refuse(peer, failures_before).await),
        }
    }

    /// The SCRAM keys of a user and whom they let in; those of nobody when there are none.
    async fn scram_keys(&self, user: &str) -> Result<(ScramKeys, Option<Login>), Denied> {
        let mailbox = mailbox_of(user, &self.shared.hostname);
        let name = mailbox.as_ref().map_or_else(|| user.to_lowercase(), ToString::to_string);
        let made_up = scram::made_up(self.shared.store.login_secret(), &name);
        let Some(mailbox) = mailbox.filter(|_| self.shared.mode == Mode::Closed) else {
            return Ok((made_up, None));
        };
        let stored = self.shared.store.stored_password(&mailbox).await.map_err(Denied::Store)?;
        Ok(match stored.and_then(|stored| stored.scram) {
            Some(keys) => (keys, Some(Login::new(mailbox))),
            None => (made_up, None),
        })
    }

    /// Checks the password of an account, or of nobody in the same time.
    async fn check(
        &self,
        mailbox: Option<MailboxName>,
        password: &Secret,
        peer: &Peer,
    ) -> Result<Option<Login>, Denied> {
        self.admit(peer)?;
        let stored = match &mailbox {
            Some(mailbox) => self.shared.store.stored_password(mailbox).await.map_err(Denied::Store)?,
            None => None,
        };
        let Some((mailbox, stored)) = mailbox.zip(stored) else {
            self.fits(password.clone(), password::NOBODY.to_owned(), peer).await?;
            return Ok(None);
        };
        if locked(&self.shared.remembered).holds(&mailbox, password, &stored.phc, Instant::now()) {
            return Ok(Some(Login::new(mailbox)));
        }
        if !self.fits(password.clone(), stored.phc.clone(), peer).await? {
            return Ok(None);
        }
        locked(&self.shared.remembered).note(&mailbox, password, &stored.phc, Instant::now());
        Ok(Some(Login::new(mailbox)))
    }

    /// Compares on a thread that may block. The permit goes along, so that a session which ends
    /// meanwhile frees it no sooner than the core.
    async fn fits(&self, password: Secret, stored: String, peer: &Peer) -> Result<bool, Denied> {
        let cannot = |reason: String| {
            error!(%reason, "a password cannot be checked");
            Denied::Store(Error::Unavailable(reason))
        };
        let hashing = self.shared.hashing.clone();
        let permit = hashing.acquire_owned().await.map_err(|closed| cannot(closed.to_string()))?;
        // Guesses that were sent in parallel have waited here while the first of them failed.
        self.admit(peer)?;
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

    fn admit(&self, peer: &Peer) -> Result<(), Denied> {
        if self.is_blocked(peer) { Err(Denied::Blocked) } else { Ok(()) }
    }

    /// Notes a failure and takes the time that it costs.
    async fn refuse(&self, peer: &Peer, failures_before: u32) -> Denied {
        let now = Instant::now();
        let consequence = locked(&self.shared.throttle).failed(peer.ip(), failures_before, now);
        if consequence.blocked.is_some() && self.shared.mode == Mode::Closed {
            let minutes = throttle::BLOCKED_FOR.as_secs() / 60;
            // The address comes last, where fail2ban looks for it.
            warn!(minutes, ip = %peer, "address blocked");
        }
        tokio::time::sleep(consequence.delay).await;
        Denied::Credentials
    }
}

/// What is behind a lock is whole at any time, also when somebody stopped while holding it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
