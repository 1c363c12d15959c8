//! What is made of a graph before any stage, and what is refused before any time is spent on it.

use super::{CompressError, Examples, stages};
use crate::encode::{Coding, encode};
use crate::lower::{Biases, LowerError, lower, steps};
use crate::passes::post_training::EQUALIZED;
use crate::passes::stream::to_steps;
use crate::passes::{simplify, unquantize};
use crate::scales::tentative;
use crate::settings::{AUTO, Settings};
use trainer::graph::{Graph, ValueId};
use trainer::names::meant;

/// A layer that there is not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--int16: no layer's output is called '{name}'{hint}")]
pub struct Int16Error {
    name: String,
    hint: String,
}

/// The graph that the stages begin with.
pub(crate) fn checked(
    graph: &Graph,
    examples: Examples,
    settings: &Settings,
) -> Result<Graph, CompressError> {
    check_finite(graph)?;
    // A quantized model stays the one it is, unless a pass is to give it other weights.
    let plain = settings.stages.is_empty() && settings.grid == 8;
    let mut graph = prepared(graph, plain);
    if let Examples::Data(data) = examples {
        graph.metadata.extend(data.metadata.clone());
    }
    simplify(&mut graph);
    widen(&mut graph, &settings.int16)?;
    lower_check(&graph)?;
    if settings.stream {
        to_steps(&graph)?;
    }
    stages::check_graph(&settings.stages, &graph)?;
    Ok(graph)
}

/// What the passes work on: nothing that leads nowhere, no parameter of two nodes, and no scale or grid
/// of an earlier quantization unless it is kept.
pub(crate) fn prepared(graph: &Graph, keep_quantization: bool) -> Graph {
    let mut graph = graph.clone();
    graph.metadata.remove(EQUALIZED);
    graph.remove_unused();
    graph.unshare_parameters();
    if !keep_quantization {
        unquantize(&mut graph);
    }
    graph
}

/// A graph as the passes find it, for measurements on it.
pub(crate) fn scannable(graph: &Graph) -> Graph {
    let mut graph = prepared(graph, false);
    simplify(&mut graph);
    graph
}

fn check_finite(graph: &Graph) -> Result<(), CompressError> {
    let bad = graph
        .parameters
        .iter()
        .find(|p| p.free().iter().any(|v| !v.is_finite()));
    bad.map_or(Ok(()), |p| Err(CompressError::NotFinite(p.name.clone())))
}

/// Refuses what an image cannot hold.
pub(crate) fn lower_check(graph: &Graph) -> Result<(), CompressError> {
    match lower(&tentative(graph), Biases::Rounded) {
        Err(error @ LowerError::Unsupported(_)) => Err(error.into()),
        Ok(program) => Ok(encode(&program, Coding::Plain).map(drop)?),
        _ => Ok(()),
    }
}

/// Marks what is to be int16: the output of a layer with what is fused behind it, or the input.
fn widen(graph: &mut Graph, names: &[String]) -> Result<(), Int16Error> {
    for name in names.iter().filter(|name| *name != AUTO) {
        let mut layers: Vec<(String, ValueId)> =
            vec![(graph.value(graph.input).name.clone(), graph.input)];
        for step in &steps(graph).steps {
            let node = &graph.nodes[step.node];
            let called = [
                &graph.value(node.output).name,
                &graph.value(step.output).name,
            ];
            layers.push((node.name.clone(), step.output));
            layers.extend(called.map(|name| (name.clone(), step.output)));
        }
        match layers.iter().find(|(called, _)| called == name) {
            Some((_, value)) => graph.values[value.0].int16 = true,
            None => {
                let called = layers.iter().map(|(called, _)| called.as_str());
                let (name, hint) = (name.clone(), meant(name, called));
                return Err(Int16Error { name, hint });
            }
        }
    }
    Ok(())
}
