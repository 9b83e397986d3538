//! `pillarbox check`: whether the configuration is sound, and what it amounts to.

use super::output::{Failure, Output};
use crate::config::bind::Bind;
use crate::config::{Config, Mode};

/// Says what a sound configuration amounts to.
///
/// # Errors
/// [`Failure`] when nobody reads any more.
pub fn run(config: &Config, out: &mut Output) -> Result<(), Failure> {
    out.line("configuration is sound")?;
    match &config.file {
        Some(file) => out.line(format_args!("file      {}", file.display()))?,
        None => out.line("file      none, all keys have their defaults or come from the environment")?,
    }
    out.line(format_args!("data_dir  {}", config.data_dir.display()))?;
    out.line(format_args!("hostname  {}", config.hostname))?;
    out.line(format_args!("mode      {}", mode(config)))?;
    for (name, binds) in [("smtp", &config.listen.smtp), ("pop3", &config.listen.pop3)] {
        out.line(format_args!("{name}      {}", places(binds)))?;
    }
    for warning in &config.warnings {
        out.line(format_args!("warning   {warning}"))?;
    }
    Ok(())
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

fn places(binds: &[Bind]) -> String {
    if binds.is_empty() {
        return "off".to_owned();
    }
    binds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
