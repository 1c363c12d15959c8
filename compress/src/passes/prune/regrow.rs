//! Weights that return (RigL; Evci et al. 2020): of the living ones the smallest go, and as many of the
//! dead ones wake where the loss has the largest gradient, at zero. The share that changes places falls
//! along half a cosine.

use super::weights;
use trainer::graph::{Graph, Parametrization};

/// Share of the living that changes places at `progress` (0 … 1), from `share` down to none.
pub fn changing(share: f64, progress: f64) -> f64 {
    let angle = std::f64::consts::PI * progress.clamp(0.0, 1.0);
    share / 2.0 * (1.0 + angle.cos())
}

/// Lets this share of each layer's living weights change places. `gradients` are those of
/// [`trainer::train::gradients`]. As many live afterwards as before.
pub fn regrow(graph: &mut Graph, gradients: &[Vec<f32>], share: f64) {
    for id in weights(graph) {
        let parametrization = &mut graph.parameters[id.0].parametrization;
        if let Parametrization::Masked { values, mask } = parametrization {
            change_places(values, mask, &gradients[id.0], share);
        }
    }
}

fn change_places(values: &mut [f32], mask: &mut [bool], gradient: &[f32], share: f64) {
    let mut living: Vec<usize> = (0..mask.len()).filter(|&i| mask[i]).collect();
    let dead = mask.len() - living.len();
    let count = ((living.len() as f64 * share).round() as usize).min(dead);
    living.sort_by(|&a, &b| values[a].abs().total_cmp(&values[b].abs()));
    let lived = mask.to_vec();
    living.iter().take(count).for_each(|&i| mask[i] = false);
    let mut dead: Vec<usize> = (0..mask.len()).filter(|&i| !mask[i]).collect();
    dead.sort_by(|&a, &b| gradient[b].abs().total_cmp(&gradient[a].abs()));
    for &i in dead.iter().take(count) {
        mask[i] = true;
        // One that was to go, and is wanted most, keeps its value.
        if !lived[i] {
            values[i] = 0.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trainer::graph::{Op, Parameter};

    #[test]
    fn the_smallest_make_room_for_those_the_loss_wants() {
        let mut graph = Graph::new("g", "x", &[6]);
        let values = vec![3.0, 9.0, 1.0, -2.0, 9.0, 4.0];
        let weight = graph.add_parameter(Parameter::dense("w", &[1, 6], values.clone()));
        let op = Op::Gemm { weight, bias: None };
        graph.push("fc", op, &[graph.input]).expect("fits");
        let mask = vec![true, false, true, true, false, true];
        graph.parameters[0].parametrization = Parametrization::Masked { values, mask };
        let gradients = [vec![0.0, 0.1, 0.0, 0.0, -0.5, 0.0]];
        let mut still = graph.clone();
        regrow(&mut still, &gradients, 0.1);
        assert_eq!(still, graph, "a tenth of four is none");
        regrow(&mut graph, &gradients, 0.25);
        let Parametrization::Masked { values, mask } = &graph.parameters[0].parametrization else {
            panic!("masked");
        };
        assert_eq!(mask, &[true, false, false, true, true, true]);
        assert_eq!(values[4], 0.0);
    }

    #[test]
    fn fewer_and_fewer_change_places() {
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} for {b}");
        close(changing(0.3, 0.0), 0.3);
        close(changing(0.3, 0.5), 0.15);
        close(changing(0.3, 1.0), 0.0);
    }
}
