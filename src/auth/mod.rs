//! Who may open which mailbox, and how fast one may guess.

pub mod outcome;
pub mod password;

use crate::mail::address::Domain;
use crate::mail::peer::Peer;
use crate::mail::secret::Credentials;
use crate::store::Store;
use crate::store::accounts::Mode;
use outcome::{Denied, Login};

/// Checks credentials. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Auth {}

impl Auth {
    /// `hostname` is the domain of user names that have none.
    #[must_use]
    pub fn new(store: Store, mode: Mode, hostname: Domain) -> Auth {
        todo!("{store:?} {mode:?} {hostname}")
    }

    /// Who `credentials` belong to. A refusal takes its time: the more failures `peer` has had
    /// lately and the more `failures_before` in this session, the longer.
    ///
    /// # Errors
    /// [`Denied`], the same in words and time for an unknown account and a wrong password.
    pub async fn verify(
        &self,
        credentials: &Credentials,
        peer: &Peer,
        failures_before: u32,
    ) -> Result<Login, Denied> {
        todo!("{credentials:?} {peer} {failures_before}")
    }
}
