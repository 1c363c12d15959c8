//! Which distortions of training images suit a network: those that it does not mind already.

use super::TrainError;
use super::config::DeviceChoice;
use super::evaluate::{argmax, error_percent, predict};
use crate::data::{Augment, Dataset};
use crate::graph::Graph;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// Examples that decide.
const EXAMPLES: usize = 1000;

/// Share of the right answers that a distortion has to leave right.
const KEPT: f64 = 0.9;

/// Pictures at least so high and wide are moved, by a sixteenth of their size.
const LEAST_SIDE: usize = 16;

/// Mirroring and moving by some pixels, each only if a trained `graph` answers distorted examples of
/// `data` nearly as well: an object is the same seen in a mirror, a digit is not, and the network
/// knows which of them it was made for.
///
/// # Errors
/// When the graph does not run on the data.
pub fn tolerated_augmentation(
    graph: &Graph,
    data: &Dataset,
    device: DeviceChoice,
) -> Result<Augment, TrainError> {
    let Ok(shape) = <[usize; 3]>::try_from(data.input_shape.as_slice()) else {
        return Ok(Augment::default());
    };
    let step = data.len().div_ceil(EXAMPLES).max(1);
    let mut some = data.subset(&(0..data.len()).step_by(step).collect::<Vec<_>>());
    if !some.is_labelled() {
        some.labels = answers(graph, &some, device)?;
    }
    let right = |augment| -> Result<f64, TrainError> {
        Ok(100.0 - error_percent(graph, &distorted(&some, shape, augment), device)?)
    };
    let enough = KEPT * right(Augment::default())?;
    let mut tolerated = Augment::default();
    for candidate in candidates(shape) {
        if right(candidate)? >= enough {
            tolerated.crop = tolerated.crop.max(candidate.crop);
            tolerated.flip = tolerated.flip.max(candidate.flip);
        }
    }
    Ok(tolerated)
}

/// What the network itself takes the examples for.
fn answers(graph: &Graph, data: &Dataset, device: DeviceChoice) -> Result<Vec<u32>, TrainError> {
    let width = graph.value(graph.output).len().max(1);
    let outputs = predict(graph, &data.inputs, device)?;
    Ok(outputs.chunks(width).map(|o| argmax(o) as u32).collect())
}

fn candidates([_, height, width]: [usize; 3]) -> Vec<Augment> {
    let side = height.min(width);
    if side < LEAST_SIDE {
        return Vec::new();
    }
    let crop = (side / 16) as f32;
    let none = Augment::default();
    vec![Augment { flip: 0.5, ..none }, Augment { crop, ..none }]
}

fn distorted(data: &Dataset, shape: [usize; 3], augment: Augment) -> Dataset {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut inputs = data.inputs.clone();
    for (i, out) in inputs.chunks_mut(data.input_len().max(1)).enumerate() {
        augment.apply(data.input(i), shape, &mut rng, out);
    }
    Dataset {
        inputs,
        ..data.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Op, Parameter};

    /// Two classes told apart by `kernel` over a picture of 32×32: class 1 where the sum of products
    /// is positive.
    fn linear(kernel: impl Fn(usize, usize) -> f32) -> Graph {
        let mut graph = Graph::new("linear", "x", &[1, 32, 32]);
        let places = (0..32).flat_map(|y| (0..32).map(move |x| (y, x)));
        let row: Vec<f32> = places.map(|(y, x)| kernel(y, x)).collect();
        let weights = [vec![0.0; row.len()], row].concat();
        let weight = graph.add_parameter(Parameter::dense("w", &[2, 1024], weights));
        graph
            .push("flat", Op::Flatten, &[graph.input])
            .expect("fits");
        let dense = Op::Gemm { weight, bias: None };
        graph.push("dense", dense, &[graph.output]).expect("fits");
        graph
    }

    /// Pictures with one bright stripe of columns, labelled by the graph itself.
    fn stripes(graph: &Graph) -> Dataset {
        let picture = |i: usize| {
            let bright = [3usize, 12, 19, 28][i % 4];
            (0..1024usize).map(move |p| f32::from(u8::from((p % 32).abs_diff(bright) < 2)))
        };
        let inputs: Vec<f32> = (0..200).flat_map(picture).collect();
        let outputs = super::super::predict(graph, &inputs, DeviceChoice::Cpu).expect("runs");
        let labels = outputs.chunks(2).map(|o| u32::from(o[1] > o[0])).collect();
        Dataset {
            input_shape: vec![1, 32, 32],
            inputs,
            labels,
            classes: 2,
            ..Dataset::default()
        }
    }

    fn tolerated(kernel: impl Fn(usize, usize) -> f32) -> Augment {
        let graph = linear(kernel);
        tolerated_augmentation(&graph, &stripes(&graph), DeviceChoice::Cpu).expect("runs")
    }

    #[test]
    fn what_tells_left_from_right_is_not_mirrored() {
        let sides = tolerated(|_, x| if x < 16 { -1.0 } else { 1.0 });
        assert_eq!((sides.crop, sides.flip), (2.0, 0.0));
    }

    #[test]
    fn what_tells_the_middle_from_the_sides_is_mirrored() {
        let middle = tolerated(|_, x| if (8..24).contains(&x) { 1.0 } else { -1.0 });
        assert_eq!((middle.crop, middle.flip), (2.0, 0.5));
    }

    #[test]
    fn what_looks_at_single_columns_is_not_moved() {
        let columns = tolerated(|_, x| if x / 2 % 2 == 0 { 1.0 } else { -1.0 });
        assert_eq!(columns.crop, 0.0);
    }

    #[test]
    fn what_is_no_picture_is_left_alone() {
        let graph = linear(|_, _| 1.0);
        let mut data = stripes(&graph);
        data.input_shape = vec![1024];
        let tolerated = tolerated_augmentation(&graph, &data, DeviceChoice::Cpu);
        assert_eq!(tolerated.expect("no picture"), Augment::default());
    }
}
