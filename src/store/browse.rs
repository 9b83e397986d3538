//! Looking into a mailbox without its lease: changes nothing, disturbs nobody.

use super::Store;
use super::outcome::Error;
use super::reader::MessageReader;
use crate::mail::address::MailboxName;
use crate::mail::listing::{Entry, Listing};
use std::sync::Arc;

impl Store {
    /// What is in a mailbox; `None` when there is no such mailbox.
    ///
    /// # Errors
    /// [`Error`] when it could not be read.
    pub async fn peek(&self, mailbox: &MailboxName) -> Result<Option<Listing>, Error> {
        let found = self.ask(self.inner.engine.listing(mailbox)).await?;
        Ok(found.map(|(_, entries)| Listing::new(self.inner.engine.era(), entries)))
    }

    /// The octets of one message of such a listing.
    #[must_use]
    pub fn peek_message(&self, entry: &Entry) -> MessageReader {
        MessageReader::new(Arc::clone(&self.inner), entry.id)
    }
}
