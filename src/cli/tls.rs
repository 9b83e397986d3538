//! `pillarbox tls dev`: an authority of one's own and a certificate for this host, for trials with
//! clients that insist on TLS. Nothing uses them by itself.

mod constraints;

use super::output::{Failure, Output};
use crate::config::Config;
use crate::mail::address::Domain;
use crate::store::owner::hand_over;
use crate::store::paths::directory;
use jiff::{Timestamp, ToSpan, Zoned, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustix::fs::OFlags;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fmt::Display;
use std::fs::{self, DirBuilder, Permissions};
use std::io::{ErrorKind, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt as _, PermissionsExt};
use std::path::{Path, PathBuf};

/// How long a certificate may be valid so that all systems take it.
const CERTIFICATE_DAYS: i64 = 397;
const AUTHORITY_YEARS: i64 = 10;
const SECRET: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// A name or address to make a certificate for, as it stands in one.
///
/// # Errors
/// What is wrong with it.
pub fn name(text: &str) -> Result<String, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let (star, rest) = text.strip_prefix("*.").map_or(("", text), |rest| ("*.", rest));
    match Domain::parse(rest) {
        Ok(domain) if !domain.as_str().starts_with('[') => Ok(format!("{star}{domain}")),
        Ok(_) => Err("write an address without brackets".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// The authority, and whether it was there already.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
    age: Age,
}

#[derive(Clone, Copy)]
enum Age {
    New,
    Kept,
}

/// Makes the authority if there is none, and a certificate; says how to use both.
///
/// # Errors
/// [`Failure`] when a file cannot be read or written.
pub fn make(config: &Config, names: &[String], out: &mut Output) -> Result<(), Failure> {
    let dir = std::path::absolute(config.data_dir.join("tls")).map_err(Failure::because)?;
    make_directory(&dir)
        .map_err(|error| Failure::because(format_args!("cannot make {}: {error}", dir.display())))?;
    let today = Timestamp::now().to_zoned(TimeZone::UTC);
    let all = all_names(config, names);
    let authority = authority(&dir, &today, &all)?;
    let ends = today.checked_add(CERTIFICATE_DAYS.days()).map_err(Failure::because)?;
    let (certificate, key) = certificate(&authority, &all, &today, &ends)?;
    let (certificate_file, key_file) = (dir.join("cert.pem"), dir.join("key.pem"));
    write(&key_file, &key, SECRET)?;
    // The whole chain: clients that trust the authority do not need it, those that show it do.
    write(&certificate_file, &format!("{certificate}{}", authority.pem), PUBLIC)?;
    tell(out, &authority, &all, &ends, &dir)
}

/// Makes the directory if there is none; it and the data directory are for nobody else.
fn make_directory(dir: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory(dir))?;
    let is_new = match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    // A link that the owner of the data directory has put there leads to what is not ours to use or to give.
    let flags = (OFlags::DIRECTORY | OFlags::NOFOLLOW).bits().cast_signed();
    let made = fs::File::options().read(true).custom_flags(flags).open(dir)?;
    if is_new {
        hand_over(&made, dir);
    }
    Ok(())
}

/// The names of the certificate, each once.
fn all_names(config: &Config, names: &[String]) -> Vec<String> {
    let own = ["localhost", "127.0.0.1", "::1", config.hostname.as_str()].map(str::to_owned);
    let mut all: Vec<String> = Vec::new();
    for name in own.iter().chain(names) {
        // An address literal is no host name; its address may be named by itself.
        if !name.starts_with('[') && !all.contains(name) {
            all.push(name.clone());
        }
    }
    all
}

fn authority(dir: &Path, today: &Zoned, names: &[String]) -> Result<Authority, Failure> {
    let (pem_file, key_file) = (dir.join("ca.pem"), dir.join("ca-key.pem"));
    let (pem, key) = match (read(&pem_file)?, read(&key_file)?) {
        (Some(pem), Some(key)) => (pem, key),
        (None, None) => return new_authority(&pem_file, &key_file, today, names),
        (Some(_), None) => return Err(half(&key_file, &pem_file)),
        (None, Some(_)) => return Err(half(&pem_file, &key_file)),
    };
    let broken = |path: &Path, error: rcgen::Error| {
        let path = path.display();
        Failure::because(format_args!(
            "{path} is broken: {error}; remove {} for a new authority",
            dir.display()
        ))
    };
    let key = KeyPair::from_pem(&key).map_err(|error| broken(&key_file, error))?;
    let issuer = Issuer::from_ca_cert_pem(&pem, key).map_err(|error| broken(&pem_file, error))?;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).map_err(Failure::because)?;
    if let Some(name) = constraints::first_refused(&der, names) {
        return Err(Failure::because(format_args!(
            "the authority in {} was not made for {name}; remove {} for a new one, which clients have to be \
             told to trust anew",
            pem_file.display(),
            dir.display()
        )));
    }
    Ok(Authority { pem, issuer, age: Age::Kept })
}

fn half(missing: &Path, there: &Path) -> Failure {
    Failure::because(format_args!(
        "{} is missing, and without it {} is of no use; remove that for a new authority",
        missing.display(),
        there.display()
    ))
}

fn new_authority(
    pem_file: &Path,
    key_file: &Path,
    today: &Zoned,
    names: &[String],
) -> Result<Authority, Failure> {
    let key = KeyPair::generate().map_err(Failure::because)?;
    let mut params = CertificateParams::default();
    // Told apart from those of other hosts and other trials in a list of authorities.
    let name = format!("Pillarbox development CA {}", today.strftime("%Y-%m-%d %H:%M:%S"));
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.name_constraints = Some(constraints::of(names));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ends = today.checked_add(AUTHORITY_YEARS.years()).map_err(Failure::because)?;
    validity(&mut params, today, &ends)?;
    let pem = params.self_signed(&key).map_err(Failure::because)?.pem();
    write(key_file, &key.serialize_pem(), SECRET)?;
    write(pem_file, &pem, PUBLIC)?;
    Ok(Authority { pem, issuer: Issuer::new(params, key), age: Age::New })
}

/// A certificate and its key, both PEM.
fn certificate(
    authority: &Authority,
    names: &[String],
    today: &Zoned,
    ends: &Zoned,
) -> Result<(String, String), Failure> {
    let key = KeyPair::generate().map_err(Failure::because)?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(Failure::because)?;
    params.distinguished_name.push(DnType::CommonName, "Pillarbox development certificate");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    validity(&mut params, today, ends)?;
    let certificate = params.signed_by(&key, &authority.issuer).map_err(Failure::because)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Valid from yesterday on, since clocks of clients may be behind.
fn validity(params: &mut CertificateParams, today: &Zoned, ends: &Zoned) -> Result<(), Failure> {
    let part = |n: i8| u8::try_from(n).map_err(Failure::because);
    let begins = today.date().yesterday().map_err(Failure::because)?;
    let ends = ends.date();
    params.not_before =
        rcgen::date_time_ymd(i32::from(begins.year()), part(begins.month())?, part(begins.day())?);
    params.not_after = rcgen::date_time_ymd(i32::from(ends.year()), part(ends.month())?, part(ends.day())?);
    Ok(())
}

fn read(path: &Path) -> Result<Option<String>, Failure> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::because(format_args!("cannot read {}: {error}", path.display()))),
    }
}

/// Writes a file whole or not at all; a server that watches it never sees a part.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let place = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(directory(path))?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(mode))?;
        hand_over(file.as_file(), path);
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    place().map_err(|error| Failure::because(format_args!("cannot write {}: {error}", path.display())))
}

fn tell(
    out: &mut Output,
    authority: &Authority,
    names: &[String],
    ends: &Zoned,
    dir: &Path,
) -> Result<(), Failure> {
    let ca = dir.join("ca.pem");
    let quoted = |path: PathBuf| toml::Value::String(path.display().to_string());
    let age = match authority.age {
        Age::New => "made now; its key beside it must stay yours alone",
        Age::Kept => "as before",
    };
    let until = ends.strftime("%Y-%m-%d");
    out.line(format_args!("authority    {} ({age})", ca.display()))?;
    out.line(format_args!("certificate  for {}, until {until}", names.join(", ")))?;
    out.line("")?;
    out.line("In the configuration, below [tls]:")?;
    out.line(format_args!("certificate = {}", quoted(dir.join("cert.pem"))))?;
    out.line(format_args!("private_key = {}", quoted(dir.join("key.pem"))))?;
    out.line("")?;
    out.line("Clients are told to trust the authority so:")?;
    let ca = shell(&ca.display().to_string());
    for (client, how) in clients(&ca) {
        out.line(format_args!("{client:<7} {how}"))?;
    }
    Ok(())
}

fn clients(ca: &impl Display) -> [(&'static str, String); 5] {
    [
        ("curl", format!("curl --cacert {ca} …")),
        (
            "Java",
            format!(
                "keytool -importcert -noprompt -alias pillarbox -file {ca} -keystore trust.p12 -storepass \
                 changeit && java -Djavax.net.ssl.trustStore=trust.p12 \
                 -Djavax.net.ssl.trustStorePassword=changeit …"
            ),
        ),
        ("Node", format!("NODE_EXTRA_CA_CERTS={ca} node …")),
        ("Python", format!("SSL_CERT_FILE={ca} python3 …, or ssl.create_default_context(cafile=…)")),
        (
            ".NET",
            format!("SSL_CERT_FILE={ca} dotnet … (Linux; elsewhere add it to the system's authorities)"),
        ),
    ]
}

/// A word that a shell takes as it is.
fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,".contains(c);
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_a_host_or_an_address() {
        for (text, read) in [
            ("mail.test", Some("mail.test")),
            ("Mail.TEST", Some("mail.test")),
            ("*.test", Some("*.test")),
            ("192.0.2.7", Some("192.0.2.7")),
            ("2001:DB8::1", Some("2001:db8::1")),
            ("[192.0.2.7]", None),
            ("two words", None),
            ("", None),
        ] {
            assert_eq!(name(text).ok().as_deref(), read, "{text}");
        }
    }

    #[test]
    fn a_path_is_one_word_to_a_shell() {
        assert_eq!(shell("/var/lib/p/ca.pem"), "/var/lib/p/ca.pem");
        assert_eq!(shell("/it's here"), "'/it'\\''s here'");
    }
}
