//! What exporters write in several operators and is one of the graph.

mod quantized;

use crate::graph::Graph;

/// Rewrites a graph as imported, in place; the meaning stays.
pub(super) fn simplify(graph: &mut Graph) {
    quantized::fold(graph);
}
