//! Whose the files of a data directory are. What root makes there is given to the owner of the directory, so
//! that the server, which is somebody else, can open it. And where somebody may not open what is there, whose
//! it is.

use super::paths::{directory, with_suffix};
use rustix::fs::{Access, AtFlags, CWD, OFlags, accessat};
use rustix::process::geteuid;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

/// Opens a file of a data directory; one that is not there is made, with mode 0600 whatever the umask.
pub(super) fn open_or_make(path: &Path, how: &OpenOptions) -> io::Result<File> {
    match how.clone().create_new(true).mode(0o600).open(path) {
        Ok(file) => {
            hand_over(&file, path);
            Ok(file)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Whose the directory is may have put a link there, for root to follow, or a pipe to wait at.
            let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
            let file = how.clone().custom_flags(flags).open(path)?;
            let is_file = file.metadata()?.is_file();
            if is_file { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
        }
        Err(error) => Err(error),
    }
}

/// Gives what was just made to the owner of the directory that it is in, if root has made it.
pub fn hand_over(made: &File, path: &Path) {
    if !geteuid().is_root() {
        return;
    }
    let given = directory(path).metadata().and_then(|dir| fchown(made, Some(dir.uid()), Some(dir.gid())));
    if let Err(error) = given {
        // Root without that right, as in some containers, may well be the one who runs the server.
        tracing::debug!(%error, file = %path.display(), "a file stays with root");
    }
}

/// What keeps this user from working with a database, where it is a matter of permissions.
pub(super) fn obstacle(database: &Path) -> Option<String> {
    let refuses = |path: &Path| {
        let opened = OpenOptions::new().read(true).write(true).open(path);
        opened.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
    };
    if let Some(path) =
        ["", "-wal", "-shm"].map(|suffix| with_suffix(database, suffix)).iter().find(|path| refuses(path))
    {
        return Some(format!("{}: permission denied; {}", path.display(), whose(path)));
    }
    let dir = directory(database);
    let wanted = Access::WRITE_OK | Access::EXEC_OK;
    let denied = accessat(CWD, dir, wanted, AtFlags::EACCESS).is_err();
    denied.then(|| format!("the directory {} may not be written to; {}", dir.display(), whose(dir)))
}

/// Whose something is, and what to do about it.
pub(super) fn whose(path: &Path) -> String {
    let me = name(geteuid().as_raw());
    match path.metadata() {
        Ok(metadata) if metadata.uid() != geteuid().as_raw() => {
            let owner = name(metadata.uid());
            match metadata.uid() {
                0 => format!("it belongs to {owner}, and this runs as {me}: give it to {me} with chown"),
                _ => format!("it belongs to {owner}, and this runs as {me}: run it as {owner}, or as root"),
            }
        }
        _ => format!("this runs as {me}: run it as the user who runs the server, or as root"),
    }
}

/// The name of a user, where this machine has one.
fn name(uid: u32) -> String {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let known = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    known.unwrap_or_else(|| format!("user {uid}"))
}
