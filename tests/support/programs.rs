//! Other programs that tests run.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Fails with the package to install when `program` is not there.
pub(crate) fn needs(program: &str, package: &str) {
    let found = std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(program).is_file()));
    assert!(found, "{program} is not installed: apt-get install {package}, or let tests/run do it");
}

/// The version that a client says of itself: the first word of its first line that is a number.
pub(crate) fn version(program: &str, argument: &str) -> String {
    let output = Command::new(program).arg(argument).output().expect("it is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.lines().next().unwrap_or_default().split([' ', '+']);
    words.find(|word| word.starts_with(|c: char| c.is_ascii_digit())).unwrap_or("?").to_owned()
}

/// Runs a client, which must succeed.
#[track_caller]
pub(crate) fn succeed(what: &str, command: &mut Command, input: Stdio) -> Output {
    let output = command.stdin(input).output().unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        output.status.success(),
        "{what}: {}\n{}\n{}",
        output.status,
        super::wire::shown(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// getmail refuses to deliver as root: then it is told to deliver as nobody, whose maildir this must
/// be. The line of its configuration that says so.
pub(crate) fn a_user_for_getmail(home: &Path, maildir: &Path) -> &'static str {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
    if std::fs::metadata(home).expect("it exists").uid() != 0 {
        return "";
    }
    const NOBODY: u32 = 65_534;
    std::fs::set_permissions(home, PermissionsExt::from_mode(0o711)).expect("our own folder");
    for folder in ["", "cur", "new", "tmp"] {
        chown(maildir.join(folder), Some(NOBODY), None).expect("root may");
    }
    "user = nobody\n"
}
