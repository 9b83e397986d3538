//! Binding the sockets that mail comes and goes by.

use super::listener::Listener;
use rustix::fs::Mode;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use thiserror::Error;
use tokio::net::{TcpListener, UnixListener};

/// Connections that the kernel keeps while they wait to be accepted.
const BACKLOG: i32 = 1_024;
/// Mode of a unix socket: its owner and its group may connect.
const SOCKET_MODE: u32 = 0o660;

/// Why a socket could not be bound.
#[derive(Debug, Error)]
pub enum BindError {
    /// The system refused.
    #[error("cannot listen on {address}: {}", explain(source))]
    System {
        /// Where.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// Something that is no socket has the name.
    #[error(
        "cannot listen on unix:{0}: there is a file of this name that is not a socket; choose another path"
    )]
    NotASocket(String),
    /// Another process answers there.
    #[error("cannot listen on unix:{0}: another process listens there already")]
    InUse(String),
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there already".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "permission denied (ports below 1024 need the right to bind them)".to_owned()
        }
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        _ => error.to_string(),
    }
}

/// Listens on a TCP address; port 0 lets the system choose. Returns the address really bound.
///
/// # Errors
/// [`BindError::System`].
pub fn tcp(address: SocketAddr) -> Result<(Listener, SocketAddr), BindError> {
    let bind = || -> io::Result<(Listener, SocketAddr)> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A restart must not wait for connections of the last run to be forgotten.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            // `[::]` and `0.0.0.0` can then be bound side by side, on every system.
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let listener = TcpListener::from_std(socket.into())?;
        let bound = listener.local_addr()?;
        Ok((Listener::Tcp(listener), bound))
    };
    bind().map_err(|source| BindError::System { address: address.to_string(), source })
}

/// A unix socket that is unlinked when its server ends.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: what somebody else has put in its place is not ours to remove.
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let there = fs::symlink_metadata(&self.path).map(|found| (found.dev(), found.ino()));
        if there.is_ok_and(|there| there == self.identity) {
            // At the end of the program: a socket that stays behind is replaced at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Listens on a unix socket. A socket that a crash has left is replaced; any other file never.
///
/// # Errors
/// [`BindError`].
pub fn unix(path: &Path) -> Result<(Listener, SocketFile), BindError> {
    let shown = || path.display().to_string();
    let system = |source| BindError::System { address: format!("unix:{}", path.display()), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(system(error)),
        Ok(found) if !found.file_type().is_socket() => return Err(BindError::NotASocket(shown())),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path).map_err(system)?;
            }
            Err(error) => return Err(system(error)),
            Ok(_) => return Err(BindError::InUse(shown())),
        },
    }
    bind_unix(path).map_err(system)
}

fn bind_unix(path: &Path) -> io::Result<(Listener, SocketFile)> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // The file takes its mode from the socket, less the umask: at no time may more people connect.
    rustix::fs::fchmod(&socket, Mode::from_raw_mode(SOCKET_MODE))?;
    socket.bind(&SockAddr::unix(path)?)?;
    let found = fs::symlink_metadata(path)?;
    let file = SocketFile { path: path.to_owned(), identity: (found.dev(), found.ino()) };
    // What the umask took, if it took anything.
    if found.permissions().mode() & 0o777 != SOCKET_MODE {
        fs::set_permissions(path, fs::Permissions::from_mode(SOCKET_MODE))?;
    }
    socket.listen(BACKLOG)?;
    Ok((Listener::Unix(UnixListener::from_std(socket.into())?), file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_any_other_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let (_listener, file) = unix(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, SOCKET_MODE);
        assert!(matches!(unix(&path), Err(BindError::InUse(_))));
        drop(file);
        assert!(!path.exists());
        fs::write(&path, b"precious").unwrap();
        assert!(matches!(unix(&path), Err(BindError::NotASocket(_))));
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn what_somebody_else_put_in_place_of_a_socket_stays_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let (_listener, file) = unix(&path).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"precious").unwrap();
        drop(file);
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_link_is_no_socket_wherever_it_leads() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("s"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(matches!(unix(&link), Err(BindError::NotASocket(_))));
        let (_listener, _file) = unix(&target).unwrap();
        assert!(matches!(unix(&link), Err(BindError::NotASocket(_))));
    }

    #[tokio::test]
    async fn a_taken_address_is_told_in_plain_words() {
        let (_listener, bound) = tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let error = tcp(bound).unwrap_err().to_string();
        assert_eq!(error, format!("cannot listen on {bound}: another process listens there already"));
    }
}
