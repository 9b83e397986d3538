//! temporary
pub mod codec;
pub mod command;
mod offer;
pub mod path;
pub mod reply;
pub mod session;
