//! Convolution on the CPU as products of matrices, with gradients that are products too: burn's own
//! computes the kernels' gradient as a convolution with kernels the size of the plane.
//!
//! Columns of inputs are gathered anew for each block of outputs, which is cheaper than to keep them.

use super::columns::{Run, Windows};
use super::flex::{plain, recorded, slice, sum, tensor};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::backend::{Autodiff, Flex};
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Shape, Tensor, module};

/// As burn's, which other devices than the CPU run.
pub(super) fn conv2d(
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
    options: ConvOptions<2>,
) -> Tensor<4> {
    let windows = Windows::new(x.dims(), weight.dims(), &options);
    let given = bias.clone();
    let bias = bias.unwrap_or_else(|| Tensor::zeros([weight.dims()[0]], &x.device()));
    with_gradients(&x, &weight, &bias, &windows)
        .or_else(|| without_gradients(&x, &weight, &bias, &windows))
        .unwrap_or_else(|| module::conv2d(x, weight, given, options))
}

/// Outside of training; nothing where the tensors are on another device.
fn without_gradients(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: &Tensor<1>,
    windows: &Windows,
) -> Option<Tensor<4>> {
    let output = convolve(&plain(x)?, &plain(weight)?, &plain(bias)?, windows);
    Some(Tensor::from_primitive::<Flex>(output))
}

/// Nothing where the tensors are on another device or not recorded for gradients.
fn with_gradients(
    x: &Tensor<4>,
    weight: &Tensor<4>,
    bias: &Tensor<1>,
    windows: &Windows,
) -> Option<Tensor<4>> {
    let (x, x_node) = recorded(x)?;
    let (weight, weight_node) = recorded(weight)?;
    let (bias, bias_node) = recorded(bias)?;
    let output = convolve(&x, &weight, &bias, windows);
    let prepared = Convolution.prepare::<NoCheckpointing>([x_node, weight_node, bias_node]);
    let output = match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((x, weight, windows.clone()), output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(output))
}

#[derive(Debug)]
struct Convolution;

impl Backward<Flex, 3> for Convolution {
    /// Input, kernels.
    type State = (FlexTensor, FlexTensor, Windows);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let output = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let (x, weight, windows) = ops.state;
        let [x_node, weight_node, bias_node] = ops.parents;
        if let Some(node) = bias_node {
            let shape = [windows.groups() * windows.outputs()];
            let gradient = tensor(bias_gradient(slice(&output), &windows), shape);
            gradients.register::<Flex>(node.id, gradient);
        }
        if let Some(node) = weight_node {
            let shape = weight.layout().shape().clone();
            let gradient = weight_gradient(slice(&x), slice(&output), &windows);
            gradients.register::<Flex>(node.id, tensor(gradient, shape));
        }
        if let Some(node) = x_node {
            let gradient = input_gradient(&weight, slice(&output), &windows);
            gradients.register::<Flex>(node.id, tensor(gradient, x.layout().shape().clone()));
        }
    }
}

fn product(a: FlexTensor, b: FlexTensor) -> FlexTensor {
    Flex::float_matmul(a, b)
}

/// A group's kernels, `[outputs, depth]`.
fn kernels(weight: &FlexTensor, group: usize, windows: &Windows) -> FlexTensor {
    let rows = [windows.groups() * windows.outputs(), windows.depth()];
    let matrix = weight.reshape(Shape::from(rows));
    matrix.narrow(0, group * windows.outputs(), windows.outputs())
}

/// The columns of a block, `[depth, width]`; written over those of the block before it where
/// they have the same size.
fn columns(
    room: &mut Option<FlexTensor>,
    x: &[f32],
    group: usize,
    block: &[Run],
    windows: &Windows,
) -> FlexTensor {
    let shape = [windows.depth(), windows.width(block)];
    let len = shape[0] * shape[1];
    let mut columns = room
        .take()
        .filter(|old| slice(old).len() == len)
        .unwrap_or_else(|| tensor(vec![0.0; len], shape));
    windows.gather(x, group, block, columns.storage_mut());
    *room = Some(columns.clone());
    columns
}

/// The gradient of a block's outputs, `[outputs, width]`.
fn block_gradient(output: &[f32], group: usize, block: &[Run], windows: &Windows) -> FlexTensor {
    let shape = [windows.outputs(), windows.width(block)];
    let mut elements = Vec::with_capacity(shape[0] * shape[1]);
    let runs = windows.outputs_of(group, block);
    runs.for_each(|run| elements.extend_from_slice(&output[run]));
    tensor(elements, shape)
}

fn convolve(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    windows: &Windows,
) -> FlexTensor {
    let shape = windows.output_shape();
    let mut output = vec![0.0; shape.iter().product()];
    let (blocks, mut room) = (windows.blocks(), None);
    for group in 0..windows.groups() {
        let kernels = kernels(weight, group, windows);
        for block in &blocks {
            let columns = columns(&mut room, slice(x), group, block, windows);
            let sums = product(kernels.clone(), columns);
            let mut sums = slice(&sums);
            for (i, run) in windows.outputs_of(group, block).enumerate() {
                let bias = slice(bias)[group * windows.outputs() + i / block.len()];
                let (own, rest) = sums.split_at(run.len());
                sums = rest;
                let pairs = output[run].iter_mut().zip(own);
                pairs.for_each(|(y, sum)| *y = sum + bias);
            }
        }
    }
    tensor(output, shape)
}

/// Sums of each output channel.
fn bias_gradient(output: &[f32], windows: &Windows) -> Vec<f32> {
    let [_, channels, height, width] = windows.output_shape();
    let mut gradient = vec![0.0; channels];
    let planes = output.chunks_exact((height * width).max(1));
    for (i, plane) in planes.enumerate() {
        gradient[i % channels] += sum(plane, plane, |dy, _| dy);
    }
    gradient
}

/// The outputs' gradient times the transposed columns.
fn weight_gradient(x: &[f32], output: &[f32], windows: &Windows) -> Vec<f32> {
    let len = windows.outputs() * windows.depth();
    let mut gradient = vec![0.0; windows.groups() * len];
    let (blocks, mut room) = (windows.blocks(), None);
    for (group, gradient) in gradient.chunks_exact_mut(len).enumerate() {
        for block in &blocks {
            let columns = columns(&mut room, x, group, block, windows);
            let outputs = block_gradient(output, group, block, windows);
            let sums = product(outputs, columns.transpose(0, 1));
            let pairs = gradient.iter_mut().zip(slice(&sums));
            pairs.for_each(|(sum, more)| *sum += more);
        }
    }
    gradient
}

/// The transposed kernels times the outputs' gradient, added up where the windows overlap.
fn input_gradient(weight: &FlexTensor, output: &[f32], windows: &Windows) -> Vec<f32> {
    let mut gradient = vec![0.0; windows.input_len()];
    for group in 0..windows.groups() {
        let kernels = kernels(weight, group, windows).transpose(0, 1);
        for block in &windows.blocks() {
            let outputs = block_gradient(output, group, block, windows);
            let mut columns = product(kernels.clone(), outputs);
            windows.scatter(columns.storage_mut(), group, block, &mut gradient);
        }
    }
    gradient
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // Tests may.
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    type Convolve = fn(Tensor<4>, Tensor<4>, Option<Tensor<1>>, ConvOptions<2>) -> Tensor<4>;

    struct Case {
        input: [usize; 4],
        kernels: [usize; 4],
        bias: bool,
        options: ConvOptions<2>,
    }

    fn noise<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
        let mut rng = ChaCha8Rng::seed_from_u64(shape.iter().sum::<usize>() as u64);
        let elements = (0..shape.iter().product::<usize>()).map(|_| rng.random_range(-1.0..1.0));
        Tensor::from_data(
            TensorData::new(elements.collect::<Vec<f32>>(), shape),
            device,
        )
    }

    fn elements<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        tensor.into_data().try_into_vec().unwrap()
    }

    /// Output; gradients of input, kernels and bias.
    fn outcome(case: &Case, convolve: Convolve) -> Vec<Vec<f32>> {
        let device = Device::flex().autodiff();
        let x = noise(case.input, &device).require_grad();
        let weight = noise(case.kernels, &device).require_grad();
        let bias = noise([case.kernels[0]], &device).require_grad();
        let given = case.bias.then(|| bias.clone());
        let y = convolve(x.clone(), weight.clone(), given, case.options.clone());
        let mut gradients = (y.clone() * noise(y.dims(), &device)).sum().backward();
        let mut outcome = vec![
            elements(y),
            elements(x.grad_remove(&mut gradients).unwrap()),
            elements(weight.grad_remove(&mut gradients).unwrap()),
        ];
        outcome.extend(bias.grad_remove(&mut gradients).map(elements));
        outcome
    }

    fn case(input: [usize; 4], kernels: [usize; 4], groups: usize) -> Case {
        Case {
            input,
            kernels,
            bias: true,
            options: ConvOptions::new([1, 1], [1, 1], [1, 1], groups),
        }
    }

    /// Several blocks in an image and several images in a block, blocks that end within an image.
    #[test]
    fn as_burns_own() {
        let mut cases = vec![
            case([2, 16, 32, 32], [16, 16, 3, 3], 1),
            case([5, 64, 8, 8], [8, 64, 3, 3], 1),
            case([3, 4, 9, 300], [8, 2, 3, 3], 2),
            case([40, 8, 10, 9], [8, 1, 3, 3], 8),
            case([40, 6, 10, 9], [12, 1, 2, 3], 6),
            case([3, 5, 70, 90], [7, 5, 1, 1], 1),
        ];
        cases[1].bias = false;
        let mut uneven = case([4, 6, 21, 33], [10, 3, 3, 5], 2);
        uneven.options =
            ConvOptions::new_with_padding([2, 3], [(0, 3), (4, 1)], [3, 2], uneven.options.groups);
        cases.push(uneven);
        let mut beyond = case([2, 2, 3, 2], [3, 2, 2, 2], 1);
        beyond.options = ConvOptions::new_with_padding([1, 2], [(4, 5), (3, 6)], [2, 3], 1);
        cases.push(beyond);
        for case in &cases {
            let (own, burns) = (outcome(case, conv2d), outcome(case, module::conv2d));
            assert_eq!(own.len(), burns.len());
            for (what, (own, burns)) in own.iter().zip(&burns).enumerate() {
                assert_eq!(own.len(), burns.len());
                let largest = burns.iter().fold(0.0f32, |most, x| most.max(x.abs()));
                for (own, burns) in own.iter().zip(burns) {
                    let apart = (own - burns).abs();
                    assert!(
                        apart <= 1e-5 * largest,
                        "{:?}, {what}: {own} {burns}",
                        case.input
                    );
                }
            }
        }
    }

    #[test]
    fn without_gradients_the_same() {
        let case = case([3, 4, 9, 300], [8, 2, 3, 3], 2);
        let device = Device::flex();
        let tensors = (noise(case.input, &device), noise(case.kernels, &device));
        let bias = Some(noise([case.kernels[0]], &device));
        let plain = elements(conv2d(tensors.0, tensors.1, bias, case.options.clone()));
        assert_eq!(plain, outcome(&case, conv2d)[0]);
    }
}
