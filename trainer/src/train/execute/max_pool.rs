//! Max pooling on the CPU: the largest of a column first, then of a row of those, which runs along
//! whole rows without a branch; and its gradient, to where the largest were.

use super::columns::Axis;
use super::flex::{plain, recorded, slice, tensor};
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::Tensor;

/// The largest of each window of `[images, channels, height, width]`; nothing where the tensor is not
/// on the CPU.
pub(super) fn max_pool(x: &Tensor<4>, axes: [Axis; 2]) -> Option<Tensor<4>> {
    let [images, channels, ..] = x.dims();
    let windows = Windows(axes);
    let largest = |x: &FlexTensor| {
        let shape = [images, channels, axes[0].output, axes[1].output];
        tensor(windows.largest(slice(x)), shape)
    };
    let Some((x, node)) = recorded(x) else {
        return Some(Tensor::from_primitive::<Flex>(largest(&plain(x)?)));
    };
    let output = largest(&x);
    let prepared = MaxPool.prepare::<NoCheckpointing>([node]);
    let output = match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish((x, windows), output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(output))
}

#[derive(Debug)]
struct MaxPool;

impl Backward<Flex, 1> for MaxPool {
    /// The input.
    type State = (FlexTensor, Windows);

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let output = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let ((x, windows), [node]) = (ops.state, ops.parents);
        if let Some(node) = node {
            let gradient = windows.gradient(slice(&x), slice(&output));
            gradients.register::<Flex>(node.id, tensor(gradient, x.layout().shape().clone()));
        }
    }
}

/// Windows over planes.
#[derive(Clone, Copy, Debug)]
struct Windows([Axis; 2]);

impl Windows {
    /// Elements of an input plane and of an output plane.
    fn planes(&self) -> [usize; 2] {
        let [rows, columns] = &self.0;
        [
            (rows.input * columns.input).max(1),
            (rows.output * columns.output).max(1),
        ]
    }

    /// The inputs of a row of windows.
    fn rows<'x>(
        &self,
        plane: &'x [f32],
        window: usize,
    ) -> impl DoubleEndedIterator<Item = (usize, &'x [f32])> {
        let [rows, columns] = self.0;
        let row = move |tap| {
            let y = rows.input_of(window, tap)?;
            Some((y, &plane[y * columns.input..][..columns.input]))
        };
        (0..rows.kernel).filter_map(row)
    }

    /// The largest of each column of a row of windows.
    fn column_wise(&self, plane: &[f32], window: usize, largest: &mut [f32]) {
        largest.fill(f32::NEG_INFINITY);
        for (_, row) in self.rows(plane, window) {
            let pairs = largest.iter_mut().zip(row);
            pairs.for_each(|(most, &x)| *most = larger(*most, x));
        }
    }

    fn largest(&self, x: &[f32]) -> Vec<f32> {
        let columns = &self.0[1];
        let [plane, windows] = self.planes();
        let mut output = vec![f32::NEG_INFINITY; x.len() / plane * windows];
        let mut largest = vec![0.0; columns.input];
        let outputs = output.chunks_exact_mut(windows);
        for (plane, output) in x.chunks_exact(plane).zip(outputs) {
            for (window, output) in output.chunks_exact_mut(columns.output).enumerate() {
                self.column_wise(plane, window, &mut largest);
                for tap in 0..columns.kernel {
                    let (span, first) = columns.span(tap);
                    let inputs = largest.iter().skip(first).step_by(columns.stride);
                    let pairs = output[span].iter_mut().zip(inputs);
                    pairs.for_each(|(most, &x)| *most = larger(*most, x));
                }
            }
        }
        output
    }

    /// Of several largest, that of the first column gets all, and there that of the first row.
    fn gradient(&self, x: &[f32], output: &[f32]) -> Vec<f32> {
        let columns = &self.0[1];
        let [plane, windows] = self.planes();
        let mut gradient = vec![0.0; x.len()];
        let (mut largest, mut from) = (vec![0.0; columns.input], vec![0; columns.input]);
        let outputs = output.chunks_exact(windows);
        let planes = x.chunks_exact(plane).zip(gradient.chunks_exact_mut(plane));
        for ((plane, gradient), output) in planes.zip(outputs) {
            for (window, output) in output.chunks_exact(columns.output).enumerate() {
                self.column_wise(plane, window, &mut largest);
                for (y, row) in self.rows(plane, window).rev() {
                    let start = (y * columns.input) as u32;
                    let places = from.iter_mut().zip(row).zip(&largest);
                    places.for_each(|((from, x), most)| {
                        *from = if x == most { start } else { *from };
                    });
                }
                for (place, dy) in output.iter().enumerate() {
                    let taps = (0..columns.kernel).filter_map(|tap| columns.input_of(place, tap));
                    let most = taps.reduce(|a, b| if largest[b] > largest[a] { b } else { a });
                    if let Some(column) = most {
                        gradient[from[column] as usize + column] += dy;
                    }
                }
            }
        }
        gradient
    }
}

/// NaN where there is one, so that a training that diverges is seen to, which `f32::max` would hide.
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // Tests may.
mod tests {
    use super::*;
    use burn::tensor::module::max_pool2d;
    use burn::tensor::ops::MaxPoolOptions;
    use burn::tensor::{Device, TensorData};
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn noise(shape: [usize; 4], device: &Device) -> Tensor<4> {
        let mut rng = ChaCha8Rng::seed_from_u64(shape.iter().sum::<usize>() as u64);
        let elements = (0..shape.iter().product::<usize>()).map(|_| rng.random_range(-1.0..1.0));
        let elements: Vec<f32> = elements.collect();
        Tensor::from_data(TensorData::new(elements, shape), device)
    }

    /// Output and the input's gradient.
    fn outcome(shape: [usize; 4], pool: impl Fn(&Tensor<4>) -> Tensor<4>) -> [Vec<f32>; 2] {
        let device = Device::flex().autodiff();
        let x = noise(shape, &device).require_grad();
        let y = pool(&x);
        let mut gradients = (y.clone() * noise(y.dims(), &device)).sum().backward();
        let gradient = x.grad_remove(&mut gradients).unwrap();
        [y.into_data(), gradient.into_data()].map(|data| data.try_into_vec().unwrap())
    }

    #[test]
    fn as_burns_own() {
        // Kernel, stride, dilation, padding; burn's own sizes.
        let cases = [
            ([2, 3, 8, 10], [2, 2], [2, 2], [1, 1], [0, 0]),
            ([3, 2, 9, 7], [3, 3], [2, 2], [1, 1], [1, 1]),
            ([1, 2, 11, 8], [2, 3], [1, 3], [2, 1], [1, 1]),
            ([2, 1, 7, 7], [3, 2], [3, 1], [1, 2], [0, 1]),
        ];
        for (shape, kernel, stride, dilation, padding) in cases {
            let mut options = MaxPoolOptions::new(kernel);
            (options.stride, options.dilation) = (stride, dilation);
            options.padding = padding.map(|p| (p, p));
            let burns = outcome(shape, |x| max_pool2d(x.clone(), options.clone()));
            let axis = |axis: usize| {
                let reach = (kernel[axis] - 1) * dilation[axis] + 1;
                let input = shape[axis + 2];
                Axis {
                    input,
                    output: (input + 2 * padding[axis] - reach) / stride[axis] + 1,
                    kernel: kernel[axis],
                    stride: stride[axis],
                    dilation: dilation[axis],
                    padding: padding[axis],
                }
            };
            let own = outcome(shape, |x| max_pool(x, [axis(0), axis(1)]).unwrap());
            assert_eq!(own, burns, "{shape:?}");
        }
    }

    #[test]
    fn what_is_no_number_comes_through() {
        let axis = Axis {
            input: 4,
            output: 2,
            kernel: 2,
            stride: 2,
            dilation: 1,
            padding: 0,
        };
        for at in 0..16 {
            let mut x = [1.0; 16];
            x[at] = f32::NAN;
            let largest = Windows([axis, axis]).largest(&x);
            let window = at / 8 * 2 + at % 4 / 2;
            let nans: Vec<usize> = (0..4).filter(|&i| largest[i].is_nan()).collect();
            assert_eq!(nans, [window], "at {at}");
        }
    }

    #[test]
    fn without_gradients_the_same() {
        let shape = [2, 3, 8, 10];
        let axis = |input| Axis {
            input,
            output: input / 2,
            kernel: 2,
            stride: 2,
            dilation: 1,
            padding: 0,
        };
        let axes = [axis(8), axis(10)];
        let plain = max_pool(&noise(shape, &Device::flex()), axes).unwrap();
        let plain: Vec<f32> = plain.into_data().try_into_vec().unwrap();
        assert_eq!(plain, outcome(shape, |x| max_pool(x, axes).unwrap())[0]);
    }
}
