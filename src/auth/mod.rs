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
use crate::wire::sasl::{Evidence, Mechanism, ScramParameters, ScramProof, Strictness};
use outcome::{Denied, Login, Verified};
use remembered::Remembered;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use throttle::Throttle;
use tokio::sync::Semaphore;
use tracing::{error, warn};

/// Whom the log calls one that has sent no user name which could be shown.
const SOMEBODY: &str = "somebody";

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

/// What somebody wants to be let in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To send mail: no mailbox is opened.
    Sending,
    /// To open the mailbox of the user name.
    Reading,
}

/// Who asks to be let in.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// What the listener is for, as the log calls it.
    pub proto: &'static str,
    /// What a login leads to there.
    pub purpose: Purpose,
    /// From where.
    pub peer: &'a Peer,
    /// Logins that have failed on the same connection.
    pub failures_before: u32,
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

    /// What a connection is offered, strongest first. In open mode these are the mechanisms that bring
    /// the password: with SCRAM this server would have to know it.
    #[must_use]
    pub fn mechanisms(&self, security: &Security) -> &'static [Mechanism] {
        match self.shared.mode {
            Mode::Open => Mechanism::WITH_PASSWORD,
            Mode::Closed => Mechanism::offered(security),
        }
    }

    /// How logins are read: in open mode nothing of them is checked.
    #[must_use]
    pub fn strictness(&self) -> Strictness {
        match self.shared.mode {
            Mode::Open => Strictness::Lax,
            Mode::Closed => Strictness::Full,
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
    /// [`Denied::Store`] when it could not be looked up, [`Denied::Blocked`]; the log tells of both.
    pub async fn scram_parameters(&self, user: &str, caller: &Caller<'_>) -> Result<ScramParameters, Denied> {
        let keys = match self.admit(caller.peer) {
            Ok(()) => self.scram_keys(user).await,
            Err(denied) => Err(denied),
        };
        let keys = keys.inspect_err(|denied| report::refused(user, denied, caller))?;
        Ok(scram::parameters(&keys.0))
    }

    /// Like [`Auth::check`], for a user name and a password.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn verify(&self, credentials: &Credentials, caller: &Caller<'_>) -> Result<Login, Denied> {
        let evidence = Evidence::Password(credentials.clone());
        self.check(&evidence, caller).await.map(|verified| verified.login)
    }

    /// Whom `evidence` lets in. In open mode every password is right, and no SCRAM proof; every user name
    /// may send, and those that a mailbox can have may read.
    ///
    /// A refusal is in the log at once, and takes its time: the more failures the peer has had lately
    /// and the more there were in this connection, the longer.
    ///
    /// # Errors
    /// [`Denied`], the same in words and time whatever was wrong.
    pub async fn check(&self, evidence: &Evidence, caller: &Caller<'_>) -> Result<Verified, Denied> {
        let verdict = match evidence {
            Evidence::Password(credentials) => self.password(credentials, caller).await,
            Evidence::Scram(proof) => self.proof(proof, caller.peer).await,
            Evidence::Void(_) => self.admit(caller.peer).map(|()| None),
        };
        let denied = match verdict {
            Ok(Some(verified)) => return Ok(verified),
            Ok(None) => Denied::Credentials,
            Err(denied) => denied,
        };
        match evidence {
            Evidence::Void(fault) if denied == Denied::Credentials => report::void(*fault, caller),
            _ => report::refused(evidence.user(), &denied, caller),
        }
        if denied == Denied::Credentials {
            self.punish(caller).await;
        }
        Err(denied)
    }

    async fn password(
        &self,
        credentials: &Credentials,
        caller: &Caller<'_>,
    ) -> Result<Option<Verified>, Denied> {
        let Credentials { user, password } = credentials;
        let mailbox = mailbox_of(user, &self.shared.hostname);
        let login = match self.shared.mode {
            Mode::Open => self.anybody(mailbox, user, caller.purpose).await?,
            Mode::Closed => self.known(mailbox, password, caller.peer).await?,
        };
        Ok(login.map(|login| Verified { login, signature: None }))
    }

    /// Whoever it is, in open mode. Who wants to read gets the mailbox that mail for the same name goes to.
    async fn anybody(
        &self,
        mailbox: Option<MailboxName>,
        user: &str,
        purpose: Purpose,
    ) -> Result<Option<Login>, Denied> {
        let Some(name) = mailbox.or_else(|| self.unheard_of(user, purpose)) else { return Ok(None) };
        let name = match purpose {
            Purpose::Sending => name,
            Purpose::Reading => self.shared.store.mailbox_behind(name).await.map_err(Denied::Store)?,
        };
        Ok(Some(Login::by_name(name)))
    }

    /// The mailbox of a user name in open mode that is no address: all of it is a local part here. Where no
    /// mailbox is opened, one that cannot even be that goes by a name that stands for all of them.
    fn unheard_of(&self, user: &str, purpose: Purpose) -> Option<MailboxName> {
        let here = |local: &str| Address::new(local.to_owned(), self.shared.hostname.clone()).ok();
        let somebody = || here(SOMEBODY).filter(|_| purpose == Purpose::Sending);
        here(user).or_else(somebody).map(|address| address.name())
    }

    async fn proof(&self, proof: &ScramProof, peer: &Peer) -> Result<Option<Verified>, Denied> {
        let (keys, login) = self.scram_keys(&proof.user).await?;
        // After the wait: guesses that were sent in parallel have waited with it, and from here to the
        // note of a failure there is no other.
        self.admit(peer)?;
        let signature = scram::check(proof, &keys);
        Ok(login.zip(signature).map(|(login, signature)| Verified { login, signature: Some(signature) }))
    }

    /// The SCRAM keys of a user and whom they let in; those of nobody when there are none.
    async fn scram_keys(&self, user: &str) -> Result<(ScramKeys, Option<Login>), Denied> {
        let mailbox = mailbox_of(user, &self.shared.hostname);
        let name = mailbox.as_ref().map_or_else(|| user.to_lowercase(), ToString::to_string);
        let made_up = scram::made_up(self.shared.store.login_secret(), &name);
        let Some(mailbox) = mailbox.filter(|_| self.shared.mode == Mode::Closed) else {
            return Ok((made_up, None));
        };
        let stored = self.shared.store.account(&mailbox).await.map_err(Denied::Store)?;
        Ok(match stored.and_then(|(id, stored)| Some((id, stored.scram?))) {
            Some((id, keys)) => (keys, Some(Login::of_account(mailbox, id))),
            None => (made_up, None),
        })
    }

    /// Checks the password of an account, or of nobody in the same time.
    async fn known(
        &self,
        mailbox: Option<MailboxName>,
        password: &Secret,
        peer: &Peer,
    ) -> Result<Option<Login>, Denied> {
        self.admit(peer)?;
        let stored = match &mailbox {
            Some(mailbox) => self.shared.store.account(mailbox).await.map_err(Denied::Store)?,
            None => None,
        };
        let Some((mailbox, (id, stored))) = mailbox.zip(stored) else {
            self.fits(password.clone(), password::NOBODY.to_owned(), peer).await?;
            return Ok(None);
        };
        if locked(&self.shared.remembered).holds(&mailbox, password, &stored.phc, Instant::now()) {
            return Ok(Some(Login::of_account(mailbox, id)));
        }
        if !self.fits(password.clone(), stored.phc.clone(), peer).await? {
            return Ok(None);
        }
        locked(&self.shared.remembered).note(&mailbox, password, &stored.phc, Instant::now());
        Ok(Some(Login::of_account(mailbox, id)))
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
    async fn punish(&self, caller: &Caller<'_>) {
        let now = Instant::now();
        let failed = locked(&self.shared.throttle).failed(caller.peer.ip(), caller.failures_before, now);
        if let (Some(network), Mode::Closed) = (failed.blocked, self.shared.mode) {
            let minutes = throttle::BLOCKED_FOR.as_secs() / 60;
            // The address comes last, where fail2ban looks for it.
            warn!(minutes, %network, ip = %caller.peer, "address blocked");
        }
        tokio::time::sleep(failed.delay).await;
    }
}

/// Fresh random octets for one exchange of SASL.
///
/// # Errors
/// [`Error::Unavailable`] when the system gives none.
pub fn nonce() -> Result<[u8; 18], Error> {
    let mut octets = [0; 18];
    match getrandom::fill(&mut octets) {
        Ok(()) => Ok(octets),
        Err(fault) => {
            error!(%fault, "there is no randomness for a login");
            Err(Error::Unavailable(fault.to_string()))
        }
    }
}

/// What is behind a lock is whole at any time, also when somebody stopped while holding it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The mailbox of a user name: an address, or a local part at `hostname`. No tag is taken off and no
/// alias followed: a password is that of an account.
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
            ("../../etc/passwd", Some(r#""../../etc/passwd"@mail.example.org"#)),
            ("' OR 1=1 --", None),
        ] {
            let got = mailbox_of(user, &hostname).map(|name| name.to_string());
            assert_eq!(got.as_deref(), mailbox, "{user}");
        }
    }
}
