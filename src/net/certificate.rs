//! What can be said about a certificate before any client complains: its dates, its names, and
//! whether its key is kept.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// How long before its end a certificate is told to be running out.
const WARN_DAYS: i64 = 14;
const DAY_SECONDS: i64 = 24 * 60 * 60;
/// The permission bit by which all users of the host may read a file.
const OTHERS_READ: u32 = 0o004;
/// Names of a certificate that are shown; some have hundreds.
const NAMES_SHOWN: usize = 5;

/// Something that an operator should know, and no reason to take no mail: few servers that bring some ask
/// who they bring it to. Its text is one sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file that it is about.
    pub path: PathBuf,
    /// What is wrong and what to do.
    pub text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.text)
    }
}

/// What is to be said about the certificate `leaf` of the file `path` on a host of this name.
pub(super) fn inspect(
    leaf: &CertificateDer<'_>,
    path: &Path,
    hostname: &str,
    now: SystemTime,
) -> Vec<Finding> {
    let finding = |text| Finding { path: path.to_owned(), text };
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
        return vec![finding("its certificate cannot be read, so it was not checked".into())];
    };
    let mut findings = Vec::new();
    let now = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH).as_second();
    let validity = certificate.validity();
    let (begins, ends) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    if now > ends {
        let text = format!("its certificate expired on {}; renew it: clients refuse it", date(ends));
        findings.push(finding(text));
    } else if now < begins {
        let text = format!("its certificate is valid only from {} on; is the clock right?", date(begins));
        findings.push(finding(text));
    } else if ends - now < WARN_DAYS * DAY_SECONDS {
        let days = (ends - now) / DAY_SECONDS;
        let text = format!("its certificate expires on {}, in {days} days; renew it", date(ends));
        findings.push(finding(text));
    }
    let names = names(&certificate);
    if !names.iter().any(|name| covers(name, hostname)) {
        let text = match names.as_slice() {
            [] => format!("its certificate names no host, so clients will not take it for {hostname}"),
            _ => format!(
                "no name in its certificate is {hostname}, only {}; clients that look for the host refuse it",
                shown(&names)
            ),
        };
        findings.push(finding(text));
    }
    findings
}

/// Whether all users of the host may read the key.
pub(super) fn inspect_key_file(path: &Path) -> Option<Finding> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o7777;
    let text = format!("every user of this host may read this key (mode {mode:04o}); chmod 600 it");
    (mode & OTHERS_READ != 0).then(|| Finding { path: path.to_owned(), text })
}

fn date(seconds: i64) -> String {
    Timestamp::from_second(seconds)
        .map_or_else(|_| "a day out of time".to_owned(), |at| at.strftime("%Y-%m-%d").to_string())
}

/// The names for which clients take a certificate: alternative names, never the common name.
fn names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => <[u8; 4]>::try_from(*octets).ok().map(|octets| IpAddr::from(octets).to_string()),
            _ => <[u8; 16]>::try_from(*octets).ok().map(|octets| IpAddr::from(octets).to_string()),
        },
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

/// Whether a name in a certificate is `hostname`; `*` stands for one whole label, the first.
fn covers(name: &str, hostname: &str) -> bool {
    let hostname = hostname.to_ascii_lowercase();
    match name.strip_prefix("*.") {
        Some(parent) => hostname.split_once('.').is_some_and(|(_, rest)| rest == parent),
        None => name == hostname,
    }
}

fn shown(names: &[String]) -> String {
    let first = names.iter().take(NAMES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_SHOWN) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use std::time::Duration;

    /// 2026-06-01 to 2026-09-01.
    fn certificate(names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 6, 1);
        params.not_after = rcgen::date_time_ymd(2026, 9, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn told(names: &[&str], hostname: &str, day: &str) -> Vec<String> {
        let now: Timestamp = format!("{day}T12:00:00Z").parse().unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_second().unsigned_abs());
        let findings = inspect(&certificate(names), Path::new("c.pem"), hostname, now);
        findings.into_iter().map(|finding| finding.to_string()).collect()
    }

    #[test]
    fn a_certificate_is_told_to_end_from_fourteen_days_before() {
        let names = ["mx.example.org"];
        assert!(told(&names, names[0], "2026-08-17").is_empty());
        for (day, text) in [
            ("2026-08-18", "c.pem: its certificate expires on 2026-09-01, in 13 days; renew it"),
            ("2026-09-01", "c.pem: its certificate expired on 2026-09-01; renew it: clients refuse it"),
            ("2026-05-31", "c.pem: its certificate is valid only from 2026-06-01 on; is the clock right?"),
        ] {
            assert_eq!(told(&names, names[0], day), [text.to_owned()], "{day}");
        }
    }

    #[test]
    fn a_certificate_has_to_name_the_host() {
        for (names, hostname, is_named) in [
            (&["mx.example.org"][..], "mx.example.org", true),
            (&["MX.example.org"], "mx.EXAMPLE.org", true),
            (&["a.example.org", "mx.example.org"], "mx.example.org", true),
            (&["*.example.org"], "mx.example.org", true),
            (&["*.example.org"], "example.org", false),
            (&["*.example.org"], "a.b.example.org", false),
            (&["example.org"], "mx.example.org", false),
            (&["192.0.2.1", "2001:db8::1"], "mx.example.org", false),
            (&[], "mx.example.org", false),
        ] {
            assert_eq!(told(names, hostname, "2026-07-01").is_empty(), is_named, "{names:?} {hostname}");
        }
        let told = told(&["a.example", "127.0.0.1"], "mx.example.org", "2026-07-01");
        assert!(told[0].contains("is mx.example.org, only a.example, 127.0.0.1; "), "{told:?}");
    }

    #[test]
    fn a_key_that_all_may_read_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key.pem");
        fs::write(&key, "key").unwrap();
        for (mode, is_told) in [(0o600, false), (0o640, false), (0o644, true)] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(inspect_key_file(&key).is_some(), is_told, "{mode:o}");
        }
    }
}
