//! The architecture that a recipe names, or describes itself.

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use std::path::Path;
use trainer::arch::{ArchError, Architecture};

/// A network to be built.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Design {
    /// A built-in architecture, `mlp:UNITS-UNITS-…`, or a TOML file.
    Named(String),
    /// A table with what such a file holds: `name` and the layers.
    Described(Architecture),
}

impl Design {
    /// The architecture.
    ///
    /// # Errors
    /// When there is none of that name, or the file is wrong.
    pub fn resolve(&self) -> Result<Architecture, ArchError> {
        match self {
            Design::Named(name) => Architecture::resolve(name),
            Design::Described(architecture) => Ok(architecture.clone()),
        }
    }

    /// The file that it is read from.
    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Design::Named(name) => Some(Path::new(name)).filter(|p| p.extension().is_some()),
            Design::Described(_) => None,
        }
    }
}

impl<'de> Deserialize<'de> for Design {
    /// By what stands there, so that an error within a description is that error.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameOrTable;

        impl<'de> Visitor<'de> for NameOrTable {
            type Value = Design;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an architecture's name, or a table that describes one")
            }

            fn visit_str<E>(self, name: &str) -> Result<Design, E> {
                Ok(Design::Named(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Design, A::Error> {
                Architecture::deserialize(MapAccessDeserializer::new(table)).map(Design::Described)
            }
        }

        deserializer.deserialize_any(NameOrTable)
    }
}
