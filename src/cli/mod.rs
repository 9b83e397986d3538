//! The commands of the program: what may be written on the command line, and who does it.

pub mod account;
pub mod alias;
pub mod backup;
pub mod check;
pub mod export;
pub mod guard;
pub mod import;
pub mod interrupt;
pub mod mailfile;
pub mod message;
pub mod mime;
pub mod open;
pub mod output;
pub mod pages;
pub mod part;
pub mod password;
pub mod progress;
pub mod ready;
pub mod text;
pub mod tls;
pub mod verify;

use crate::config::units::{self, Size, UnitError};
use crate::mail::address::{Address, AddressError};
use crate::mail::ids::MsgNo;
use crate::serve::{self, Lifetime};
use crate::store::accounts::AliasName;
use account::{Form, Present};
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use export::Target;
use message::View;
use output::{Failure, Output};
use part::Existing;
use password::Source;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

// No line is longer than a usual terminal.
const EXAMPLES: &str = "\
Examples:
  pillarbox serve                             catch mail on 127.0.0.1:1025, give
                                              it out on 127.0.0.1:1110
  pillarbox serve --ephemeral                 the same, all forgotten at the end
  pillarbox message list alice@example.org    what has come for alice
  pillarbox message show alice@example.org 1  the first message
  pillarbox --config /etc/pillarbox/pillarbox.toml check

Without --config the file is ./pillarbox.toml, else
/etc/pillarbox/pillarbox.toml, if there is one. A variable overrides a key:
PILLARBOX_LISTEN__SMTP=0.0.0.0:25 is smtp below [listen].

Exit codes: 0 done, 1 it could not be done (the reason is on standard error),
2 wrong usage.";

/// A mail server in one binary: mail in over SMTP, kept in one SQLite file, out over POP3.
#[derive(Debug, Parser)]
#[command(name = "pillarbox", version, after_help = EXAMPLES)]
#[command(subcommand_required = true, arg_required_else_help = true)]
struct CommandLine<Commands: Subcommand> {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Commands,
}

/// What may be written, and is not all told in the help.
#[derive(Debug, Subcommand)]
enum Known {
    #[command(flatten)]
    Told(Command),
    /// Writes manual pages and shell completions into DIR, for whoever packages the program.
    #[command(hide = true)]
    Pages {
        /// A directory, made when it does not exist.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
}

/// Options of every command.
#[derive(Args, Debug)]
pub struct Global {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The data directory, over the key data_dir.
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server until SIGTERM or SIGINT.
    #[command(after_help = "Prints one line `ready smtp=… pop3=…` when every listener is bound; logs go\n\
                            to standard error. The first signal lets what is under way finish, a second\n\
                            one ends it at once.")]
    Serve {
        /// Use a data directory that is made for this run and removed at its end.
        #[arg(long)]
        ephemeral: bool,
    },
    /// Says whether the configuration is sound, or every fault with what to write instead.
    Check,
    /// Adds, lists and removes mailboxes; works while the server runs.
    #[command(subcommand, arg_required_else_help = true)]
    Account(AccountCommand),
    /// Sends the mail of an address, or of a whole domain, to other mailboxes.
    #[command(subcommand, arg_required_else_help = true)]
    Alias(AliasCommand),
    /// Shows what is in a mailbox and changes nothing.
    #[command(subcommand, arg_required_else_help = true)]
    Message(MessageCommand),
    /// Writes all mail and accounts into one file, beside a running server or without one.
    #[command(
        after_help = "The file is the database as it was at one moment, with all that was acknowledged\n\
                            before the command began. It is written beside FILE, synced, checked as\n\
                            `verify` does, and only then given its name. Passwords are in it as\n\
                            hashes: keep it as safe as the server.\n\n\
                            Example:\n  pillarbox backup /backup/pillarbox-$(date +%F).db"
    )]
    Backup {
        /// The file to make.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Take the place of a file of that name, once the new one is whole.
        #[arg(long)]
        force: bool,
    },
    /// Makes the database of the data directory out of a backup.
    #[command(
        after_help = "The server must not run, and the data directory must have no database. The backup\n\
                            is checked first. Messages keep their unique-ids; new ones get ids that were\n\
                            never given before, so that no client takes new mail for mail it has seen.\n\n\
                            Example:\n  mv pillarbox-data pillarbox-data.old\n  \
                            pillarbox restore /backup/pillarbox-2026-01-31.db\n  pillarbox serve"
    )]
    Restore {
        /// The backup.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Copies the messages of a mailbox into an mbox or into files; changes nothing.
    #[command(
        group = clap::ArgGroup::new("target").required(true),
        after_help = "Every message is written as POP3 gives it, trace lines included. The mbox\n\
                            has LF line ends and is quoted as mboxrd; files have CRLF and are named by\n\
                            the unique-id, so that a second run adds only what is new.\n\n\
                            Examples:\n  pillarbox export alice@example.org --mbox alice.mbox\n  \
                            pillarbox export alice@example.org --eml alice/"
    )]
    Export {
        /// The address of the mailbox.
        #[arg(value_parser = address)]
        address: Address,
        /// Into this file, which must not exist; - is standard output.
        #[arg(long, value_name = "FILE", group = "target")]
        mbox: Option<PathBuf>,
        /// Into this directory, a file for each message.
        #[arg(long, value_name = "DIR", group = "target")]
        eml: Option<PathBuf>,
    },
    /// Puts messages out of mboxes, Maildirs and message files into a mailbox.
    #[command(
        after_help = "A PATH is an mbox, a file with one message, a Maildir (cur and new are read), or a\n\
                            directory with .eml files. Messages are kept as they are but for their line\n\
                            ends, which become CRLF; nothing is put on top. Those larger than\n\
                            limits.message_size are told and left out, and the command exits 1. Works\n\
                            beside a running server. Nothing is remembered of what was imported: a\n\
                            second run imports all of it again.\n\n\
                            Examples:\n  pillarbox import alice@example.org old.mbox\n  \
                            pillarbox import alice@example.org ~alice/Maildir"
    )]
    Import {
        /// The address whose mailbox gets them; in open mode it is made when it does not exist.
        #[arg(value_parser = address)]
        address: Address,
        /// Where the messages are.
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Says whether the database is whole: each thing that is wrong with it, one line each.
    #[command(
        after_help = "Checks the pages of the database, that every message has all of its octets, that\n\
                            every count is right, and that nothing is left over. Changes nothing and works\n\
                            beside a running server. Exits 1 when something is wrong."
    )]
    Verify {
        /// A backup, or another database; without it that of the data directory.
        #[arg(value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Makes what TLS needs, for trials.
    #[command(subcommand, arg_required_else_help = true)]
    Tls(TlsCommand),
    /// Says whether the running server answers, for health checks.
    #[command(after_help = "Example:\n  pillarbox ready --wait 10s && swaks --server 127.0.0.1:1025 …")]
    Ready {
        /// Ask again until it does, for this long at most, such as 10s.
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        wait: Option<Duration>,
    },
}

#[derive(Debug, Subcommand)]
enum TlsCommand {
    /// Makes an authority of your own, once, and a certificate for this host, anew each time.
    #[command(
        after_help = "Both are made in the directory tls of the data directory. The certificate is for\n\
                            localhost, 127.0.0.1, ::1, the hostname of the configuration, and each NAME.\n\
                            The server uses it only when the configuration says so.\n\n\
                            Example:\n  pillarbox tls dev --name mail.test --name 192.0.2.7"
    )]
    Dev {
        /// Another host name or address that the certificate is for.
        #[arg(long = "name", value_name = "NAME", value_parser = tls::name, num_args = 1..)]
        names: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
enum AccountCommand {
    /// Adds an account; asks for its password on the terminal.
    #[command(after_help = "Examples:\n  pillarbox account add alice@example.org --quota '1 GiB'\n  \
                            pillarbox account add alice@example.org --password-stdin < password.txt")]
    Add {
        /// Its address.
        #[arg(value_parser = address)]
        address: Address,
        #[command(flatten)]
        password: PasswordFrom,
        /// Most that its mailbox holds, such as "1 GiB"; "off" for no limit. Else limits.default_quota
        /// counts.
        #[arg(long, value_name = "SIZE", value_parser = size)]
        quota: Option<Size>,
        /// Leave an account that is there as it is, and call that done.
        #[arg(long)]
        if_missing: bool,
    },
    /// Lists accounts, and the mailboxes that open mode has made.
    List {
        /// As a JSON list of objects.
        #[arg(long)]
        json: bool,
    },
    /// Gives an account another password.
    Password {
        /// Its address.
        #[arg(value_parser = address)]
        address: Address,
        #[command(flatten)]
        password: PasswordFrom,
    },
    /// Removes an account with all its mail.
    Remove {
        /// Its address.
        #[arg(value_parser = address)]
        address: Address,
    },
}

/// Where a password comes from; without either option the terminal is asked.
#[derive(Args, Debug)]
struct PasswordFrom {
    /// Read the password from the first line of standard input.
    #[arg(long, conflicts_with = "password_file")]
    password_stdin: bool,
    /// Read the password from the first line of a file.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl From<PasswordFrom> for Source {
    fn from(from: PasswordFrom) -> Source {
        match from.password_file {
            Some(file) => Source::File(file),
            None if from.password_stdin => Source::StandardInput,
            None => Source::Terminal,
        }
    }
}

#[derive(Debug, Subcommand)]
enum AliasCommand {
    /// Adds an alias: mail for ADDRESS goes to each TARGET.
    #[command(after_help = "Examples:\n  \
                            pillarbox alias add sales@example.org alice@example.org bob@example.org\n  \
                            pillarbox alias add @example.org alice@example.org   all other addresses")]
    Add {
        /// The address, or @DOMAIN for every address of the domain that is nothing else.
        #[arg(value_parser = alias::parse_name)]
        address: AliasName,
        /// Accounts or other aliases.
        #[arg(required = true, value_name = "TARGET", value_parser = address)]
        targets: Vec<Address>,
    },
    /// Lists aliases.
    List {
        /// As a JSON list of objects.
        #[arg(long)]
        json: bool,
    },
    /// Removes an alias; mail that it has brought stays where it is.
    Remove {
        /// The address, or @DOMAIN.
        #[arg(value_parser = alias::parse_name)]
        address: AliasName,
    },
}

#[derive(Debug, Subcommand)]
enum MessageCommand {
    /// Lists the messages of a mailbox: number, date, from, subject, size, attachments.
    List {
        /// The address of the mailbox.
        #[arg(value_parser = address)]
        address: Address,
        /// As a JSON list of objects.
        #[arg(long)]
        json: bool,
    },
    /// Shows one message.
    Show {
        /// The address of the mailbox.
        #[arg(value_parser = address)]
        address: Address,
        /// Its number in the list, counted from 1.
        #[arg(value_parser = number)]
        number: MsgNo,
        /// Exactly as it came, with the trace lines that the server put on top.
        #[arg(long)]
        raw: bool,
    },
}

fn address(text: &str) -> Result<Address, AddressError> {
    Address::parse(text)
}

fn duration(text: &str) -> Result<Duration, UnitError> {
    units::duration(text)
}

fn size(text: &str) -> Result<Size, UnitError> {
    units::size(text)
}

fn number(text: &str) -> Result<MsgNo, &'static str> {
    MsgNo::parse(text.as_bytes()).ok_or("messages are numbered 1, 2, 3 …")
}

/// Runs the program: `arguments` with its own name first. The result is its exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    speak_plainly_of_panics();
    let line = match CommandLine::<Known>::try_parse_from(arguments) {
        Ok(line) => line,
        Err(error) => return usage(&error),
    };
    let mut out = Output::new();
    let done = dispatch(line, &mut out);
    // What was said before a failure is said all the same.
    let said = out.flush();
    match done.and(said) {
        Ok(()) | Err(Failure::ReaderGone) => ExitCode::SUCCESS,
        Err(Failure::Usage(error)) => usage(&error),
        Err(Failure::Faults(faults)) => {
            output::tell_faults(&faults);
            ExitCode::FAILURE
        }
        Err(Failure::Reason(reason)) => {
            output::complain(reason);
            ExitCode::FAILURE
        }
    }
}

/// Help and version are asked for and go to standard output; the rest is wrong usage.
fn usage(error: &clap::Error) -> ExitCode {
    // Whoever does not read it, as `head` does not, has seen enough.
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// A panic is a fault of this program, and told in one line; on the threads that read strangers'
/// messages it is expected and not told at all.
fn speak_plainly_of_panics() {
    std::panic::set_hook(Box::new(|panic| {
        if std::thread::current().name() == Some(guard::THREAD) {
            return;
        }
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let what = panic.payload_as_str().unwrap_or("no words");
        let what = text::one_line(what);
        let _ = writeln!(std::io::stderr().lock(), "pillarbox: a fault of the program at {place}: {what}");
    }));
}

/// The parser asks for a target itself; should it ever not, this is what it says.
fn no_target() -> Failure {
    let text = "--mbox FILE or --eml DIR is missing";
    let error = CommandLine::<Command>::command().error(ErrorKind::MissingRequiredArgument, text);
    Failure::Usage(Box::new(error))
}

fn dispatch(line: CommandLine<Known>, out: &mut Output) -> Result<(), Failure> {
    let CommandLine { global, command } = line;
    let command = match command {
        Known::Told(command) => command,
        Known::Pages { dir } => return pages::write(CommandLine::<Command>::command(), &dir, out),
    };
    if let Command::Serve { ephemeral: true } = command
        && global.data_dir.is_some()
    {
        let text = "--ephemeral makes a data directory of its own and cannot be used with --data-dir";
        let error = CommandLine::<Known>::command().error(ErrorKind::ArgumentConflict, text);
        return Err(Failure::Usage(Box::new(error)));
    }
    let config = || open::configuration(&global);
    let form = |json| if json { Form::Json } else { Form::Table };
    match command {
        Command::Serve { ephemeral } => {
            let lifetime = if ephemeral { Lifetime::Ephemeral } else { Lifetime::Kept };
            let (config, inherited) = open::with_inherited(&global)?;
            serve::run(config, lifetime, inherited).map_err(Failure::because)
        }
        Command::Backup { file, force } => {
            let existing = if force { Existing::Replace } else { Existing::Keep };
            backup::back_up(&config()?, &file, existing, out)
        }
        Command::Export { address, mbox, eml } => {
            let target = mbox.map(Target::mbox).or(eml.map(Target::Eml)).ok_or_else(no_target)?;
            export::run(&config()?, &address, &target, out)
        }
        Command::Import { address, paths } => import::run(&config()?, &address, &paths, out),
        Command::Restore { file } => backup::restore(&config()?, &file, out),
        Command::Verify { file } => verify::run(&config()?, file.as_deref(), out),
        Command::Check => check::run(open::examined(&global), out),
        Command::Ready { wait } => ready::run(&config()?, wait, out),
        Command::Tls(TlsCommand::Dev { names }) => {
            tls::make(&open::with_certificate_to_come(&global)?, &names, out)
        }
        Command::Account(command) => match command {
            AccountCommand::Add { address, password, quota, if_missing } => {
                let present = if if_missing { Present::Left } else { Present::Refused };
                account::add(&config()?, &address, &password.into(), quota, present, out)
            }
            AccountCommand::List { json } => account::list(&config()?, form(json), out),
            AccountCommand::Password { address, password } => {
                account::set_password(&config()?, &address, &password.into(), out)
            }
            AccountCommand::Remove { address } => account::remove(&config()?, &address, out),
        },
        Command::Alias(command) => match command {
            AliasCommand::Add { address, targets } => alias::add(&config()?, address, &targets, out),
            AliasCommand::List { json } => alias::list(&config()?, form(json), out),
            AliasCommand::Remove { address } => alias::remove(&config()?, &address, out),
        },
        Command::Message(command) => match command {
            MessageCommand::List { address, json } => message::list(&config()?, &address, form(json), out),
            MessageCommand::Show { address, number, raw } => {
                let view = if raw { View::Raw } else { View::Readable };
                message::show(&config()?, &address, number, view, out)
            }
        },
    }
}
