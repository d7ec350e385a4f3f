//! Layered configuration: defaults, then a TOML file, then the environment, then flags; each value remembers its
//! source. It knows no key: what may be set is decided by the type that is loaded.

mod de;
mod error;
mod layers;
mod render;
mod secret;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::ConfigError;
pub use layers::{Layers, Source};
pub use secret::Secret;

use layers::Node;

/// What was loaded, and where each value came from.
#[derive(Debug, Clone)]
pub struct Loaded<T> {
    /// The values in force.
    pub value: T,
    root: Node,
}

impl Layers {
    /// Makes the configuration from the layers; what no layer names keeps the type's default.
    ///
    /// # Errors
    /// The first key that is unknown or has a value that does not fit, with its source.
    pub fn load<T: DeserializeOwned>(self) -> Result<Loaded<T>, ConfigError> {
        let root = self.into_root();
        let value = de::from_node(&root)?;
        Ok(Loaded { value, root })
    }
}

impl<T> Loaded<T> {
    /// Whether a layer sets the dotted key, which a default does not.
    pub fn is_set(&self, key: &str) -> bool {
        let parts: Vec<&str> = key.split('.').collect();
        !matches!(self.root.closest(&parts), Node::Table(..))
    }
}

impl<T: Serialize> Loaded<T> {
    /// The values in force as TOML, each that is not a default with its source; secrets are hidden.
    ///
    /// # Errors
    /// When the type cannot be written as TOML.
    pub fn to_toml(&self) -> Result<String, ConfigError> {
        let table = toml::Table::try_from(&self.value)
            .map_err(|error| ConfigError::new(format!("cannot be shown as TOML: {error}")))?;
        Ok(render::render(&table, &self.root))
    }
}

#[cfg(test)]
mod tests;
