//! Commands that are told to stop while they write.

use super::support::{Home, corpus};
use super::{BOB, deliver};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

/// Starts a command and sends it a signal once it has begun a file in `dir`; how it ended.
fn signalled(home: &Home, arguments: &[&str], dir: &Path, signal: Signal) -> Output {
    let has_part = || {
        let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.into_iter().any(|name| name.to_string_lossy().contains(".part-"))
    };
    let mut command = home.command(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let pid = Pid::from_child(&child);
    while !has_part() && child.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    // It stands still while the signal comes, so that it cannot end before.
    let _ = kill_process(pid, Signal::STOP);
    let _ = kill_process(pid, signal);
    let _ = kill_process(pid, Signal::CONT);
    let ended = child.wait_with_output().unwrap();
    assert!(!has_part(), "nothing is left: {ended:?}");
    ended
}

/// Starts a command and sends it a signal once it has begun a file; what it complained of. One that was done
/// before is tried again.
fn interrupt(home: &Home, arguments: &[&str], dir: &Path, signal: Signal) -> String {
    for _ in 0..50 {
        let ended = signalled(home, arguments, dir, signal);
        if !ended.status.success() {
            assert_eq!(ended.status.code(), Some(1));
            return String::from_utf8(ended.stderr).unwrap();
        }
        let _ = fs::remove_file(dir.join(arguments.last().unwrap()));
        let _ = fs::remove_file(dir.join("pillarbox.db"));
    }
    panic!("{arguments:?} was always done before")
}

#[test]
fn a_backup_or_restore_that_is_interrupted_leaves_nothing_and_says_so() {
    let mut home = Home::new(&[]);
    // Whoever runs the tests in the background ignores some of them.
    home.wrap(&["env", "--default-signal=INT,TERM,HUP"]);
    let server = home.serve();
    deliver(&server, BOB, &vec![corpus::of_octets(2_000_000).message; 10]);
    assert!(server.stop().status.success());
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let told = interrupt(&home, &["backup", "b.db"], home.path(), signal);
        assert_eq!(told, "pillarbox: interrupted: no backup was made\n");
        assert!(!home.path().join("b.db").exists());
    }
    home.succeed(&["backup", "b.db"], "");
    let new = home.path().join("new");
    let told = interrupt(&home, &["--data-dir", "new", "restore", "b.db"], &new, Signal::INT);
    assert_eq!(told, "pillarbox: interrupted: nothing was restored\n");
    let names: Vec<_> = fs::read_dir(&new).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["pillarbox.lock"]);
    let told = interrupt(&home, &["export", BOB, "--mbox", "bob.mbox"], home.path(), Signal::INT);
    assert_eq!(told, "pillarbox: interrupted: no file was made\n");
}

#[test]
fn a_signal_that_was_to_be_ignored_is_ignored() {
    let mut home = Home::new(&[]);
    let server = home.serve();
    deliver(&server, BOB, &[corpus::of_octets(2_000_000).message]);
    assert!(server.stop().status.success());
    home.wrap(&["sh", "-c", "trap '' HUP; exec \"$0\" \"$@\""]);
    let ended = signalled(&home, &["backup", "b.db"], home.path(), Signal::HUP);
    assert!(ended.status.success(), "{ended:?}");
}

/// A named pipe in the directory of `home`, and a run of `import` that reads it.
fn import_from_a_pipe(home: &Home) -> (std::process::Child, fs::File) {
    let pipe = home.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    let mut command = home.command(&["import", BOB, "pipe"]);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // This waits until somebody reads.
    (child, fs::File::options().write(true).open(pipe).unwrap())
}

fn signal(child: &std::process::Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn an_import_that_is_interrupted_says_how_much_it_has_imported() {
    const MESSAGE: &[u8] = b"From a@example.org Tue Dec  1 00:00:00 2026\nSubject: one\n\nbody\n\n";
    let mut home = Home::new(&[]);
    home.wrap(&["env", "--default-signal=INT,TERM,HUP"]);
    let (child, mut pipe) = import_from_a_pipe(&home);
    let there = || {
        let listed = home.run(&["message", "list", BOB], "");
        String::from_utf8(listed.stdout).unwrap().matches("one").count()
    };
    while there() == 0 {
        pipe.write_all(MESSAGE).unwrap();
    }
    signal(&child, Signal::INT);
    // It heeds the signal between two messages.
    while pipe.write_all(MESSAGE).is_ok() {}
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let told = String::from_utf8(ended.stderr).unwrap();
    let imported = there();
    let says = format!("pillarbox: interrupted; {imported} messages were imported before");
    assert!(told.starts_with(&says), "{told}");
}

#[test]
fn the_second_signal_ends_a_command_that_waits_for_a_pipe() {
    let mut home = Home::new(&[]);
    home.wrap(&["env", "--default-signal=INT,TERM,HUP"]);
    let (child, _pipe) = import_from_a_pipe(&home);
    // Two of the same kind may be taken for one.
    signal(&child, Signal::INT);
    signal(&child, Signal::TERM);
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(told, "pillarbox: interrupted twice, and ended at once\n");
}
