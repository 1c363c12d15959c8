//! A [`Graph`] computed the slow, obviously right way: the oracle that faster executors are held to.
//!
//! Plain loops over the definition of each operator, sums in `f64`. Meaning is that of inference:
//! batch normalization uses the running statistics, dropout is the identity. Parameters are used as
//! materialized (masked, shared, rounded to their grid); values are *not* rounded to their
//! [`Quantization`](super::Quantization).

use super::{Graph, Node, Op, ParamId, ValueId, Window};

/// The output for one example.
///
/// # Panics
/// When `input` does not have the input value's length, or the graph's shapes are inconsistent.
pub fn run(graph: &Graph, input: &[f32]) -> Vec<f32> {
    let mut values = run_all(graph, input);
    std::mem::take(&mut values[graph.output.0])
}

/// Every value for one example, indexed by [`ValueId`]; empty where no node writes the value.
///
/// # Panics
/// As [`run`].
pub fn run_all(graph: &Graph, input: &[f32]) -> Vec<Vec<f32>> {
    assert_eq!(
        input.len(),
        graph.value(graph.input).len(),
        "input must fill its shape"
    );
    let mut values = vec![Vec::new(); graph.values.len()];
    values[graph.input.0] = input.to_vec();
    for node in &graph.nodes {
        let output = compute(graph, node, &values);
        assert_eq!(
            output.len(),
            graph.value(node.output).len(),
            "output must fill its shape"
        );
        values[node.output.0] = output;
    }
    values
}

fn compute(graph: &Graph, node: &Node, values: &[Vec<f32>]) -> Vec<f32> {
    let nothing = Vec::new();
    let x = node.inputs.first().map_or(&nothing, |v| &values[v.0]);
    match &node.op {
        Op::Gemm { weight, bias } => gemm(graph, x, *weight, *bias),
        Op::Conv { .. } => conv(graph, node, x),
        Op::MaxPool { window, dilation } => pool(graph, node, window, *dilation, |taps, _| {
            taps.map(|i| x[i]).fold(f32::NEG_INFINITY, f32::max)
        }),
        Op::AveragePool {
            window,
            dilation,
            count_include_pad,
        } => pool(graph, node, window, *dilation, |taps, padded| {
            let taps: Vec<usize> = taps.collect();
            let sum: f64 = taps.iter().map(|&i| f64::from(x[i])).sum();
            let count = if *count_include_pad {
                padded
            } else {
                taps.len()
            };
            (sum / count.max(1) as f64) as f32
        }),
        Op::GlobalAveragePool => {
            let area = x.len() / graph.value(node.output).len().max(1);
            let mean = |c: &[f32]| c.iter().map(|&v| f64::from(v)).sum::<f64>() / area as f64;
            x.chunks(area.max(1)).map(|c| mean(c) as f32).collect()
        }
        Op::Relu => x.iter().map(|v| v.max(0.0)).collect(),
        Op::Unary(function) => x.iter().map(|&v| function.apply(v.into()) as f32).collect(),
        Op::Clip { min, max } => x.iter().map(|v| v.max(*min).min(*max)).collect(),
        Op::Flatten | Op::Reshape { .. } | Op::Dropout { .. } => x.clone(),
        Op::Softmax { .. } => softmax(x),
        Op::BatchNormalization { .. } => batch_normalization(graph, &node.op, x),
        Op::Add => {
            let pairs = x.iter().zip(&values[node.inputs[1].0]);
            pairs.map(|(a, b)| a + b).collect()
        }
        op => unimplemented!("{}", op.name()),
    }
}

fn bias_values(graph: &Graph, bias: Option<ParamId>, len: usize) -> Vec<f32> {
    bias.map_or_else(|| vec![0.0; len], |b| graph.parameter(b).materialize())
}

fn gemm(graph: &Graph, x: &[f32], weight: ParamId, bias: Option<ParamId>) -> Vec<f32> {
    let rows = graph.parameter(weight).shape[0];
    let weights = graph.parameter(weight).materialize();
    let bias = bias_values(graph, bias, rows);
    let dot = |row: &[f32]| -> f64 {
        let terms = row.iter().zip(x);
        terms.map(|(&w, &v)| f64::from(w) * f64::from(v)).sum()
    };
    (0..rows)
        .map(|r| (dot(&weights[r * x.len()..(r + 1) * x.len()]) + f64::from(bias[r])) as f32)
        .collect()
}

/// The input coordinate a tap falls on, if it is not padding.
fn tap(
    out: usize,
    k: usize,
    stride: usize,
    dilation: usize,
    pad: usize,
    n: usize,
) -> Option<usize> {
    (out * stride + k * dilation)
        .checked_sub(pad)
        .filter(|&i| i < n)
}

fn image(graph: &Graph, value: ValueId) -> [usize; 3] {
    let shape = &graph.value(value).shape;
    [shape[0], shape[1], shape[2]]
}

fn conv(graph: &Graph, node: &Node, x: &[f32]) -> Vec<f32> {
    let Op::Conv {
        weight,
        bias,
        window,
        dilation,
        groups,
    } = &node.op
    else {
        unreachable!("called for convolutions")
    };
    let [_, h, w] = image(graph, node.inputs[0]);
    let [out_channels, out_h, out_w] = image(graph, node.output);
    let shape = &graph.parameter(*weight).shape;
    let [per_group, kh, kw] = [shape[1], shape[2], shape[3]];
    let weights = graph.parameter(*weight).materialize();
    let bias = bias_values(graph, *bias, out_channels);
    let mut y = Vec::with_capacity(out_channels * out_h * out_w);
    for o in 0..out_channels {
        let first_channel = o / (out_channels / groups) * per_group;
        for (oy, ox) in (0..out_h).flat_map(|oy| (0..out_w).map(move |ox| (oy, ox))) {
            let mut sum = f64::from(bias[o]);
            for c in 0..per_group {
                for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
                    let iy = tap(oy, ky, window.stride[0], dilation[0], window.padding[0], h);
                    let ix = tap(ox, kx, window.stride[1], dilation[1], window.padding[1], w);
                    if let (Some(iy), Some(ix)) = (iy, ix) {
                        let value = x[((first_channel + c) * h + iy) * w + ix];
                        let weight = weights[((o * per_group + c) * kh + ky) * kw + kx];
                        sum += f64::from(value) * f64::from(weight);
                    }
                }
            }
            y.push(sum as f32);
        }
    }
    y
}

/// Slides a window; `reduce` gets the taps inside the input, and how many fall on it or its padding
/// (a window of `ceil_mode` may reach beyond both).
fn pool(
    graph: &Graph,
    node: &Node,
    window: &Window,
    dilation: [usize; 2],
    reduce: impl Fn(&mut dyn Iterator<Item = usize>, usize) -> f32,
) -> Vec<f32> {
    let [_, h, w] = image(graph, node.inputs[0]);
    let [channels, out_h, out_w] = image(graph, node.output);
    let [kh, kw] = window.kernel;
    let [top, left, bottom, right] = window.padding;
    let mut y = Vec::with_capacity(channels * out_h * out_w);
    for c in 0..channels {
        for (oy, ox) in (0..out_h).flat_map(|oy| (0..out_w).map(move |ox| (oy, ox))) {
            let mut taps = (0..kh)
                .flat_map(|ky| (0..kw).map(move |kx| (ky, kx)))
                .filter_map(|(ky, kx)| {
                    let iy = tap(oy, ky, window.stride[0], dilation[0], top, h)?;
                    let ix = tap(ox, kx, window.stride[1], dilation[1], left, w)?;
                    Some((c * h + iy) * w + ix)
                });
            let covered = |start: usize, kernel: usize, padded: usize| {
                (start + kernel).min(padded).saturating_sub(start)
            };
            let padded = covered(
                oy * window.stride[0],
                (kh - 1) * dilation[0] + 1,
                h + top + bottom,
            ) * covered(ox * window.stride[1], kw, w + left + right);
            y.push(reduce(&mut taps, padded));
        }
    }
    y
}

fn softmax(x: &[f32]) -> Vec<f32> {
    let largest = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = |v: &f32| (f64::from(*v) - f64::from(largest)).exp();
    let sum: f64 = x.iter().map(exp).sum();
    x.iter().map(|v| (exp(v) / sum) as f32).collect()
}

fn batch_normalization(graph: &Graph, op: &Op, x: &[f32]) -> Vec<f32> {
    let Op::BatchNormalization {
        scale,
        bias,
        mean,
        variance,
        epsilon,
    } = op
    else {
        unreachable!("called for batch normalizations")
    };
    let [scale, bias, mean, variance] =
        [scale, bias, mean, variance].map(|&p| graph.parameter(p).materialize());
    let per_channel = (x.len() / scale.len().max(1)).max(1);
    let normalize = |(i, &v): (usize, &f32)| {
        let c = i / per_channel;
        let deviation = (f64::from(variance[c]) + f64::from(*epsilon)).sqrt();
        let centred = f64::from(v) - f64::from(mean[c]);
        (f64::from(scale[c]) * centred / deviation + f64::from(bias[c])) as f32
    };
    x.iter().enumerate().map(normalize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Grid, Parameter};

    fn image_graph(shape: &[usize]) -> Graph {
        Graph::new("test", "x", shape)
    }

    #[test]
    fn gemm_rounds_its_weights_to_the_grid() {
        let mut graph = Graph::new("test", "x", &[2]);
        let mut weight = Parameter::dense("w", &[2, 2], vec![0.9, 2.2, -1.0, 0.0]);
        weight.grid = Some(Grid {
            scale: vec![1.0],
            max: 1,
        });
        let weight = graph.add_parameter(weight);
        let bias = Some(graph.add_parameter(Parameter::dense("b", &[2], vec![0.5, 0.0])));
        graph
            .push("gemm", Op::Gemm { weight, bias }, &[ValueId(0)])
            .expect("fits");
        assert_eq!(run(&graph, &[3.0, 4.0]), [7.5, -3.0]);
    }

    #[test]
    fn conv_pads_strides_and_groups() {
        let mut graph = image_graph(&[2, 2, 2]);
        let weight = graph.add_parameter(Parameter::dense(
            "w",
            &[2, 1, 2, 2],
            vec![1., 1., 1., 1., 1., 2., 3., 4.],
        ));
        let mut window = Window::square(2, 2);
        window.padding = [1, 0, 1, 0];
        let op = Op::Conv {
            weight,
            bias: None,
            window,
            dilation: [1, 1],
            groups: 2,
        };
        graph.push("conv", op, &[ValueId(0)]).expect("fits");
        let y = run(&graph, &[1., 2., 3., 4., 5., 6., 7., 8.]);
        // Rows: padding over the first row, then the second row over padding.
        assert_eq!(y, [3., 7., 3. * 5. + 4. * 6., 7. + 2. * 8.]);
    }

    #[test]
    fn a_partial_window_divides_by_what_it_covers() {
        for (count_include_pad, expected) in [(false, [1.0, 2.5, 4.0]), (true, [0.5, 2.5, 4.0])] {
            let mut graph = image_graph(&[1, 1, 4]);
            let window = Window {
                kernel: [1, 2],
                stride: [1, 2],
                padding: [0, 1, 0, 0],
                ceil_mode: true,
            };
            let op = Op::AveragePool {
                window,
                dilation: [1, 1],
                count_include_pad,
            };
            graph.push("pool", op, &[ValueId(0)]).expect("fits");
            assert_eq!(run(&graph, &[1., 2., 3., 4.]), expected);
        }
    }

    #[test]
    fn padding_never_wins_a_maximum() {
        let mut graph = image_graph(&[1, 1, 2]);
        let window = Window {
            kernel: [1, 2],
            stride: [1, 1],
            padding: [0, 1, 0, 1],
            ceil_mode: false,
        };
        graph
            .push(
                "pool",
                Op::MaxPool {
                    window,
                    dilation: [1, 1],
                },
                &[ValueId(0)],
            )
            .expect("fits");
        assert_eq!(run(&graph, &[-3., -1.]), [-3., -1., -1.]);
    }

    #[test]
    fn elementwise_operators_follow_their_definitions() {
        let mut graph = Graph::new("test", "x", &[2]);
        let vector = |name: &str, v: [f32; 2]| Parameter::dense(name, &[2], v.to_vec());
        let scale = graph.add_parameter(vector("scale", [2.0, 1.0]));
        let bias = graph.add_parameter(vector("bias", [1.0, 0.0]));
        let mean = graph.add_parameter(vector("mean", [1.0, 0.0]));
        let variance = graph.add_parameter(vector("variance", [3.0, 0.0]));
        let op = Op::BatchNormalization {
            scale,
            bias,
            mean,
            variance,
            epsilon: 1.0,
        };
        let normalized = graph.push("bn", op, &[ValueId(0)]).expect("fits");
        let op = Op::Clip {
            min: -1.0,
            max: 2.5,
        };
        let clipped = graph.push("clip", op, &[normalized]).expect("fits");
        let relu = graph.push("relu", Op::Relu, &[normalized]).expect("fits");
        let sum = graph.push("add", Op::Add, &[clipped, relu]).expect("fits");
        let soft = graph
            .push("softmax", Op::Softmax { axis: 0 }, &[sum])
            .expect("fits");
        let values = run_all(&graph, &[3.0, -2.0]);
        assert_eq!(values[normalized.0], [3.0, -2.0]);
        assert_eq!(values[clipped.0], [2.5, -1.0]);
        assert_eq!(values[sum.0], [5.5, -1.0]);
        let expected = 1.0 / (1.0 + (-6.5_f32).exp());
        assert!((values[soft.0][0] - expected).abs() < 1e-6);
    }
}
