//! What commands start from: the configuration and the store.

use super::Global;
use super::output::Failure;
use crate::config::{self, Config, Examined, Sources};
use crate::net::inherited::Inherited;
use crate::serve::{doors, store_options};
use crate::store::{Store, Tenure};
use std::ffi::OsString;
use std::io::ErrorKind;

/// The database in the data directory.
const DATABASE: &str = "pillarbox.db";

/// Reads the configuration from where the command line and the environment say.
///
/// # Errors
/// [`Failure::Faults`], all of them.
pub fn configuration(global: &Global) -> Result<Config, Failure> {
    config::load(&sources(global)).map_err(Failure::Faults)
}

/// The same, whether it is sound or not.
#[must_use]
pub fn examined(global: &Global) -> Examined {
    config::examine(&sources(global))
}

fn sources(global: &Global) -> Sources {
    Sources {
        file: global.config.clone(),
        search: config::SEARCH.iter().map(Into::into).collect(),
        environment: std::env::vars_os().collect(),
        data_dir: global.data_dir.clone(),
    }
}

/// The same for the command that makes a certificate: whatever asks for one is sound, as it will be then.
///
/// # Errors
/// [`Failure::Faults`], all others.
pub fn with_certificate_to_come(global: &Global) -> Result<Config, Failure> {
    let mut sources = sources(global);
    for key in [config::keys::CERTIFICATE, config::keys::PRIVATE_KEY] {
        sources.environment.push((key.variable().into(), key.example.in_environment().into()));
    }
    config::load(&sources).map_err(Failure::Faults)
}

/// The same for `serve`, with the sockets that the system hands over: they take the place of what is
/// configured for their kind, and have to be as sound as it.
///
/// # Errors
/// [`Failure::Faults`], all of them, or that a socket is of no use.
pub fn with_inherited(global: &Global) -> Result<(Config, Inherited), Failure> {
    let inherited = Inherited::take(&doors::names()).map_err(Failure::because)?;
    let variable = |(kind, places): (&str, String)| {
        let name = format!("{}LISTEN__{}", config::keys::PREFIX, kind.to_ascii_uppercase());
        (name.into(), places.into())
    };
    let places: Vec<(OsString, OsString)> = inherited.places().into_iter().map(variable).collect();
    let mut sources = sources(global);
    sources.environment.retain(|(name, _)| places.iter().all(|(handed, _)| handed != name));
    sources.environment.extend(places);
    config::load(&sources).map(|config| (config, inherited)).map_err(Failure::Faults)
}

/// Whether there is a database to look into. A command that only looks makes none.
///
/// # Errors
/// [`Failure`] when that cannot be seen: a directory that this user may not enter is not an empty one.
pub fn database_exists(config: &Config) -> Result<bool, Failure> {
    let file = config.data_dir.join(DATABASE);
    match file.metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Failure::Reason(format!(
            "{} cannot be looked at: {error}; run this as the user who runs the server",
            file.display()
        ))),
    }
}

/// What a command waits with.
///
/// # Errors
/// [`Failure`] when the system gives no resources.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::because(format!("the system gives no resources: {error}")))
}

/// Opens the store, beside a server or without one, does `work` and closes it.
///
/// # Errors
/// What keeps the store from opening, or what `work` says.
pub fn with_store<T>(
    config: &Config,
    work: impl AsyncFnOnce(&Store) -> Result<T, Failure>,
) -> Result<T, Failure> {
    runtime()?.block_on(async {
        let store = Store::open(store_options(config, Tenure::Command)).await.map_err(Failure::because)?;
        let result = work(&store).await;
        store.close().await;
        result
    })
}
