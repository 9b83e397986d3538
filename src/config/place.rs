//! Where a value was written, and a value together with that.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file; lines and columns count from 1.
    File {
        /// The file.
        path: Arc<Path>,
        /// The line; `None` when the file as a whole is meant.
        line: Option<usize>,
        /// The column, for errors of syntax.
        column: Option<usize>,
    },
    /// In the environment variable of this name.
    Environment(String),
    /// In this option of the command line.
    Option(&'static str),
    /// Nowhere: it is the value of a key that nobody wrote.
    Default,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { path, line, column } => {
                write!(f, "{}", path.display())?;
                for number in [line, column].into_iter().flatten() {
                    write!(f, ":{number}")?;
                }
                Ok(())
            }
            Place::Environment(name) => f.write_str(name),
            Place::Option(name) => f.write_str(name),
            Place::Default => f.write_str("default"),
        }
    }
}

/// A value and where it comes from.
pub(super) struct At<T> {
    pub(super) value: T,
    pub(super) place: Place,
}
