//! `pillarbox message`: what is in a mailbox. Changes nothing, and works beside a running server.

use super::account::Form;
use super::guard::guarded;
use super::mime::{Attachment, Digest, Extent, digest};
use super::open::{database_exists, with_store};
use super::output::{Failure, Output, Place};
use super::text::{Side, Table, cut, lines, one_line};
use crate::config::{Config, Mode};
use crate::mail::address::Address;
use crate::mail::ids::MsgNo;
use crate::mail::listing::{Entry, Listing};
use crate::store::Store;
use crate::store::accounts::AliasName;
use crate::store::reader::MessageReader;
use serde::Serialize;
use std::time::Duration;

/// What is read of a message for its header.
const BEGINNING_OCTETS: u64 = 256 << 10;
/// The largest message that is taken apart; of a larger one only the header is shown.
const WHOLE_OCTETS_MAX: u64 = 32 << 20;
/// How long the reading of one message may take. The largest takes well under a second.
const READING_MAX: Duration = Duration::from_secs(5);
/// After so many messages that could not be read in time no more are tried: each has left a thread
/// behind that goes on.
const GIVEN_UP_MAX: u32 = 4;
/// How wide the columns of a table get.
const FROM_CHARACTERS: usize = 40;
const SUBJECT_CHARACTERS: usize = 78;

/// How one message looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// Its header, its text and the names of its attachments.
    Readable,
    /// Its octets.
    Raw,
}

/// One message in JSON. These names are never changed.
#[derive(Serialize)]
struct Row {
    number: usize,
    date: Option<String>,
    from: Option<String>,
    subject: Option<String>,
    octets: u64,
    /// Their names; `null` where the message was not taken apart.
    attachments: Option<Vec<String>>,
}

/// Whether there was a mailbox to work on.
enum Visit {
    Done,
    /// There is none of that name, and no alias either.
    Vain,
}

/// Lists the messages of a mailbox. In open mode one that mail has not made yet is an empty one.
///
/// # Errors
/// [`Failure`] when there is no such mailbox or it cannot be read.
pub fn list(config: &Config, address: &Address, form: Form, out: &mut Output) -> Result<(), Failure> {
    let mut messages = 0;
    let mut table = Table::new([
        ("NUMBER", Side::Right),
        ("DATE", Side::Left),
        ("FROM", Side::Left),
        ("SUBJECT", Side::Left),
        ("OCTETS", Side::Right),
        ("ATTACHMENTS", Side::Right),
    ]);
    let visit = visit(config, address, async |store, listing| {
        let mut reading = Reading::default();
        messages = listing.entries().len();
        for (index, entry) in listing.entries().iter().enumerate() {
            let row = row(index + 1, entry, &reading.summary(store, entry).await?);
            match form {
                Form::Json => out.json_item(&row, Place::of(index))?,
                Form::Table => table.row(cells(&row)),
            }
        }
        Ok(())
    })?;
    if let (Visit::Vain, Mode::Closed) = (visit, config.accounts.mode) {
        return Err(unknown(address));
    }
    match form {
        Form::Json => out.json_end(messages),
        Form::Table => table.lines().try_for_each(|line| out.line(line)),
    }
}

fn row(number: usize, entry: &Entry, digest: &Digest) -> Row {
    let line = |text: &Option<String>| text.as_deref().map(one_line);
    Row {
        number,
        date: digest.date.clone(),
        from: line(&digest.from),
        subject: line(&digest.subject),
        octets: entry.octets,
        attachments: digest.attachments.as_ref().map(|list| list.iter().map(shown_name).collect()),
    }
}

fn cells(row: &Row) -> [String; 6] {
    let or_dash = |text: &Option<String>, characters| {
        text.as_deref().map_or_else(|| "-".to_owned(), |text| cut(text, characters))
    };
    [
        row.number.to_string(),
        or_dash(&row.date, FROM_CHARACTERS),
        or_dash(&row.from, FROM_CHARACTERS),
        or_dash(&row.subject, SUBJECT_CHARACTERS),
        row.octets.to_string(),
        row.attachments.as_ref().map_or_else(|| "?".to_owned(), |names| names.len().to_string()),
    ]
}

fn shown_name(attachment: &Attachment) -> String {
    attachment.name.as_deref().map_or_else(|| "unnamed".to_owned(), one_line)
}

/// Shows one message.
///
/// # Errors
/// [`Failure`] when there is no such mailbox or message, or it cannot be read.
pub fn show(
    config: &Config,
    address: &Address,
    number: MsgNo,
    view: View,
    out: &mut Output,
) -> Result<(), Failure> {
    let visit = visit(config, address, async |store, listing| {
        let entry = listing.get(number).ok_or_else(|| no_message(number, listing.entries().len()))?;
        let mut reader = store.peek_message(entry);
        if view == View::Raw {
            while let Some(slice) = reader.next().await.map_err(Failure::because)? {
                out.octets(&slice)?;
            }
            return Ok(());
        }
        let (limit, extent) = match entry.octets {
            ..=WHOLE_OCTETS_MAX => (WHOLE_OCTETS_MAX, Extent::Whole),
            _ => (BEGINNING_OCTETS, Extent::Beginning),
        };
        let mut raw = Vec::new();
        fill(&mut raw, &mut reader, limit).await?;
        // What cannot be read in time is shown as what is known of it without reading.
        let digest = guarded(READING_MAX, move || digest(raw, extent)).await.unwrap_or_default();
        readable(&digest, entry, out)
    })?;
    match (visit, config.accounts.mode) {
        (Visit::Done, _) => Ok(()),
        (Visit::Vain, Mode::Open) => Err(no_message(number, 0)),
        (Visit::Vain, Mode::Closed) => Err(unknown(address)),
    }
}

fn no_message(number: MsgNo, of: usize) -> Failure {
    Failure::Reason(match of {
        0 => format!("there is no message {number}: the mailbox is empty"),
        1 => format!("there is no message {number}: the mailbox has 1 message"),
        n => format!("there is no message {number}: the mailbox has {n} messages"),
    })
}

fn readable(digest: &Digest, entry: &Entry, out: &mut Output) -> Result<(), Failure> {
    for (name, value) in [
        ("From", &digest.from),
        ("To", &digest.to),
        ("Cc", &digest.cc),
        ("Date", &digest.date),
        ("Subject", &digest.subject),
    ] {
        if let Some(value) = value {
            out.line(format_args!("{name}: {}", one_line(value)))?;
        }
    }
    out.line("")?;
    match &digest.text {
        Some(_) if entry.octets == 0 => out.line("(0 octets: the message is empty.)")?,
        Some(text) => out.line(lines(text).trim_end())?,
        None => out.line(format_args!(
            "({} octets: too large, or with too many parts, to be taken apart. --raw shows it as it came.)",
            entry.octets
        ))?,
    }
    let attachments = digest.attachments.as_deref().unwrap_or_default();
    if !attachments.is_empty() {
        out.line("\nAttachments:")?;
    }
    for attachment in attachments {
        let (name, kind) = (shown_name(attachment), one_line(&attachment.kind));
        out.line(format_args!("  {name} ({kind}, {} octets)", attachment.octets))?;
    }
    Ok(())
}

fn unknown(address: &Address) -> Failure {
    Failure::Reason(format!("there is no mailbox {}", address.name()))
}

/// Does `work` on a mailbox, which must exist.
pub(super) fn with_listing(
    config: &Config,
    address: &Address,
    work: impl AsyncFnOnce(&Store, &Listing) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match visit(config, address, work)? {
        Visit::Done => Ok(()),
        Visit::Vain => Err(unknown(address)),
    }
}

/// Finds a mailbox and does `work` on it.
fn visit(
    config: &Config,
    address: &Address,
    work: impl AsyncFnOnce(&Store, &Listing) -> Result<(), Failure>,
) -> Result<Visit, Failure> {
    if !database_exists(config)? {
        return Ok(Visit::Vain);
    }
    with_store(config, async |store| {
        let name = address.name();
        let mut listing = store.peek(&name).await.map_err(Failure::because)?;
        // Mail for alice+shop is in the mailbox of alice.
        if let (None, Some(name)) = (&listing, name.without_tag(&config.accounts.tag_separator)) {
            listing = store.peek(&name).await.map_err(Failure::because)?;
        }
        match listing {
            Some(listing) => work(store, &listing).await.map(|()| Visit::Done),
            None => led_on(config, store, address).await?.map_or(Ok(Visit::Vain), Err),
        }
    })
}

/// That an address is no mailbox but leads to others, by an alias of its own or that of its domain.
async fn led_on(config: &Config, store: &Store, address: &Address) -> Result<Option<Failure>, Failure> {
    let name = address.name();
    let aliases = store.aliases().await.map_err(Failure::because)?;
    let without_tag = name.without_tag(&config.accounts.tag_separator);
    let of_domain = AliasName::CatchAll(name.domain().clone());
    let names = [Some(name.clone()), without_tag].into_iter().flatten().map(AliasName::Address);
    let found = names.chain([of_domain]).find_map(|name| aliases.iter().find(|alias| alias.name == name));
    Ok(found.map(|alias| {
        let targets: Vec<_> = alias.targets.iter().map(ToString::to_string).collect();
        let (alias, targets) = (&alias.name, targets.join(", "));
        Failure::Reason(format!("{name} is no mailbox: the alias {alias} leads to {targets}; name that"))
    }))
}

/// Reads on until `raw` holds `limit` octets or all there are.
async fn fill(raw: &mut Vec<u8>, reader: &mut MessageReader, limit: u64) -> Result<(), Failure> {
    while (raw.len() as u64) < limit {
        match reader.next().await.map_err(Failure::because)? {
            Some(slice) => raw.extend_from_slice(&slice),
            None => break,
        }
    }
    Ok(())
}

/// The reading of many messages, some of which are made to break readers.
#[derive(Debug, Default)]
struct Reading {
    given_up: u32,
}

impl Reading {
    /// What a list shows of a message, which is nothing where it cannot be read.
    async fn summary(&mut self, store: &Store, entry: &Entry) -> Result<Digest, Failure> {
        if self.given_up >= GIVEN_UP_MAX {
            return Ok(Digest::default());
        }
        let mut reader = store.peek_message(entry);
        let mut raw = Vec::new();
        fill(&mut raw, &mut reader, BEGINNING_OCTETS).await?;
        let beginning = raw.clone();
        let header = self.digest(beginning, Extent::Beginning).await;
        if header.attachments.is_some() || entry.octets > WHOLE_OCTETS_MAX {
            return Ok(header);
        }
        fill(&mut raw, &mut reader, WHOLE_OCTETS_MAX).await?;
        let whole = self.digest(raw, Extent::Whole).await;
        Ok(Digest { attachments: whole.attachments, ..header })
    }

    async fn digest(&mut self, raw: Vec<u8>, extent: Extent) -> Digest {
        let digest = guarded(READING_MAX, move || digest(raw, extent)).await;
        if digest.is_none() {
            self.given_up += 1;
        }
        digest.unwrap_or_default()
    }
}
