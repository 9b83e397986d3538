//! The server with a certificate, and under a system that supervises it.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at what it cannot do"
)]

mod support;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::wire::Smtp;
use support::{DEADLINE, Home};

/// A home with a certificate of its own authority.
fn secured(settings: &[(&str, &str)]) -> Home {
    let mut home = Home::new(settings);
    home.succeed(&["tls", "dev", "--name", "mx.example.org"], "");
    let dir = tls_dir(&home);
    home.set("tls.certificate", &dir.join("cert.pem").display().to_string());
    home.set("tls.private_key", &dir.join("key.pem").display().to_string());
    home
}

fn tls_dir(home: &Home) -> PathBuf {
    home.data_dir().join("tls")
}

/// Connects with TLS from the first octet, trusting `authority` alone; what the server says first.
fn greeting(address: SocketAddr, authority: &Path, name: &str) -> Result<String, std::io::Error> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).expect("the authority")).expect("a root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = builder.expect("versions").with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).expect("a client");
    let stream = TcpStream::connect(address).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut line = String::new();
    BufReader::new(StreamOwned::new(client, stream)).read_line(&mut line)?;
    Ok(line)
}

#[test]
fn every_kind_of_listener_is_told_in_order_and_answers_under_the_names_of_its_certificate() {
    let kinds = ["submission", "submissions", "pop3s"].map(|kind| format!("listen.{kind}"));
    let mut home = secured(&kinds.each_ref().map(|key| (key.as_str(), "127.0.0.1:0")));
    let lmtp = format!("unix:{}", home.path().join("lmtp").display());
    home.set("listen.lmtp", &lmtp);
    let server = home.serve();
    let names: Vec<_> =
        server.ready.split_whitespace().map(|word| word.split('=').next().unwrap_or(word)).collect();
    assert_eq!(names, ["ready", "smtp", "submission", "submissions", "lmtp", "pop3", "pop3s"]);
    let authority = tls_dir(&home).join("ca.pem");
    for (kind, begins) in [("submissions", "220 "), ("pop3s", "+OK ")] {
        let address = server.address(kind).expect(kind);
        for name in ["localhost", "127.0.0.1", "::1", "mx.example.org"] {
            let line = greeting(address, &authority, name).expect(name);
            assert!(line.starts_with(begins), "{kind} {name}: {line}");
        }
        assert!(greeting(address, &authority, "other.example.org").is_err());
    }
    assert_eq!(home.succeed(&["ready"], ""), server.ready.trim_end().to_owned() + "\n");
}

#[test]
fn a_connection_too_many_is_closed_without_words_where_tls_comes_first() {
    let home = secured(&[("listen.pop3s", "127.0.0.1:0"), ("limits.connections", "1")]);
    let server = home.serve();
    let _place = Smtp::open(server.smtp);
    let mut line = Vec::new();
    let stream = TcpStream::connect(server.address("pop3s").expect("pop3s")).expect("connected");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    BufReader::new(stream).read_until(b'\n', &mut line).expect("an end");
    assert_eq!(line, b"");
}

#[test]
fn a_server_whose_connections_are_used_up_is_ready_all_the_same() {
    let settings = [("listen.pop3s", "127.0.0.1:0"), ("limits.connections", "1")];
    let home = secured(&settings);
    let server = home.serve();
    let _the_only_one = Smtp::open(server.smtp);
    assert_eq!(home.succeed(&["ready"], ""), server.ready.trim_end().to_owned() + "\n");
}

#[test]
fn sighup_and_a_change_of_the_files_load_them_again_and_a_broken_file_changes_nothing() {
    let home = secured(&[("listen.pop3s", "127.0.0.1:0")]);
    let server = home.serve();
    let address = server.address("pop3s").expect("pop3s");
    let dir = tls_dir(&home);
    let sound = fs::read(dir.join("key.pem")).unwrap();
    let mut session = Smtp::open(server.smtp);

    fs::write(dir.join("key.pem"), "broken").unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log(&["ERROR", "SIGHUP: certificate and key stay the old ones", "holds no private key"]);
    assert!(greeting(address, &dir.join("ca.pem"), "localhost").is_ok());

    fs::write(dir.join("key.pem"), sound).unwrap();
    server.signal(Signal::HUP);
    server.wait_for_log(&["INFO", "SIGHUP: certificate and key are loaded again"]);

    // Another authority in place of the first one: nobody who trusts that is served any more.
    let old = fs::read(dir.join("ca.pem")).unwrap();
    for file in ["ca.pem", "ca-key.pem"] {
        fs::remove_file(dir.join(file)).unwrap();
    }
    home.succeed(&["tls", "dev"], "");
    server.wait_for_log(&["INFO", "the files have changed: certificate and key are loaded again"]);
    assert!(greeting(address, &dir.join("ca.pem"), "localhost").is_ok());
    fs::write(dir.join("old.pem"), old).unwrap();
    assert!(greeting(address, &dir.join("old.pem"), "localhost").is_err());
    session.expect("NOOP", 250);
}

#[test]
fn a_key_that_cannot_be_read_to_its_end_keeps_no_signal_from_being_heard() {
    let home = secured(&[("listen.submissions", "127.0.0.1:0")]);
    let dir = tls_dir(&home);
    let server = home.serve();
    let address = server.address("submissions").expect("it listens");
    fs::remove_file(dir.join("key.pem")).unwrap();
    // Nobody will ever write into it.
    let made = std::process::Command::new("mkfifo").arg(dir.join("key.pem")).status();
    assert!(made.is_ok_and(|status| status.success()));
    server.signal(Signal::HUP);
    server.wait_for_log(&["ERROR", "SIGHUP: certificate and key stay the old ones until"]);
    assert!(greeting(address, &dir.join("ca.pem"), "localhost").is_ok());
    assert!(server.stop().status.success());
}

#[test]
fn without_a_certificate_to_load_again_sighup_does_no_harm() {
    let server = Home::new(&[]).serve();
    server.signal(Signal::HUP);
    server.wait_for_log(&["SIGHUP: there is no certificate to load again"]);
    Smtp::open(server.smtp).expect("QUIT", 221);
}

#[test]
fn an_authority_is_made_once_and_its_keys_are_for_nobody_else() {
    let home = secured(&[]);
    let dir = tls_dir(&home);
    let authority = fs::read(dir.join("ca.pem")).unwrap();
    let certificate = fs::read(dir.join("cert.pem")).unwrap();
    let said = home.succeed(&["tls", "dev"], "");
    assert_eq!(fs::read(dir.join("ca.pem")).unwrap(), authority);
    assert_ne!(fs::read(dir.join("cert.pem")).unwrap(), certificate);
    for words in ["\ncertificate = \"", "\nprivate_key = \"", "--cacert", "keytool", "NODE_EXTRA_CA_CERTS"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    for file in ["ca-key.pem", "key.pem"] {
        let mode = fs::metadata(dir.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(fs::metadata(home.data_dir()).unwrap().permissions().mode() & 0o777, 0o700);
    // It vouches for the names that it was made for, and for names that no site of the world has.
    home.succeed(&["tls", "dev", "--name", "other.test", "--name", "smtp.mx.example.org"], "");
    let output = home.run(&["tls", "dev", "--name", "bank.example.com"], "");
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        !output.status.success() && complaint.contains("was not made for bank.example.com"),
        "{complaint}"
    );
    fs::remove_file(dir.join("ca-key.pem")).unwrap();
    let output = home.run(&["tls", "dev"], "");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("ca-key.pem is missing"));
}

#[test]
fn check_tells_what_is_wrong_with_certificate_and_key() {
    let mut home = secured(&[]);
    let dir = tls_dir(&home);
    home.set("hostname", "mail.example.org");
    let said = home.succeed(&["check"], "");
    assert!(
        said.contains("warning   tls: ") && said.contains("no name in its certificate is mail.example.org")
    );
    home.set("hostname", "mx.example.org");
    assert!(!home.succeed(&["check"], "").contains("warning"));
    fs::set_permissions(dir.join("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(home.succeed(&["check"], "").contains("every user of this host may read this key (mode 0644)"));
    for (key, says) in
        [("ca-key.pem", "does not fit"), ("cert.pem", "no private key"), ("none", "cannot be read")]
    {
        home.set("tls.private_key", &dir.join(key).display().to_string());
        let output = home.run(&["check"], "");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && complaint.contains(says), "{key}: {complaint}");
        let ended = home.serve_in_vain();
        assert!(!ended.status.success() && ended.log.contains(says), "{key}: {ended:?}");
    }
}

#[test]
fn an_expired_certificate_is_a_warning_and_mail_goes_on() {
    let mut home = Home::new(&[("hostname", "mx.example.org")]);
    let mut params = rcgen::CertificateParams::new(vec!["mx.example.org".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let key = rcgen::KeyPair::generate().unwrap();
    for (setting, text) in [
        ("tls.certificate", params.self_signed(&key).unwrap().pem()),
        ("tls.private_key", key.serialize_pem()),
    ] {
        let path = home.path().join(setting);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        home.set(setting, &path.display().to_string());
    }
    let told = home.succeed(&["check"], "");
    let warns = |line: &str| line.starts_with("warning") && line.contains("expired on 2020-01-01; renew it");
    assert!(told.lines().any(warns), "{told}");
    let server = home.serve();
    server.wait_for_log(&["WARN", "expired on 2020-01-01; renew it"]);
    Smtp::open(server.smtp).expect("QUIT", 221);
}

/// Hands a listener over as systemd does.
fn hand_over(home: &mut Home, name: &str) -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    hand_over_this(home, name, &listener);
    listener
}

fn hand_over_this(home: &mut Home, name: &str, listener: &(impl AsFd + AsRawFd)) {
    fcntl_setfd(listener, FdFlags::empty()).expect("kept over exec");
    let first = format!("LISTEN_FDS_FIRST_FD={}", listener.as_raw_fd());
    home.wrap(&["env", "LISTEN_FDS=1", &first, &format!("LISTEN_FDNAMES={name}")]);
}

#[test]
fn a_socket_that_the_system_hands_over_takes_the_place_of_those_configured() {
    let mut home = Home::new(&[("listen.smtp", "127.0.0.1:1,127.0.0.1:2")]);
    let listener = hand_over(&mut home, "smtp");
    let server = home.serve();
    assert_eq!(server.smtp, listener.local_addr().unwrap());
    assert!(server.address("pop3").is_some_and(|address| address != server.smtp));
    Smtp::open(server.smtp).expect("QUIT", 221);
    assert!(server.stop().status.success());
}

#[test]
fn a_unix_socket_that_the_system_hands_over_takes_lmtp_and_stays_when_the_server_ends() {
    let mut home = Home::new(&[]);
    let path = home.path().join("lmtp");
    let listener = UnixListener::bind(&path).expect("a socket");
    hand_over_this(&mut home, "lmtp", &listener);
    let server = home.serve();
    let mut peer = BufReader::new(UnixStream::connect(&path).expect("a connection"));
    peer.get_ref().set_read_timeout(Some(DEADLINE)).expect("a timeout");
    for (says, code) in [("LHLO client.example\r\nQUIT\r\n", "220 "), ("", "250-")] {
        peer.get_mut().write_all(says.as_bytes()).expect("sent");
        let mut line = String::new();
        peer.read_line(&mut line).expect("a line");
        assert!(line.starts_with(code), "{line}");
    }
    assert!(server.stop().status.success());
    assert!(path.exists(), "it is the system's");
}

#[test]
fn a_socket_of_an_unknown_name_or_without_what_it_needs_is_refused() {
    for (name, says) in [
        ("imap", "write FileDescriptorName= with one of smtp, submission, submissions, lmtp, pop3, pop3s"),
        ("pop3s", "PILLARBOX_LISTEN__POP3S: listen.pop3s: begins with TLS, and there is no certificate"),
    ] {
        let mut home = Home::new(&[]);
        let _listener = hand_over(&mut home, name);
        let ended = home.serve_in_vain();
        assert!(!ended.status.success() && ended.log.contains(says), "{ended:?}");
    }
}

#[test]
fn the_system_is_told_when_the_server_is_ready_loads_again_and_stops() {
    let mut home = secured(&[]);
    let path = home.path().join("notify");
    let told = UnixDatagram::bind(&path).expect("a socket");
    told.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    home.wrap(&["env", &format!("NOTIFY_SOCKET={}", path.display())]);
    let server = home.serve();
    let next = || {
        let mut octets = [0; 1024];
        let n = told.recv(&mut octets).expect("told");
        String::from_utf8_lossy(&octets[..n]).into_owned()
    };
    let ready = next();
    assert!(ready.starts_with("READY=1\nSTATUS=ready smtp="), "{ready}");
    server.signal(Signal::HUP);
    let reloading = next();
    assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
    assert_eq!(next(), "READY=1\n");
    server.signal(Signal::TERM);
    assert_eq!(next(), "STOPPING=1\n");
    assert!(server.wait().status.success());
}
