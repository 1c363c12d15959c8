use crate::files::WriteError;
use crate::graph::ShapeError;
use std::fmt;

/// Why an ONNX file could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// The file could not be opened or read.
    #[error("cannot read '{file}': {source}")]
    Read {
        /// Its path.
        file: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The bytes are no ONNX model.
    #[error("'{file}' is not a complete ONNX file: {reason}")]
    NotOnnx {
        /// Its path.
        file: String,
        /// What is wrong with the bytes.
        reason: String,
    },
    /// An ONNX model that has no meaning as a graph, with every reason found.
    #[error("'{file}' cannot be imported: {}", join(reasons))]
    Refused {
        /// Its path.
        file: String,
        /// In the order of the file; never empty.
        reasons: Vec<Reason>,
    },
    /// The output could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A graph that no ONNX file can hold.
    #[error("graph '{graph}' cannot be written as ONNX: {reason}")]
    Unwritable {
        /// The graph's name.
        graph: String,
        /// What stands in the way, and the way out.
        reason: String,
    },
}

fn join(reasons: &[Reason]) -> String {
    let lines: Vec<String> = reasons.iter().map(Reason::to_string).collect();
    lines.join("; ")
}

/// One reason to refuse a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The part of the model.
    pub place: Place,
    /// What is wrong with it.
    pub why: String,
    /// What to do about it.
    pub way_out: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.place, self.why, self.way_out)
    }
}

/// A part of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The model as a whole.
    Model,
    /// An input, by name.
    Input(String),
    /// An initializer, by name.
    Initializer(String),
    /// A metadata entry, by key.
    Metadata(String),
    /// A node.
    Node {
        /// Its name.
        name: String,
        /// Its ONNX operator.
        operator: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names come from the file: escaped, so that an error stays on its line.
        match self {
            Place::Model => write!(f, "the model"),
            Place::Input(name) => write!(f, "input '{}'", name.escape_debug()),
            Place::Initializer(name) => write!(f, "initializer '{}'", name.escape_debug()),
            Place::Metadata(key) => write!(f, "metadata '{}'", key.escape_debug()),
            Place::Node { name, operator } => write!(
                f,
                "node '{}' ({})",
                name.escape_debug(),
                operator.escape_debug()
            ),
        }
    }
}

/// A [`Reason`] before its place is known.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) why: String,
    pub(super) way_out: String,
}

impl Fault {
    pub(super) fn new(why: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            way_out: way_out.into(),
        }
    }

    pub(super) fn at(self, place: Place) -> Reason {
        Reason {
            place,
            why: self.why,
            way_out: self.way_out,
        }
    }
}

impl From<ShapeError> for Fault {
    fn from(error: ShapeError) -> Self {
        Fault::new(
            error.reason,
            "images are [batch, channels, height, width] and vectors [batch, features], \
             reshape before this node or export the model so",
        )
    }
}
