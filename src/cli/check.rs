//! `pillarbox check`: whether the configuration is sound, and what it amounts to.

use super::output::{Failure, Output};
use crate::config::bind::Bind;
use crate::config::fault::Fault;
use crate::config::units::{Size, age_in_words};
use crate::config::{Config, Examined, Mode, Retention, TlsFiles, in_order, keys};
use crate::mail::address::Domain;
use crate::net::certificate::Finding;
use crate::net::tls::{Keys, TlsError};
use std::time::SystemTime;

/// Says what a sound configuration amounts to.
///
/// # Errors
/// [`Failure`] with every fault, those of certificate and key among them; or nobody reads any more.
pub fn run(examined: Examined, out: &mut Output) -> Result<(), Failure> {
    let keys = examined.tls.as_ref().map(tls).transpose();
    let (config, keys) = match (examined.config, keys) {
        (Ok(config), Ok(keys)) => (config, keys),
        (config, keys) => {
            let faults = [config.err().unwrap_or_default(), keys.err().unwrap_or_default()].concat();
            return Err(Failure::Faults(in_order(faults)));
        }
    };
    let findings = keys.map_or_else(Vec::new, |keys| findings(&config, &keys));
    tell(&config, findings, out)
}

fn tell(config: &Config, findings: Vec<Finding>, out: &mut Output) -> Result<(), Failure> {
    out.line("configuration is sound")?;
    match &config.file {
        Some(file) => out.line(format_args!("file      {}", file.display()))?,
        None => out.line("file      none, all keys have their defaults or come from the environment")?,
    }
    out.line(format_args!("data_dir  {}", config.data_dir.display()))?;
    out.line(format_args!("hostname  {}", config.hostname))?;
    out.line(format_args!("mode      {}", mode(config)))?;
    if let Some(domain) = domain_to_name(config) {
        out.line(format_args!(
            "logins    with the full address, as NAME@{domain}; NAME alone means NAME@{}",
            config.hostname
        ))?;
    }
    for (name, binds) in config.listen.kinds() {
        // Those that are on by themselves are told to be off.
        if !binds.is_empty() || ["smtp", "pop3"].contains(&name) {
            out.line(format_args!("{name:<9} {}", places(binds)))?;
        }
    }
    if let Some(files) = &config.tls {
        out.line(format_args!("tls       {}", files.certificate.display()))?;
    }
    out.line(format_args!("retention {}", retention(&config.retention)))?;
    for warning in &config.warnings {
        out.line(format_args!("warning   {warning}"))?;
    }
    for finding in findings {
        out.line(format_args!("warning   tls: {finding}"))?;
    }
    Ok(())
}

/// Certificate and key, or all that is wrong with either.
fn tls(files: &TlsFiles) -> Result<Keys, Vec<Fault>> {
    Keys::load_or_tell_all(&files.certificate, &files.private_key)
        .map_err(|errors| errors.iter().map(|error| fault(files, error)).collect())
}

/// What there is to be warned of in certificate and key. What `serve` starts with is no failure: the unit of
/// systemd asks here first, and mail has to go on when a certificate was not renewed in time.
fn findings(config: &Config, keys: &Keys) -> Vec<Finding> {
    keys.inspect(config.hostname.as_str(), SystemTime::now())
}

/// What is wrong with the files, told of the key that names the one at fault.
fn fault(files: &TlsFiles, error: &TlsError) -> Fault {
    let [certificate, private_key] = &files.places;
    let file = match error {
        TlsError::Read { path, .. } | TlsError::Pem { path, .. } | TlsError::Unusable { path, .. } => path,
        TlsError::NoCertificate(path) | TlsError::NoKey(path) | TlsError::EncryptedKey(path) => path,
        TlsError::Mismatch { key, .. } => key,
    };
    let is_certificate = *file == files.certificate && !matches!(error, TlsError::NoKey(_));
    let (place, key) =
        if is_certificate { (certificate, &keys::CERTIFICATE) } else { (private_key, &keys::PRIVATE_KEY) };
    let text = error.to_string();
    let (wrong, instead) = text.split_once("; ").unwrap_or((&text, "look at the file"));
    Fault::new(place, key, wrong, instead)
}

/// The rules that are in force, also those that nobody wrote.
fn retention(rules: &Retention) -> String {
    let off = || "off".to_owned();
    let age = rules.age_max.map_or_else(off, age_in_words);
    let messages = rules.messages_max.map_or_else(off, |most| most.to_string());
    let octets = rules.octets_max.map_or(Size::Off, Size::Octets);
    format!("max_age {age}, max_messages {messages}, total_size {octets}")
}

fn mode(config: &Config) -> String {
    let domains: Vec<_> = config.accounts.domains.iter().map(ToString::to_string).collect();
    match (config.accounts.mode, domains.as_slice()) {
        (Mode::Open, []) => "open: takes mail for anyone, any password opens any mailbox".to_owned(),
        (Mode::Open, domains) => {
            format!("open: takes mail for anyone at {}, any password opens any mailbox", domains.join(", "))
        }
        (Mode::Closed, domains) => {
            format!("closed: takes mail for accounts and aliases at {}", domains.join(", "))
        }
    }
}

/// A domain that users have to write when they log in, since the name alone is never an account.
fn domain_to_name(config: &Config) -> Option<&Domain> {
    let domains = &config.accounts.domains;
    let is_needed = config.accounts.mode == Mode::Closed && !domains.contains(&config.hostname);
    domains.first().filter(|_| is_needed)
}

fn places(binds: &[Bind]) -> String {
    if binds.is_empty() {
        return "off".to_owned();
    }
    binds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
