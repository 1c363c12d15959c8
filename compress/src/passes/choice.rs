//! Which layers a stage works on.

use super::weights;
use trainer::graph::{Graph, Op, ParamId, Parameter, Parametrization};
use trainer::names::meant;

/// A name that is no layer's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("skip: no layer with weights is called '{name}'{hint}; `compress inspect` lists them")]
pub struct SkipError {
    name: String,
    hint: String,
}

/// The weights of a graph, in order of its nodes, without those of the layers to leave alone: each
/// named by its node or its weights, with `*` for any run of characters.
///
/// # Errors
/// When a name fits no layer.
pub fn chosen(graph: &Graph, skip: &[String]) -> Result<Vec<ParamId>, SkipError> {
    let mut ids = weights(graph);
    for name in skip {
        let left_alone: Vec<ParamId> = named(graph)
            .filter(|(called, _)| fits(name, called))
            .map(|(_, id)| id)
            .collect();
        if left_alone.is_empty() {
            let called: Vec<&str> = named(graph).map(|(called, _)| called).collect();
            let (name, hint) = (name.clone(), meant(name, called));
            return Err(SkipError { name, hint });
        }
        ids.retain(|id| !left_alone.contains(id));
    }
    Ok(ids)
}

/// Without the first and the last, where there are others between: those cost little and bear the
/// least (Courbariaux 2015 and all after).
pub fn inner(mut ids: Vec<ParamId>, graph: &Graph) -> Vec<ParamId> {
    let all = weights(graph);
    let ends = [all.first(), all.last()];
    if all.len() > 2 {
        ids.retain(|id| !ends.contains(&Some(id)));
    }
    ids
}

/// Whether weights have a form, hashed, signs or vectors, that a change of each by itself would undo, and in
/// which they are many times smaller than one beside the other.
pub(crate) fn is_bound(parameter: &Parameter) -> bool {
    matches!(
        parameter.parametrization,
        Parametrization::Hashed(_) | Parametrization::Signs(_) | Parametrization::Vectors(_)
    )
}

/// Every name of every weight.
fn named(graph: &Graph) -> impl Iterator<Item = (&str, ParamId)> {
    graph.nodes.iter().flat_map(move |node| {
        let ids = match &node.op {
            Op::Recurrent(layer) => vec![layer.weight, layer.recurrence],
            op => op.weight().into_iter().collect(),
        };
        ids.into_iter().flat_map(move |id| {
            let own = graph.parameter(id).name.as_str();
            [(node.name.as_str(), id), (own, id)]
        })
    })
}

/// Whether a name is that of a pattern, in which `*` stands for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            let mut ends = (0..=name.len()).filter(|&i| name.is_char_boundary(i));
            ends.any(|i| fits(rest, &name[i..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trainer::arch::Architecture;

    fn graph() -> Graph {
        let architecture = Architecture::resolve("lenet-300-100").expect("built in");
        architecture.build(&[1, 28, 28], 10, 1).expect("fits")
    }

    fn names(graph: &Graph, ids: &[ParamId]) -> Vec<String> {
        ids.iter()
            .map(|id| graph.parameter(*id).name.clone())
            .collect()
    }

    #[test]
    fn patterns_name_layers() {
        assert!(fits("fc*", "fc1") && fits("*1", "fc1") && fits("f*c*1", "fc1"));
        assert!(!fits("fc", "fc1") && !fits("*2", "fc1"));
    }

    #[test]
    fn named_layers_are_left_alone() {
        let graph = graph();
        let all = names(&graph, &chosen(&graph, &[]).expect("none named"));
        let skip = [graph
            .nodes
            .iter()
            .find(|n| n.op.weight().is_some())
            .expect("one")
            .name
            .clone()];
        assert_eq!(
            names(&graph, &chosen(&graph, &skip).expect("there")),
            all[1..]
        );
        let by_weights = [all[2].clone()];
        assert_eq!(
            names(&graph, &chosen(&graph, &by_weights).expect("there")),
            all[..2]
        );
        assert_eq!(
            names(&graph, &inner(chosen(&graph, &[]).expect("none"), &graph)),
            all[1..2]
        );
    }

    #[test]
    fn an_unknown_name_gets_the_nearest() {
        let graph = graph();
        let name = graph
            .parameter(weights(&graph)[0])
            .name
            .replace("weight", "wieght");
        let error = chosen(&graph, &[name]).expect_err("misspelt").to_string();
        assert!(error.contains("(do you mean"), "{error}");
    }
}
