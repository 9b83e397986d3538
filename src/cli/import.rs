//! `pillarbox import`: mail out of mboxes, Maildirs and message files into a mailbox, as it is. Works beside
//! a running server, and each message is on disk before it counts as imported.

use super::interrupt::{go_on, heeding};
use super::mailfile::{Form, Found, Messages};
use super::open::with_store;
use super::output::{Failure, Output, complain};
use super::progress;
use super::text::counted;
use crate::config::Config;
use crate::mail::address::{Address, MailboxName};
use crate::mail::body::Body;
use crate::mail::envelope::{Delivery, MailboxCopy, Overdraft};
use crate::mail::ids::QueueId;
use crate::smtp::intake::SLICE_OCTETS;
use crate::store::Store;
use crate::store::outcome::Route;
use bytes::Bytes;
use futures_util::future::join_all;
use indicatif::ProgressBar;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// A message longer than this goes to the store in slices, so that no commit of ours keeps a server waiting.
const WHOLE_OCTETS_MAX: usize = 256 * 1024;
/// Messages that share a commit, at most.
const BATCH_MESSAGES_MAX: usize = 64;
/// Octets of them.
const BATCH_OCTETS_MAX: usize = 2 * 1024 * 1024;
/// So many messages without a header are told one by one; of the others only the number.
const HEADLESS_TOLD_MAX: u64 = 10;

/// Imports what is in `paths`.
///
/// # Errors
/// [`Failure`] when something cannot be read or kept, or was left out. What was imported before stays.
pub fn run(config: &Config, address: &Address, paths: &[PathBuf], out: &mut Output) -> Result<(), Failure> {
    let mut files = Vec::new();
    for path in paths {
        find(path, &mut files)?;
    }
    let octets_max = usize::try_from(config.limits.message_octets_max).unwrap_or(usize::MAX);
    with_store(config, async |store| {
        let mailbox = mailbox(store, address).await?;
        let all = files.iter().filter_map(|source| source.file.metadata().ok()).map(|m| m.len()).sum();
        let bar = progress::octets("importing", all);
        let mut import =
            Import { store, mailbox, octets_max, bar: &bar, batch: Vec::new(), tally: Tally::default() };
        let done = heeding(async |stop| import.files(&files, stop).await).await;
        bar.finish_and_clear();
        let Import { mailbox, tally, .. } = import;
        tally.tell(&mailbox, done, out)
    })
}

/// What became of the messages.
#[derive(Debug, Default)]
struct Tally {
    imported: u64,
    too_large: u64,
    empty: u64,
    headless: u64,
}

impl Tally {
    fn tell(
        &self,
        mailbox: &MailboxName,
        done: Result<(), Failure>,
        out: &mut Output,
    ) -> Result<(), Failure> {
        let Tally { imported, too_large, empty, headless } = *self;
        if headless > HEADLESS_TOLD_MAX {
            complain(format_args!("warning: {headless} messages in all begin with no header field"));
        }
        let imported = counted(imported, "message", "messages");
        let mut told = format!("imported {imported} into {mailbox}");
        if empty > 0 {
            let empty = counted(empty, "without an octet was", "without an octet were");
            told = format!("{told}; {empty} left out");
        }
        match done {
            Ok(()) if too_large == 0 => out.line(told),
            Ok(()) => {
                let too_large = counted(
                    too_large,
                    "larger than limits.message_size was",
                    "larger than limits.message_size were",
                );
                Err(Failure::Reason(format!("{told}; {too_large} left out")))
            }
            Err(Failure::Reason(reason)) => {
                let imported = counted(self.imported, "message was", "messages were");
                let again = "imported before, and would be imported again";
                Err(Failure::Reason(format!("{reason}; {imported} {again}")))
            }
            Err(other) => Err(other),
        }
    }
}

/// The one mailbox that mail for the address goes into.
async fn mailbox(store: &Store, address: &Address) -> Result<MailboxName, Failure> {
    let refuse = |why: &str| Err(Failure::Reason(format!("{address} {why}")));
    match store.route(address, None).await.map_err(Failure::because)? {
        Route::Mailboxes(mailboxes) => match mailboxes.as_slice() {
            [mailbox] => Ok(mailbox.clone()),
            _ => refuse("leads to more than one mailbox; name one of them"),
        },
        Route::Foreign => refuse("is in none of accounts.domains"),
        Route::Unknown => refuse("is no account; add it with pillarbox account add"),
        Route::Full(_) => refuse("has no room: its quota is used up"),
    }
}

/// A file to import.
struct Source {
    file: PathBuf,
    /// What it is; where the name does not tell, its beginning does.
    form: Option<Form>,
}

/// Finds the files with messages below a path: those of a Maildir, those of a folder that end in `.eml`, or
/// the path itself.
fn find(path: &Path, files: &mut Vec<Source>) -> Result<(), Failure> {
    let unread = |error: io::Error| Failure::Reason(format!("{} cannot be read: {error}", path.display()));
    if !path.metadata().map_err(unread)?.is_dir() {
        files.push(Source { file: path.to_owned(), form: is_eml(path).then_some(Form::Single) });
        return Ok(());
    }
    let maildir: Vec<PathBuf> =
        ["cur", "new"].map(|name| path.join(name)).into_iter().filter(|p| p.is_dir()).collect();
    let is_maildir = !maildir.is_empty();
    let mut found = Vec::new();
    for dir in if is_maildir { maildir } else { vec![path.to_owned()] } {
        for entry in dir.read_dir().map_err(unread)? {
            let file = entry.map_err(unread)?.path();
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if file.is_file() && !name.starts_with('.') && (is_maildir || is_eml(&file)) {
                found.push((arrival(&name), name.len(), name, file));
            }
        }
    }
    if found.is_empty() && !is_maildir {
        let path = path.display();
        let reason = format!("{path} is no Maildir and has no file whose name ends in .eml");
        return Err(Failure::Reason(reason));
    }
    found.sort();
    files.extend(found.into_iter().map(|(.., file)| Source { file, form: Some(Form::Single) }));
    Ok(())
}

fn is_eml(file: &Path) -> bool {
    file.extension().is_some_and(|end| end.eq_ignore_ascii_case("eml"))
}

/// The number that a name begins with: in a Maildir the time of arrival. Where that does not tell, shorter
/// names come first: so do the unique-ids that `export` makes names of.
fn arrival(name: &str) -> u64 {
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    name.get(..digits).and_then(|digits| digits.parse().ok()).unwrap_or(u64::MAX)
}

struct Import<'s> {
    store: &'s Store,
    mailbox: MailboxName,
    octets_max: usize,
    bar: &'s ProgressBar,
    batch: Vec<Vec<u8>>,
    tally: Tally,
}

impl Import<'_> {
    async fn files(&mut self, files: &[Source], stop: &CancellationToken) -> Result<(), Failure> {
        for Source { file, form } in files {
            let unread =
                |error: io::Error| Failure::Reason(format!("{} cannot be read: {error}", file.display()));
            let mut reader = BufReader::new(self.bar.wrap_read(File::open(file).map_err(unread)?));
            let form = match form {
                Some(form) => *form,
                None => sniffed(&mut reader).map_err(unread)?,
            };
            let mut messages = Messages::new(reader, form, self.octets_max);
            let mut number = 0;
            while let Some(found) = messages.next_message().map_err(unread)? {
                go_on(stop)?;
                number += 1;
                self.found(found, &format!("{}: message {number}", file.display())).await?;
            }
        }
        self.deliver_batch().await
    }

    async fn found(&mut self, found: Found, which: &str) -> Result<(), Failure> {
        let message = match found {
            Found::Message(message) if message.is_empty() => {
                self.tally.empty += 1;
                self.say(format!("{which} has not one octet and is left out"));
                return Ok(());
            }
            Found::TooLarge => {
                self.tally.too_large += 1;
                let octets_max = self.octets_max;
                let limit = format!("is larger than limits.message_size ({octets_max} octets)");
                self.say(format!("{which} {limit} and is left out"));
                return Ok(());
            }
            Found::Message(message) => message,
        };
        if !begins_with_a_field(&message) {
            self.tally.headless += 1;
            if self.tally.headless <= HEADLESS_TOLD_MAX {
                self.say(format!("warning: {which} begins with no header field; it is imported as it is"));
            }
        }
        self.take(message).await
    }

    fn say(&self, what: String) {
        self.bar.suspend(|| complain(what));
    }

    async fn take(&mut self, message: Vec<u8>) -> Result<(), Failure> {
        if message.len() > WHOLE_OCTETS_MAX {
            self.deliver_batch().await?;
            return self.deliver_large(message.into()).await;
        }
        self.batch.push(message);
        let octets: usize = self.batch.iter().map(Vec::len).sum();
        if self.batch.len() >= BATCH_MESSAGES_MAX || octets >= BATCH_OCTETS_MAX {
            self.deliver_batch().await?;
        }
        Ok(())
    }

    async fn deliver_batch(&mut self) -> Result<(), Failure> {
        let mut deliveries = Vec::with_capacity(self.batch.len());
        for message in std::mem::take(&mut self.batch) {
            deliveries.push(self.delivery(Body::Memory(vec![message.into()]))?);
        }
        // They are given to the writer in this order, and so keep it.
        let answers = join_all(deliveries.into_iter().map(|delivery| self.store.deliver(delivery))).await;
        let mut failure = None;
        for answer in answers {
            match answer {
                Ok(_) => self.tally.imported += 1,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(()), |error| Err(Failure::because(error)))
    }

    async fn deliver_large(&mut self, message: Bytes) -> Result<(), Failure> {
        let mut staging = self.store.stage().await.map_err(Failure::because)?;
        let mut rest = message;
        while !rest.is_empty() {
            let slice = rest.split_to(rest.len().min(SLICE_OCTETS));
            staging.push(slice).await.map_err(Failure::because)?;
        }
        let delivery = self.delivery(staging.body())?;
        self.store.deliver(delivery).await.map_err(Failure::because)?;
        self.tally.imported += 1;
        Ok(())
    }

    /// Nothing is put on top: RETR gives back what was in the file.
    fn delivery(&self, body: Body) -> Result<Delivery, Failure> {
        let bits = getrandom::u64().map_err(Failure::because)?;
        let copies = vec![MailboxCopy { mailbox: self.mailbox.clone(), head: Bytes::new() }];
        Ok(Delivery { queue_id: QueueId::from_random(bits), body, copies, overdraft: Overdraft::Refused })
    }
}

/// Whether the first line is a name of printable characters and a colon, as every message begins.
fn begins_with_a_field(message: &[u8]) -> bool {
    let Some(colon) = message.iter().position(|octet| *octet == b':') else { return false };
    let name = message.get(..colon).unwrap_or_default().trim_ascii_end();
    !name.is_empty() && name.iter().all(u8::is_ascii_graphic)
}

/// What is in a file whose name does not tell. An empty one is an mbox without a message.
fn sniffed(file: &mut impl BufRead) -> io::Result<Form> {
    let beginning = file.fill_buf()?;
    let is_mbox = beginning.is_empty() || beginning.starts_with(b"From ");
    Ok(if is_mbox { Form::Mbox } else { Form::Single })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_begins_with_a_header_field() {
        for good in ["Subject: x", "X-1:", "Received : by old programs", "From: a\r\n\r\n"] {
            assert!(begins_with_a_field(good.as_bytes()), "{good}");
        }
        for bad in ["", "\r\nSubject: x", "just text", "two words: x", ": x", "\u{fc}: x", " a: b"] {
            assert!(!begins_with_a_field(bad.as_bytes()), "{bad}");
        }
    }
}
