//! Every place to listen at.

use super::Listen;
use super::bind::Bind;
use super::keys::{self, Key};
use super::place::At;

/// Every place to listen at that is sound by itself, with where it was written.
pub(super) struct Doors {
    pub(super) smtp: Vec<At<Bind>>,
    pub(super) submission: Vec<At<Bind>>,
    pub(super) submissions: Vec<At<Bind>>,
    pub(super) lmtp: Vec<At<Bind>>,
    pub(super) pop3: Vec<At<Bind>>,
    pub(super) pop3s: Vec<At<Bind>>,
}

impl Doors {
    pub(super) fn kinds(&self) -> [(&'static Key, &[At<Bind>]); 6] {
        [
            (&keys::SMTP, &self.smtp),
            (&keys::SUBMISSION, &self.submission),
            (&keys::SUBMISSIONS, &self.submissions),
            (&keys::LMTP, &self.lmtp),
            (&keys::POP3, &self.pop3),
            (&keys::POP3S, &self.pop3s),
        ]
    }

    /// All of them, and the key that each belongs to.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static Key, &At<Bind>)> {
        self.kinds().into_iter().flat_map(|(key, binds)| binds.iter().map(move |bind| (key, bind)))
    }

    pub(super) fn into_listen(self) -> Listen {
        let plain = |binds: Vec<At<Bind>>| binds.into_iter().map(|bind| bind.value).collect();
        Listen {
            smtp: plain(self.smtp),
            submission: plain(self.submission),
            submissions: plain(self.submissions),
            lmtp: plain(self.lmtp),
            pop3: plain(self.pop3),
            pop3s: plain(self.pop3s),
        }
    }
}
