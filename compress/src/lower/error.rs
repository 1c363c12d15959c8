//! Why a graph cannot be an image.

use std::fmt::{self, Display, Formatter};
use trainer::graph::Value;

/// Why a graph cannot be an image.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum LowerError {
    /// Operators or uses of them that images do not have: every one of the graph.
    #[error("{}", lines(.0))]
    Unsupported(Vec<Refusal>),
    /// A value without scale and zero point.
    #[error("value '{0}' has no quantization; calibrate the graph first")]
    NotCalibrated(String),
    /// A weight without an integer grid.
    #[error("parameter '{0}' has no integer grid; quantize the weights first")]
    NoGrid(String),
    /// A weight or bias that is not a finite number.
    #[error("parameter '{0}' holds a value that is not finite; the model cannot be quantized")]
    NotFinite(String),
    /// A bias too large for the accumulators.
    #[error("a bias of '{0}' is beyond the 32-bit accumulators' range")]
    BiasRange(String),
}

/// A node that images have no form for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The node's name.
    pub node: String,
    /// Its ONNX operator.
    pub op: &'static str,
    /// What is missing and what to do.
    pub reason: String,
}

impl Display for Refusal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { node, op, reason } = self;
        write!(f, "node '{node}' ({op}): {reason}")
    }
}

fn lines(refusals: &[Refusal]) -> String {
    let lines: Vec<String> = refusals.iter().map(Refusal::to_string).collect();
    lines.join("\n")
}

/// A refusal of the node being lowered, whose name is added by who knows it.
pub(super) fn refused(reason: impl Into<String>) -> LowerError {
    let (node, op, reason) = (String::new(), "", reason.into());
    LowerError::Unsupported(vec![Refusal { node, op, reason }])
}

/// A refusal of an end of the network.
pub(super) fn refused_at(value: &Value, end: &'static str, reason: &str) -> LowerError {
    LowerError::Unsupported(vec![Refusal {
        node: value.name.clone(),
        op: end,
        reason: reason.to_owned(),
    }])
}
