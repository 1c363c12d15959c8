//! What units are worth, which go, and how.

use crate::passes::prune::weights;
use crate::passes::units::{Coupling, FIXED, Role, Slices, Unit, shrink};
use serde::{Deserialize, Serialize};
use trainer::graph::strides::Split;
use trainer::graph::{Graph, ParamId, Parameter, Parametrization, ShapeError};

/// What a unit is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Importance {
    /// Sum of the magnitudes of the weights that make it (Li et al. 2017), relative to its layer's mean.
    L1,
    /// Their Euclidean norm, relative to its layer's mean.
    #[default]
    L2,
    /// Square of the loss's change to first order, were the unit absent (Molchanov et al. 2019): the sum
    /// of weight times gradient over all that read it. Wants examples.
    Taylor,
}

/// How the amount is spread over the layers.
#[derive(Clone, Debug, PartialEq)]
pub enum UnitAmounts {
    /// This share of each layer's units.
    Each(f64),
    /// This share of all units, by one threshold.
    Global(f64),
    /// A share for each layer, in the order of [`Coupling::layers`].
    PerLayer(Vec<f64>),
}

/// What each unit is worth by its own weights, indexed by [`Unit`].
pub fn norms(graph: &Graph, coupling: &Coupling, importance: Importance) -> Vec<f64> {
    let mut sums = vec![(0.0, 0usize); coupling.count()];
    for id in weights(graph) {
        let makes = |s: &&Slices| s.role == Role::Makes;
        for slices in coupling.of_parameter(id).iter().filter(makes) {
            let norms = relative_norms(graph.parameter(id), slices.axis, importance);
            for (&unit, norm) in slices.units.iter().zip(norms) {
                let (sum, count) = &mut sums[unit as usize];
                (*sum, *count) = (*sum + norm, *count + 1);
            }
        }
    }
    let mean = |(sum, count): (f64, usize)| sum / count.max(1) as f64;
    sums.into_iter().map(mean).collect()
}

/// Norms of a weight's slices, over their mean.
fn relative_norms(weight: &Parameter, axis: usize, importance: Importance) -> Vec<f64> {
    let split = Split::new(&weight.shape, axis);
    let mut norms = vec![0.0; split.size];
    for (place, w) in weight.latent().into_iter().enumerate() {
        let w = f64::from(w.abs());
        norms[split.along(place)] += if importance == Importance::L1 {
            w
        } else {
            w * w
        };
    }
    if importance != Importance::L1 {
        norms.iter_mut().for_each(|n| *n = n.sqrt());
    }
    let mean = norms.iter().sum::<f64>() / norms.len().max(1) as f64;
    let relative = |n: f64| if mean > 0.0 { n / mean } else { 0.0 };
    norms.into_iter().map(relative).collect()
}

/// Squares of the sums of weight times gradient over all that read each unit, indexed by [`Unit`];
/// `gradients` are those of [`trainer::train::gradients`], of one batch or several.
pub fn taylor(graph: &Graph, coupling: &Coupling, gradients: &[Vec<Vec<f32>>]) -> Vec<f64> {
    let mut scores = vec![0.0; coupling.count()];
    for batch in gradients {
        let changes = changes(graph, coupling, batch);
        let pairs = scores.iter_mut().zip(changes);
        pairs.for_each(|(score, change)| *score += change * change);
    }
    scores
}

/// Of the loss, were a unit's output scaled away.
fn changes(graph: &Graph, coupling: &Coupling, gradients: &[Vec<f32>]) -> Vec<f64> {
    let mut changes = vec![0.0; coupling.count()];
    for id in weights(graph) {
        let parameter = graph.parameter(id);
        let reads = |s: &&Slices| s.role == Role::Reads;
        for slices in coupling.of_parameter(id).iter().filter(reads) {
            let split = Split::new(&parameter.shape, slices.axis);
            let pairs = parameter.materialize().into_iter().zip(&gradients[id.0]);
            for (place, (w, g)) in pairs.enumerate() {
                changes[slices.units[split.along(place)] as usize] += f64::from(w * g);
            }
        }
    }
    changes
}

/// Marks the units that go: those of the lowest scores, `reach` (0 … 1) of the amounts, and of every
/// value all but one at most. Those that went before count first.
pub fn choose(
    coupling: &Coupling,
    scores: &[f64],
    amounts: &UnitAmounts,
    reach: f64,
    gone: &mut [bool],
) {
    let layers = coupling.layers();
    let worth = |unit: Unit, gone: &[bool]| match gone[unit as usize] {
        true => -1.0,
        false => scores[unit as usize],
    };
    let mut take = |mut units: Vec<Unit>, share: f64| {
        units.sort_by(|&a, &b| worth(a, gone).total_cmp(&worth(b, gone)));
        let count = (units.len() as f64 * share * reach).round() as usize;
        let lowest = units.iter().take(count);
        lowest.for_each(|&unit| gone[unit as usize] = true);
    };
    match amounts {
        UnitAmounts::Each(share) => layers.into_iter().for_each(|units| take(units, *share)),
        UnitAmounts::Global(share) => take(layers.concat(), *share),
        UnitAmounts::PerLayer(shares) => {
            let pairs = layers.into_iter().zip(shares);
            pairs.for_each(|(units, share)| take(units, *share));
        }
    }
    gone[FIXED as usize] = false;
    coupling.spare(gone, |unit| scores[unit as usize]);
}

/// Masks the weights that make units or read them.
pub fn mask_units(graph: &mut Graph, coupling: &Coupling, gone: &[bool]) {
    for id in weights(graph) {
        let slices = coupling.of_parameter(id);
        if slices.iter().any(|s| s.kept(gone) < s.units.len()) {
            mask_slices(graph, id, slices, gone);
        }
    }
}

fn mask_slices(graph: &mut Graph, id: ParamId, slices: &[Slices], gone: &[bool]) {
    let parameter = &mut graph.parameters[id.0];
    let splits: Vec<(Split, &Slices)> = slices
        .iter()
        .map(|slices| (Split::new(&parameter.shape, slices.axis), slices))
        .collect();
    let lives = |place: usize| {
        let mut cuts = splits.iter();
        cuts.all(|(split, slices)| slices.keeps(split.along(place), gone))
    };
    let before = match &parameter.parametrization {
        Parametrization::Masked { mask, .. } => mask.clone(),
        _ => vec![true; parameter.len()],
    };
    let mask = (0..before.len())
        .map(|place| before[place] && lives(place))
        .collect();
    let values = parameter.latent();
    parameter.set_form(Parametrization::Masked { values, mask });
}

/// Takes masked units out of the graph; a mask that hides nothing more is dropped.
///
/// # Errors
/// When the graph is not the one whose units these are.
pub fn shrink_units(
    graph: &mut Graph,
    coupling: &Coupling,
    gone: &[bool],
) -> Result<(), ShapeError> {
    shrink(graph, coupling, gone)?;
    for parameter in &mut graph.parameters {
        if let Parametrization::Masked { values, mask } = &mut parameter.parametrization
            && mask.iter().all(|&lives| lives)
        {
            let values = std::mem::take(values);
            parameter.parametrization = Parametrization::Dense { values };
        }
    }
    Ok(())
}
