//! `pillarbox export`: a mailbox as one mbox, or as a folder with a file for each message. Changes nothing,
//! and works beside a running server.

use super::backup::{Existing, beside, put};
use super::mailfile::MboxWriter;
use super::message::with_listing;
use super::output::{Failure, Output, complain};
use super::progress;
use crate::config::Config;
use crate::mail::address::Address;
use crate::mail::listing::Entry;
use crate::store::Store;
use crate::store::outcome::Error;
use indicatif::ProgressBar;
use jiff::{Timestamp, fmt::rfc2822, tz::TimeZone};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where a mailbox goes.
#[derive(Clone, Debug)]
pub enum Target {
    /// A file that does not exist yet.
    Mbox(PathBuf),
    /// A directory; it is made when it does not exist.
    Eml(PathBuf),
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
        let done = match target {
            Target::Mbox(file) => mbox(store, listing.entries(), file, &bar, &mut tally).await,
            Target::Eml(dir) => {
                let named = listing.entries().iter().map(|entry| (entry, listing.uid(entry).to_string()));
                eml(store, named, dir, &bar, &mut tally).await
            }
        };
        bar.finish_and_clear();
        done
    })?;
    let Tally { written, there, gone } = tally;
    if gone > 0 {
        complain(format_args!("{gone} messages were deleted while the mailbox was exported"));
    }
    match target {
        Target::Mbox(file) => out.line(format_args!("exported {written} messages to {}", file.display())),
        Target::Eml(dir) => out.line(format_args!(
            "exported {written} messages to {}; {there} were there already",
            dir.display()
        )),
    }
}

async fn mbox(
    store: &Store,
    entries: &[Entry],
    file: &Path,
    bar: &ProgressBar,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let unwritten = |error: io::Error| unwritten(file, &error);
    if file.symlink_metadata().is_ok() {
        return Err(Failure::Reason(format!("{} is there already; name another file", file.display())));
    }
    let mut part = beside(file)?;
    let mut writer = MboxWriter::new(BufWriter::new(part.as_file_mut()));
    for entry in entries {
        bar.inc(1);
        let mut reader = store.peek_message(entry);
        let Some(first) = present(reader.next().await, tally)? else { continue };
        let (sender, date) = postmark(&first);
        writer.begin(&sender, &date).and_then(|()| writer.write(&first)).map_err(unwritten)?;
        while let Some(slice) = reader.next().await.map_err(Failure::because)? {
            writer.write(&slice).map_err(unwritten)?;
        }
        writer.end().map_err(unwritten)?;
        tally.written += 1;
    }
    writer.into_inner().flush().map_err(unwritten)?;
    part.as_file().sync_all().map_err(unwritten)?;
    put(part, file, Existing::Keep)
}

async fn eml(
    store: &Store,
    entries: impl Iterator<Item = (&Entry, String)>,
    dir: &Path,
    bar: &ProgressBar,
    tally: &mut Tally,
) -> Result<(), Failure> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| unwritten(dir, &error))?;
    for (entry, uid) in entries {
        bar.inc(1);
        // A unique-id is of hexadecimal digits and one dot: no name that mail could choose.
        let file = dir.join(format!("{uid}.eml"));
        // One that was cut short by a power cut, or is no file, is written anew.
        if file.symlink_metadata().is_ok_and(|there| there.is_file() && there.len() == entry.octets) {
            tally.there += 1;
            continue;
        }
        let unwritten = |error: io::Error| unwritten(&file, &error);
        let mut reader = store.peek_message(entry);
        let Some(first) = present(reader.next().await, tally)? else { continue };
        let mut part = beside(&file)?;
        part.write_all(&first).map_err(unwritten)?;
        while let Some(slice) = reader.next().await.map_err(Failure::because)? {
            part.write_all(&slice).map_err(unwritten)?;
        }
        part.persist(&file).map_err(|error| unwritten(error.error))?;
        tally.written += 1;
    }
    // All of them with one call: a sync for each would take far longer than the rest.
    let synced = File::open(dir).and_then(|dir| Ok(rustix::fs::syncfs(dir)?));
    synced.map_err(|error| unwritten(dir, &error))
}

/// The beginning of a message; `None` when the message is gone. One without an octet begins with none.
fn present<T: Default>(first: Result<Option<T>, Error>, tally: &mut Tally) -> Result<Option<T>, Failure> {
    match first {
        Ok(first) => Ok(Some(first.unwrap_or_default())),
        Err(Error::Gone) => {
            tally.gone += 1;
            Ok(None)
        }
        Err(error) => Err(Failure::because(error)),
    }
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

fn unwritten(file: &Path, error: &io::Error) -> Failure {
    Failure::Reason(format!("{} cannot be written: {error}", file.display()))
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
