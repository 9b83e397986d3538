//! `pillarbox check`: whether the configuration is sound, and what it amounts to.

use super::output::{Failure, Output};
use crate::config::bind::Bind;
use crate::config::{Config, Mode};
use crate::mail::address::Domain;
use crate::net::certificate::Finding;
use crate::net::tls::Keys;
use std::fmt::Display;
use std::time::SystemTime;

/// Says what a sound configuration amounts to.
///
/// # Errors
/// [`Failure`] when certificate and key are of no use, or nobody reads any more.
pub fn run(config: &Config, out: &mut Output) -> Result<(), Failure> {
    let findings = tls(config)?;
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
    for warning in &config.warnings {
        out.line(format_args!("warning   {warning}"))?;
    }
    for finding in findings {
        out.line(format_args!("warning   tls: {finding}"))?;
    }
    Ok(())
}

/// What there is to be warned of in certificate and key. What `serve` starts with is no failure: the unit of
/// systemd asks here first, and mail has to go on when a certificate was not renewed in time.
fn tls(config: &Config) -> Result<Vec<Finding>, Failure> {
    let Some(files) = &config.tls else { return Ok(Vec::new()) };
    let because = |reason: &dyn Display| Failure::because(format_args!("tls: {reason}"));
    let keys = Keys::load(&files.certificate, &files.private_key).map_err(|error| because(&error))?;
    Ok(keys.inspect(config.hostname.as_str(), SystemTime::now()))
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
