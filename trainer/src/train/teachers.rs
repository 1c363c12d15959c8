//! Soft targets: what a teacher, or an ensemble of them, says of the examples a student learns from.

use super::execute::{Network, host};
use super::{TrainConfig, TrainError};
use crate::data::Dataset;
use crate::graph::Graph;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

/// Networks whose outputs are what another one learns to say (Ba & Caruana 2014; Hinton 2015).
pub(super) struct Teachers<'a> {
    networks: Vec<Network<'a>>,
    temperature: f32,
    /// Columns of images that their student sees mirrored too: they answer for an image by the mean of
    /// what they say of it and of its mirror image, the same for both, with fewer errors.
    mirrored: Option<usize>,
    /// What they say of every example, `[n, classes]`, where these are always the same.
    said: Option<Vec<f32>>,
}

/// Examples that they are asked about at once.
const BATCH: usize = 250;

impl<'a> Teachers<'a> {
    /// Of a student that is trained so, on these examples.
    pub(super) fn new(
        graphs: &'a [Graph],
        config: &TrainConfig,
        data: &Dataset,
        device: &Device,
    ) -> Self {
        let network = |graph| Network::for_inference(graph, device);
        Self {
            networks: graphs.iter().map(network).collect(),
            temperature: config.temperature as f32,
            mirrored: data
                .input_shape
                .last()
                .copied()
                .filter(|_| config.augment.flip > 0.0),
            said: None,
        }
    }

    /// Asks them about every example, once and for all.
    pub(super) fn keep(&mut self, data: &Dataset, device: &Device) {
        if self.is_empty() {
            return;
        }
        let length = data.input_len().max(1);
        let said: Vec<Vec<f32>> = data
            .inputs
            .par_chunks(length * BATCH)
            .map(|inputs| {
                let shape = [inputs.len() / length, length];
                let inputs = TensorData::new(inputs.to_vec(), shape);
                self.targets(&Tensor::from_data(inputs, device))
            })
            .collect();
        self.said = Some(said.concat());
    }

    /// What was kept of these examples, of `width` classes, if anything was.
    pub(super) fn kept(&self, places: &[usize], width: usize) -> Option<Vec<f32>> {
        let said = self.said.as_ref()?;
        let rows = places.iter().flat_map(|&i| &said[i * width..][..width]);
        Some(rows.copied().collect())
    }

    /// Whether there are none, so that labels alone count.
    pub(super) fn is_empty(&self) -> bool {
        self.networks.is_empty()
    }

    /// Probabilities of a batch `[n, classes]`, softened by the temperature: the mean over the ensemble
    /// and what each is shown.
    pub(super) fn targets(&self, x: &Tensor<2>) -> Vec<f32> {
        let mirror = self.mirrored.map(|columns| mirror(x, columns));
        let shown: Vec<_> = [x.clone()].into_iter().chain(mirror).collect();
        let mut sum = Vec::new();
        for network in &self.networks {
            for x in &shown {
                add(&mut sum, self.answer(network, x));
            }
        }
        let answers = self.networks.len() * shown.len();
        let share = 1.0 / answers.max(1) as f32;
        sum.iter_mut().for_each(|p| *p *= share);
        sum
    }

    fn answer(&self, network: &Network, x: &Tensor<2>) -> Vec<f32> {
        let logits = network.clone().forward(x.clone(), true, |_, _| {});
        let [_, width] = logits.dims();
        let mut outputs = host(logits);
        for row in outputs.chunks_mut(width.max(1)) {
            soften(row, self.temperature);
        }
        outputs
    }
}

/// Images in the mirror, left to right: their rows backwards.
fn mirror(x: &Tensor<2>, columns: usize) -> Tensor<2> {
    let shape = x.dims();
    let rows = shape[0] * shape[1] / columns.max(1);
    x.clone().reshape([rows, columns]).flip([1]).reshape(shape)
}

fn add(sum: &mut Vec<f32>, outputs: Vec<f32>) {
    if sum.is_empty() {
        *sum = outputs;
    } else {
        sum.iter_mut().zip(outputs).for_each(|(a, b)| *a += b);
    }
}

/// `softmax(logits / temperature)`.
fn soften(row: &mut [f32], temperature: f32) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.iter_mut()
        .for_each(|v| *v = ((*v - largest) / temperature).exp());
    let sum: f32 = row.iter().sum();
    row.iter_mut().for_each(|v| *v /= sum);
}

/// Whether every teacher takes these examples and answers as the student does.
pub(super) fn check_teachers(
    student: &Graph,
    teachers: &[Graph],
    data: &Dataset,
) -> Result<(), TrainError> {
    for teacher in teachers {
        super::check_fit(teacher, data)?;
        let [own, taught] = [student, teacher].map(|g| g.value(g.output).len());
        if own != taught {
            return Err(TrainError::Teacher {
                teacher: teacher.name.clone(),
                outputs: taught,
                student: own,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softened_outputs_sum_to_one_and_flatten_with_the_temperature() {
        // Source notes: softmax([1, 2, 3]) = .09003 .24473 .66524.
        let mut row = [1.0, 2.0, 3.0];
        soften(&mut row, 1.0);
        let expected = [0.09003, 0.24473, 0.66524];
        assert!(row.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5));
        let mut halved = [0.5, 1.0, 1.5];
        soften(&mut halved, 1.0);
        let mut warm = [1.0, 2.0, 3.0];
        soften(&mut warm, 2.0);
        assert_eq!(warm, halved);
    }
}
