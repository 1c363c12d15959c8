//! What each layer can be made into, and what that costs and saves.

use super::PASSES;
use crate::passes::codebook::per_tensor_grid;
use crate::passes::sensitivity::{Pass, Sensitivity, coded_size, share};
use crate::passes::{Amounts, prune, weights};
use serde::{Deserialize, Serialize};
use trainer::graph::{Graph, Op, ParamId, Parameter};

/// What is done to one layer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Choice {
    /// Share of its weights that becomes zero.
    pub sparsity: f64,
    /// Values that the others share.
    pub entries: usize,
}

/// A choice with its price and its damage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Offer {
    pub(super) choice: Choice,
    /// Coded bytes of the layer's weights.
    pub(super) bytes: usize,
    /// Rise of the held-out loss in nats, or, without data, the share of the weights' squares that is
    /// lost.
    pub(super) loss: f64,
}

/// Offers for every layer of a graph; of each pass's loss a share is expected to remain. Without curves, which need data, by the weights alone.
pub(super) fn menus(
    graph: &Graph,
    curves: &[Sensitivity],
    remaining: [f64; PASSES.len()],
) -> Vec<Vec<Offer>> {
    let layer = |id: ParamId| {
        let parameter = graph.parameter(id);
        let of_layer = |c: &&Sensitivity| c.layer == parameter.name;
        let curves: Vec<&Sensitivity> = curves.iter().filter(of_layer).collect();
        menu(parameter, &curves, remaining)
    };
    weights(graph).into_iter().map(layer).collect()
}

fn menu(
    parameter: &Parameter,
    curves: &[&Sensitivity],
    [pruned, shared]: [f64; PASSES.len()],
) -> Vec<Offer> {
    let [shares, bits] = PASSES.map(Pass::amounts);
    let pairs = shares
        .iter()
        .flat_map(|&s| bits.iter().map(move |&b| (s, b)));
    let there = parameter.latent().iter().filter(|w| **w != 0.0).count();
    let mut offers: Vec<Offer> = Vec::new();
    for (sparsity, bits) in pairs {
        let living = (((1.0 - sparsity) * parameter.len() as f64) as usize).min(there);
        let entries = 1usize << bits as u32;
        // Units that die with their last weight take more weights along than were asked for.
        if entries * 2 > living {
            continue;
        }
        let choice = Choice { sparsity, entries };
        let changed = alone(parameter, choice);
        let loss = match curves {
            [] => lost(parameter, &changed.parameters[0]),
            curves => {
                pruned * rise(curves, Pass::Prune, sparsity)
                    + shared * rise(curves, Pass::Codebook, bits)
            }
        };
        offers.push(Offer {
            choice,
            bytes: coded_size(&changed, ParamId(0)),
            loss,
        });
    }
    // A layer of a handful of weights stays as it is, but for a codebook of all that it has.
    if offers.is_empty() {
        let entries = there.clamp(1, MAX_ENTRIES);
        offers.push(Offer {
            choice: Choice {
                sparsity: 0.0,
                entries,
            },
            bytes: parameter.len(),
            loss: 0.0,
        });
    }
    offers
}

/// Largest codebook that a layer can have.
const MAX_ENTRIES: usize = 127;

/// A layer changed, in a graph of its own.
fn alone(parameter: &Parameter, choice: Choice) -> Graph {
    let (values, rows) = (parameter.latent(), parameter.shape[0].max(1));
    let columns = values.len() / rows;
    let mut graph = Graph::new("layer", "x", &[columns]);
    let weight = graph.add_parameter(Parameter::dense("w", &[rows, columns], values));
    let input = graph.input;
    // A matrix fits inputs as long as its rows.
    let _ = graph.push("layer", Op::Gemm { weight, bias: None }, &[input]);
    prune(&mut graph, &Amounts::PerLayer(vec![choice.sparsity]), 1.0);
    share(&mut graph, weight, choice.entries);
    per_tensor_grid(&mut graph, weight, 127);
    graph
}

/// The share of the squares of a layer's weights that is in their differences.
fn lost(before: &Parameter, after: &Parameter) -> f64 {
    let square = |v: f32| f64::from(v) * f64::from(v);
    let (before, after) = (before.latent(), after.materialize());
    let all: f64 = before.iter().map(|&w| square(w)).sum();
    let apart = before.iter().zip(&after).map(|(a, b)| square(a - b));
    apart.sum::<f64>() / all.max(f64::MIN_POSITIVE)
}

/// By how much the loss has risen at an amount over the mildest one; never falling on the way, since
/// what looks like a gain there is chance.
pub(super) fn rise(curves: &[&Sensitivity], pass: Pass, amount: f64) -> f64 {
    let curve = curves.iter().find(|c| c.pass == pass);
    let points = curve.map_or(&[][..], |c| &c.points);
    let base = points.first().map_or(0.0, |p| p.loss);
    let until = points.iter().position(|p| p.amount == amount);
    let up_to = points.iter().take(until.map_or(0, |place| place + 1));
    up_to.fold(0.0, |most, point| f64::max(most, point.loss - base))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::sensitivity::Point;
    use crate::passes::sensitivity::integers;

    fn layer() -> Parameter {
        let values = (1..=400).map(|i| if i % 2 == 0 { i as f32 } else { -i as f32 });
        Parameter::dense("w", &[20, 20], values.collect())
    }

    #[test]
    fn a_layer_changed_alone_has_the_zeros_and_the_values_asked_for() {
        let changed = alone(
            &layer(),
            Choice {
                sparsity: 0.9,
                entries: 4,
            },
        );
        let weights = integers(&changed, ParamId(0));
        assert_eq!(weights.iter().filter(|w| **w != 0).count(), 40);
        let mut values: Vec<i8> = weights.into_iter().filter(|w| *w != 0).collect();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), 4);
    }

    #[test]
    fn harsher_offers_cost_more_and_save_more() {
        let offers = menu(&layer(), &[], [1.0; 2]);
        let find = |sparsity: f64, entries: usize| {
            let wanted = Choice { sparsity, entries };
            *offers.iter().find(|o| o.choice == wanted).expect("offered")
        };
        let (mild, pruned, coarse) = (find(0.0, 64), find(0.8, 16), find(0.0, 4));
        assert!(pruned.bytes < mild.bytes && coarse.bytes < mild.bytes);
        assert!(pruned.loss > mild.loss && coarse.loss > mild.loss);
        let most = offers.iter().map(|o| o.choice.entries * 2).max();
        assert!(most <= Some(400), "no more values than weights");
    }

    #[test]
    fn chance_gains_are_not_counted() {
        let point = |(amount, loss)| Point {
            amount,
            bytes: 0,
            error: 0.0,
            loss,
        };
        let curve = Sensitivity {
            layer: "w".into(),
            weights: 1,
            pass: Pass::Prune,
            points: [(0.0, 1.0), (0.3, 1.4), (0.5, 1.2), (0.7, 2.0)]
                .map(point)
                .into(),
        };
        let at = |amount| rise(&[&curve], Pass::Prune, amount);
        assert_eq!(at(0.0), 0.0);
        assert_eq!(at(0.3), at(0.5));
        assert_eq!(at(0.7), 1.0);
    }
}
