//! What exporters write in several operators and is one of the graph.

mod activation;
mod dynamic;
mod layer_normalization;
mod pattern;
mod quantized;

use crate::graph::Graph;

/// Rewrites a graph as imported, in place; the meaning stays.
pub(super) fn simplify(graph: &mut Graph) {
    dynamic::simplify(graph);
    quantized::fold(graph);
    activation::simplify(graph);
    layer_normalization::simplify(graph);
    graph.remove_unused();
}
