//! Commands of root in the data directory of somebody else, and of somebody in that of root. Root alone can
//! try it.

use super::support::Home;
use super::{BOB, fail};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Nobody, on every Linux.
const OTHER: u32 = 65_534;

/// A test that skips proves nothing.
fn as_root() {
    assert!(rustix::process::geteuid().is_root(), "this test is of what root does: run it as root");
}

fn owners(dir: &Path) -> Vec<(String, u32, u32)> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let owner = |entry: fs::DirEntry| {
        let metadata = entry.metadata().unwrap();
        (entry.file_name().to_string_lossy().into_owned(), metadata.uid(), metadata.gid())
    };
    entries.map(owner).collect()
}

#[test]
fn what_root_makes_in_the_data_directory_of_the_server_is_the_servers() {
    as_root();
    let home = Home::new(&[]);
    for (name, command) in [
        ("account", &["account", "add", BOB, "--password-stdin"][..]),
        ("restore", &["restore", "b.db"]),
        ("tls", &["tls", "dev"]),
    ] {
        let dir = home.path().join(name);
        fs::create_dir(&dir).unwrap();
        chown(&dir, Some(OTHER), Some(OTHER)).unwrap();
        home.succeed(&[&["--data-dir", name], command].concat(), "secret");
        let found = owners(&dir);
        assert!(
            !found.is_empty() && found.iter().all(|(_, uid, gid)| (*uid, *gid) == (OTHER, OTHER)),
            "{found:?}"
        );
        if name == "account" {
            home.succeed(&["--data-dir", name, "backup", "b.db"], "");
            // The backup is in a directory of root's own.
            assert_eq!(fs::metadata(home.path().join("b.db")).unwrap().uid(), 0);
        }
    }
    let served = Home::new(&[]);
    fs::create_dir(served.data_dir()).unwrap();
    chown(served.data_dir(), Some(OTHER), Some(OTHER)).unwrap();
    let server = served.serve();
    let found = owners(served.data_dir());
    assert!(found.len() > 3 && found.iter().all(|(_, uid, _)| *uid == OTHER), "{found:?}");
    drop(server);
}

#[test]
fn root_follows_no_link_in_the_data_directory_of_somebody_else() {
    as_root();
    let home = Home::new(&[]);
    home.succeed(&["account", "add", BOB, "--password-stdin"], "secret");
    home.succeed(&["backup", "b.db"], "");
    let victim = home.path().join("victim");
    let plant = |dir: &str, link: &str, to: &Path| {
        let dir = home.path().join(dir);
        fs::create_dir(&dir).unwrap();
        chown(&dir, Some(OTHER), Some(OTHER)).unwrap();
        symlink(to, dir.join(link)).unwrap();
    };
    fs::write(&victim, "of root").unwrap();
    plant("lock", "pillarbox.lock", &victim);
    assert!(fail(&home, &["--data-dir", "lock", "restore", "b.db"]).contains("lock file"));
    plant("changes", "pillarbox.changes", &victim);
    home.succeed(&["--data-dir", "changes", "account", "add", BOB, "--password-stdin"], "secret");
    assert_eq!(fs::read(&victim).unwrap(), b"of root");
    let of_root = home.path().join("of-root");
    fs::create_dir(&of_root).unwrap();
    for (dir, to) in [("tls", &of_root), ("dangling", &home.path().join("nothing"))] {
        plant(dir, "tls", to);
        assert!(fail(&home, &["--data-dir", dir, "tls", "dev"]).contains("cannot make"));
    }
    assert_eq!(fs::metadata(&of_root).unwrap().uid(), 0);
    assert_eq!(of_root.read_dir().unwrap().count(), 0);
}

#[test]
fn whoever_may_not_open_a_database_is_told_whose_it_is() {
    as_root();
    let home = Home::new(&[]);
    home.succeed(&["account", "add", BOB, "--password-stdin"], "secret");
    for dir in [home.path(), home.data_dir()] {
        fs::set_permissions(dir, Permissions::from_mode(0o755)).unwrap();
    }
    // The program itself may lie where nobody else gets.
    let program = home.path().join("program");
    fs::copy(env!("CARGO_BIN_EXE_pillarbox"), &program).unwrap();
    let told = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.current_dir(home.path()).arg("--data-dir").arg(home.data_dir()).args(arguments);
        let output = command.uid(OTHER).gid(OTHER).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    for arguments in [&["account", "list"][..], &["verify"]] {
        let told = told(arguments);
        let file = home.data_dir().join("pillarbox.db");
        assert!(
            told.contains(&format!("{}: permission denied; it belongs to root", file.display())),
            "{told}"
        );
    }
    let told = told(&["serve"]);
    assert!(told.contains("Permission denied (os error 13); it belongs to root"), "{told}");
    // Root can do all of it, and is told nothing of the kind.
    assert!(fail(&home, &["restore", "nothing"]).contains("cannot be looked at"));
}
