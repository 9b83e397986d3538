//! What the tests of the whole program share: a home with its settings, the real binary started in
//! it on ports that the system picks, and clients that speak line by line.
//!
//! Nothing here sleeps: a test waits for a reply, a line of the log or an exit, and a deadline turns
//! a wait for something that never comes into a failure.
#![allow(dead_code, reason = "each test program uses its own part of this module")]
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test stops at what it cannot do, and says why"
)]

pub(crate) mod corpus;
pub(crate) mod frail;
pub(crate) mod programs;
pub(crate) mod wire;

use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The program under test.
pub(crate) const PILLARBOX: &str = env!("CARGO_BIN_EXE_pillarbox");
/// After this long, what a test waits for is taken never to come.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A directory with settings in which the program runs, with its data below.
#[derive(Debug)]
pub(crate) struct Home {
    dir: Arc<tempfile::TempDir>,
    data_dir: PathBuf,
    settings: BTreeMap<String, String>,
    wrapper: Vec<String>,
}

impl Home {
    /// Settings by key, as in `("limits.message_size", "1 MiB")`, over ports that the system picks.
    pub(crate) fn new(settings: &[(&str, &str)]) -> Home {
        let dir = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let data_dir = dir.path().join("data");
        let mut home = Home { dir, data_dir, settings: BTreeMap::new(), wrapper: Vec::new() };
        for (key, value) in [("listen.smtp", "127.0.0.1:0"), ("listen.pop3", "127.0.0.1:0")] {
            home.set(key, value);
        }
        for (key, value) in settings {
            home.set(key, value);
        }
        home
    }

    /// A home for accounts of `example.org`, with their passwords.
    pub(crate) fn closed(accounts: &[(&str, &str)]) -> Home {
        let home = Home::new(&[("accounts.mode", "closed"), ("accounts.domains", "example.org")]);
        for (address, password) in accounts {
            home.succeed(&["account", "add", address, "--password-stdin"], password);
        }
        home
    }

    pub(crate) fn set(&mut self, key: &str, value: &str) {
        self.settings.insert(key.to_owned(), value.to_owned());
    }

    /// Puts the data elsewhere, on a file system that the test has prepared.
    pub(crate) fn keep_data_in(&mut self, data_dir: &Path) {
        data_dir.clone_into(&mut self.data_dir);
    }

    /// Starts the program through another one, such as `strace -D`.
    pub(crate) fn wrap(&mut self, wrapper: &[&str]) {
        self.wrapper = wrapper.iter().map(|&word| word.to_owned()).collect();
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The program with these arguments, knowing nothing of the machine but this home.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut words =
            self.wrapper.iter().map(String::as_str).chain([PILLARBOX]).chain(arguments.iter().copied());
        let mut command = Command::new(words.next().unwrap_or(PILLARBOX));
        command.args(words).current_dir(self.path());
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("PILLARBOX"))
        {
            command.env_remove(name);
        }
        command.env("PILLARBOX_DATA_DIR", &self.data_dir);
        for (key, value) in &self.settings {
            command.env(format!("PILLARBOX_{}", key.to_uppercase().replace('.', "__")), value);
        }
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        // A program that refuses at once does not read its input.
        let _ = child.stdin.take().expect("a pipe").write_all(format!("{input}\n").as_bytes());
        child.wait_with_output().expect("the program ends")
    }

    /// Runs the program to its end, which must be a good one; what it wrote.
    pub(crate) fn succeed(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {}: {complaint}", output.status);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Starts `serve` and waits until it is ready.
    pub(crate) fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// The same, with arguments after `serve`.
    pub(crate) fn serve_with(&self, arguments: &[&str]) -> Server {
        let all: Vec<&str> = ["serve"].iter().chain(arguments).copied().collect();
        let mut server = Server::start_command(self.command(&all));
        server.home = Some(self.dir.clone());
        server
    }

    /// Starts a `serve` that may not get ready; how it ended then.
    pub(crate) fn try_serve(&self) -> Result<Server, Ended> {
        let mut server = Server::start(self.command(&["serve"]))?;
        server.home = Some(self.dir.clone());
        Ok(server)
    }

    /// Starts a `serve` that must not get ready; how it ended.
    pub(crate) fn serve_in_vain(&self) -> Ended {
        self.try_serve().expect_err("serve should not get ready here")
    }
}

/// How a server ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) log: String,
}

/// A running server. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    log: Arc<Log>,
    logged: Receiver<()>,
    /// The directory it runs in lives as long as it does.
    home: Option<Arc<tempfile::TempDir>>,
    /// The line on standard output.
    pub(crate) ready: String,
    pub(crate) smtp: SocketAddr,
    pub(crate) pop3: SocketAddr,
}

/// What the server wrote to standard error so far.
#[derive(Debug, Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

impl Server {
    /// Starts a command that a test has prepared, and waits until it is ready.
    pub(crate) fn start_command(command: Command) -> Server {
        Server::start(command).unwrap_or_else(|ended| panic!("serve did not get ready: {ended:?}"))
    }

    fn start(mut command: Command) -> Result<Server, Ended> {
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.expect("the program starts");
        let log = Arc::new(Log::default());
        let (all, logged) = channel();
        let stderr = child.stderr.take().expect("a pipe");
        let kept = log.clone();
        std::thread::spawn(move || {
            let mut lines = BufReader::new(stderr);
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|octets| octets > 0) {
                kept.text
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push_str(&String::from_utf8_lossy(&line));
                kept.grown.notify_all();
                line.clear();
            }
            drop(all);
        });
        let (first, first_line) = channel();
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || {
            let mut line = String::new();
            let _ = stdout.read_line(&mut line);
            let _ = first.send(line);
            let _ = stdout.read_to_end(&mut Vec::new());
        });
        let ready = first_line.recv_timeout(DEADLINE).unwrap_or_default();
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut server = Server { child, log, logged, home: None, ready, smtp: nowhere, pop3: nowhere };
        if !server.ready.starts_with("ready ") {
            return Err(server.wait());
        }
        server.smtp = server.address("smtp").unwrap_or(nowhere);
        server.pop3 = server.address("pop3").unwrap_or(nowhere);
        Ok(server)
    }

    /// The first address of one kind in the ready line.
    pub(crate) fn address(&self, kind: &str) -> Option<SocketAddr> {
        let words = self.ready.split_whitespace().filter_map(|word| word.split_once('='));
        let (_, addresses) = words.into_iter().find(|(name, _)| *name == kind)?;
        addresses.split(',').next()?.parse().ok()
    }

    /// The log so far.
    pub(crate) fn log(&self) -> String {
        self.log.text.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line of the log that holds all of `words`; that line.
    pub(crate) fn wait_for_log(&self, words: &[&str]) -> String {
        let until = Instant::now() + DEADLINE;
        let mut text = self.log.text.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(line) = text.lines().find(|line| words.iter().all(|word| line.contains(word))) {
                return line.to_owned();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "no line of the log has {words:?}:\n{text}");
            text = self.log.grown.wait_timeout(text, left).unwrap().0;
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("a signal to our own child");
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("our own child").is_some()
    }

    /// A line of what the system tells of the process: its first number.
    pub(crate) fn status(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("a line of that name");
        line.split_whitespace().nth(1).expect("a number").parse().expect("a number")
    }

    /// From now on `VmHWM:` tells the most memory since now.
    pub(crate) fn forget_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("our own child");
    }

    /// Files and sockets that it has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("it runs").count()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks the server to stop and waits until it has.
    pub(crate) fn stop(self) -> Ended {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Ends the server as a crash does.
    pub(crate) fn kill(self) -> Ended {
        self.signal(Signal::KILL);
        self.wait()
    }

    /// Waits for the end of a server that ends by itself.
    pub(crate) fn wait(mut self) -> Ended {
        // The log ends when the process does.
        let late = self.logged.recv_timeout(DEADLINE) == Err(RecvTimeoutError::Timeout);
        if late {
            let _ = self.child.kill();
        }
        let status = self.child.wait().expect("our own child");
        let log = self.log();
        assert!(!late, "the server did not end in time:\n{log}");
        Ended { status, log }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the server ---\n{}", self.log());
        }
    }
}
