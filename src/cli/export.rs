//! `pillarbox export`: a mailbox as one mbox, or as a folder with a file for each message. Changes nothing,
//! and works beside a running server.

use super::interrupt::{go_on, heeding, or_interrupted};
use super::mailfile::MboxWriter;
use super::message::with_listing;
use super::output::{Failure, Output, complain};
use super::part::{Existing, Part, kind, may_be_made, unwritten};
use super::progress;
use super::text::counted;
use crate::config::Config;
use crate::mail::address::Address;
use crate::mail::listing::{Entry, Listing};
use crate::store::Store;
use crate::store::outcome::Error;
use crate::store::reader::MessageReader;
use bytes::Bytes;
use indicatif::ProgressBar;
use jiff::{Timestamp, fmt::rfc2822, tz::TimeZone};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use tokio_util::sync::CancellationToken;

/// Where a mailbox goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// A file that does not exist yet.
    Mbox(PathBuf),
    /// Standard output, as an mbox.
    StandardOutput,
    /// A directory; it is made when it does not exist.
    Eml(PathBuf),
}

impl Target {
    /// An mbox of that name; `-` is standard output.
    #[must_use]
    pub fn mbox(name: PathBuf) -> Target {
        if name.as_os_str() == "-" { Target::StandardOutput } else { Target::Mbox(name) }
    }
}

/// Messages written, messages that were there already, messages that went meanwhile.
#[derive(Debug, Default)]
struct Tally {
    written: u64,
    there: u64,
    gone: u64,
}

/// Exports the mailbox of an address.
///
/// # Errors
/// [`Failure`] when there is no such mailbox, or something cannot be read or written.
pub fn run(config: &Config, address: &Address, target: &Target, out: &mut Output) -> Result<(), Failure> {
    let mut tally = Tally::default();
    with_listing(config, address, async |store, listing| {
        let bar = progress::messages("exporting", listing.entries().len() as u64);
        let done = to_target(store, listing, target, &bar, &mut tally, out).await;
        bar.finish_and_clear();
        done
    })?;
    let Tally { written, there, gone } = tally;
    if gone > 0 {
        let messages = counted(gone, "message was", "messages were");
        complain(format_args!("{messages} deleted while the mailbox was exported"));
    }
    let written = counted(written, "message", "messages");
    match target {
        Target::Mbox(file) => out.line(format_args!("exported {written} to {}", file.display())),
        Target::StandardOutput => {
            complain(format_args!("exported {written}"));
            Ok(())
        }
        Target::Eml(dir) => {
            out.line(format_args!("exported {written} to {}; {there} were there already", dir.display()))
        }
    }
}

async fn to_target(
    store: &Store,
    listing: &Listing,
    target: &Target,
    bar: &ProgressBar,
    tally: &mut Tally,
    out: &mut Output,
) -> Result<(), Failure> {
    let entries = listing.entries();
    match target {
        Target::StandardOutput => {
            // Whoever reads may let us wait, and nothing is to be taken away: a signal ends this where it is.
            let mut export = Export { store, bar, tally, stop: &CancellationToken::new() };
            export.write(entries, out.writer(), &Failure::from).await.map(drop)
        }
        Target::Mbox(file) => {
            let work = heeding(async |stop| {
                let done = Export { store, bar, tally, stop }.mbox(entries, file).await;
                done.map_err(|failure| or_interrupted(stop, failure, "no file was made"))
            });
            work.await
        }
        Target::Eml(dir) => {
            let work = heeding(async |stop| {
                let named = entries.iter().map(|entry| (entry, listing.uid(entry).to_string()));
                let done = Export { store, bar, tally, stop }.eml(named, dir).await;
                let left = "the files that were made are whole, and a second run adds the others";
                done.map_err(|failure| or_interrupted(stop, failure, left))
            });
            work.await
        }
    }
}

struct Export<'e> {
    store: &'e Store,
    bar: &'e ProgressBar,
    tally: &'e mut Tally,
    stop: &'e CancellationToken,
}

impl Export<'_> {
    async fn mbox(&mut self, entries: &[Entry], file: &Path) -> Result<(), Failure> {
        may_be_made(file, Existing::Keep)?;
        let mut part = Part::beside(file)?;
        let failed = |error: io::Error| unwritten(file, error);
        let mut written = self.write(entries, BufWriter::new(part.file()), &failed).await?;
        written.flush().map_err(failed)?;
        drop(written);
        part.sync()?;
        part.put(Existing::Keep)
    }

    /// Writes the messages as an mbox.
    async fn write<W: Write>(
        &mut self,
        entries: &[Entry],
        into: W,
        failed: &impl Fn(io::Error) -> Failure,
    ) -> Result<W, Failure> {
        let mut writer = MboxWriter::new(into);
        for entry in entries {
            self.bar.inc(1);
            let mut reader = self.store.peek_message(entry);
            let Some(first) = self.present(reader.next().await)? else { continue };
            let (sender, date) = postmark(&first);
            writer.begin(&sender, &date).and_then(|()| writer.write(&first)).map_err(failed)?;
            while let Some(slice) = self.next(&mut reader).await? {
                writer.write(&slice).map_err(failed)?;
            }
            writer.end().map_err(failed)?;
            self.tally.written += 1;
        }
        Ok(writer.into_inner())
    }

    async fn eml(
        &mut self,
        entries: impl Iterator<Item = (&Entry, String)>,
        dir: &Path,
    ) -> Result<(), Failure> {
        if dir.metadata().is_ok_and(|there| !there.is_dir()) {
            let reason = format!("{} is no directory; --mbox writes into a file", dir.display());
            return Err(Failure::Reason(reason));
        }
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| unwritten(dir, error))?;
        for (entry, uid) in entries {
            self.bar.inc(1);
            // A unique-id is of hexadecimal digits and one dot: no name that mail could choose.
            let file = dir.join(format!("{uid}.eml"));
            if is_there(&file, entry.octets)? {
                self.tally.there += 1;
                continue;
            }
            let failed = |error: io::Error| unwritten(&file, error);
            let mut reader = self.store.peek_message(entry);
            let Some(first) = self.present(reader.next().await)? else { continue };
            let mut part = Part::beside(&file)?;
            part.file().write_all(&first).map_err(failed)?;
            while let Some(slice) = self.next(&mut reader).await? {
                part.file().write_all(&slice).map_err(failed)?;
            }
            part.rename_over()?;
            self.tally.written += 1;
        }
        // All of them with one call: a sync for each would take far longer than the rest.
        let synced = File::open(dir).and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
        synced.map_err(|error| unwritten(dir, error))
    }

    /// The beginning of a message; `None` when the message is gone. One without an octet begins with none.
    fn present<T: Default>(&mut self, first: Result<Option<T>, Error>) -> Result<Option<T>, Failure> {
        go_on(self.stop)?;
        match first {
            Ok(first) => Ok(Some(first.unwrap_or_default())),
            Err(Error::Gone) => {
                self.tally.gone += 1;
                Ok(None)
            }
            Err(error) => Err(Failure::because(error)),
        }
    }

    /// The next slice of a message.
    async fn next(&self, reader: &mut MessageReader) -> Result<Option<Bytes>, Failure> {
        go_on(self.stop)?;
        reader.next().await.map_err(Failure::because)
    }
}

/// Whether a message has its file already. One that was cut short by a power cut, or is a link, is written
/// anew; what else has the name is not for us to take away.
fn is_there(file: &Path, octets: u64) -> Result<bool, Failure> {
    let Ok(there) = file.symlink_metadata() else { return Ok(false) };
    if there.is_file() || there.is_symlink() {
        return Ok(there.is_file() && there.len() == octets);
    }
    let kind = kind(there.file_type());
    Err(Failure::Reason(format!("{} is {kind}; move it away", file.display())))
}

/// Who sent a message and when it came, as its trace lines tell.
fn postmark(beginning: &[u8]) -> (String, String) {
    let header = String::from_utf8_lossy(beginning);
    let header =
        header.split("\r\n\r\n").next().unwrap_or_default().replace("\r\n\t", " ").replace("\r\n ", " ");
    let field = |name: &str| header.split("\r\n").find_map(|line| line.strip_prefix(name));
    let sender = field("Return-Path:").unwrap_or_default().trim().trim_matches(['<', '>']);
    let is_plain = !sender.is_empty() && sender.chars().all(|c| c.is_ascii_graphic());
    let received = field("Received:").and_then(|field| field.rsplit_once(';')).map(|(_, date)| date.trim());
    let received = received.and_then(|date| rfc2822::parse(date).ok()).map(|zoned| zoned.timestamp());
    let date = received.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(TimeZone::UTC);
    let sender = if is_plain { sender } else { "MAILER-DAEMON" };
    (sender.to_owned(), date.strftime("%a %b %e %H:%M:%S %Y").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_before_a_message_tells_sender_and_time_from_the_trace_lines() {
        let message =
            b"Return-Path: <a@b.example>\r\nReceived: from x by y\r\n\tid z; Tue, 24 Nov 2026 18:05:05 +0100\
            \r\n\r\nReceived: no; x";
        assert_eq!(postmark(message), ("a@b.example".into(), "Tue Nov 24 17:05:05 2026".into()));
        let nothing = ("MAILER-DAEMON".to_owned(), "Thu Jan  1 00:00:00 1970".to_owned());
        assert_eq!(postmark(b"Return-Path: <>\r\n\r\n"), nothing);
        assert_eq!(postmark(b"Return-Path: <\"a b\"@c>\r\n"), nothing);
        assert_eq!(postmark(b""), nothing);
    }
}
