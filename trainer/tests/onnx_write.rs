//! Every operator as a file, run by ONNX Runtime on one example and on three.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Case, assert_close, assert_onnx_runtime_all, noise};
use trainer::graph::{
    Affine, Cell, DynamicOutput, Graph, Grid, Op, ParamId, Parameter, Recurrent, Unary, ValueId,
    Window, reference,
};
use trainer::onnx::{WriteOptions, read_bytes, write_bytes};

/// A parameter of noise.
fn parameter(graph: &mut Graph, shape: &[usize]) -> ParamId {
    let place = graph.parameters.len();
    let values = noise(place as u64 + 31, shape.iter().product());
    graph.add_parameter(Parameter::dense(format!("p{place}"), shape, values))
}

/// Appends an operator on the graph's output.
fn add(graph: &mut Graph, op: Op) {
    let x = graph.output;
    push(graph, op, &[x]);
}

fn push(graph: &mut Graph, op: Op, inputs: &[ValueId]) -> ValueId {
    let name = format!("{}{}", op.name(), graph.nodes.len());
    graph.push(name, op, inputs).unwrap()
}

/// A graph of one operator on an input of this shape.
fn one(shape: &[usize], op: impl FnOnce(&mut Graph) -> Op) -> Graph {
    let mut graph = Graph::new("", "x", shape);
    let op = op(&mut graph);
    graph.name = format!("{op:?} of {shape:?}");
    add(&mut graph, op);
    graph
}

/// An operator on the input and a constant, in either order.
fn with_constant(shape: &[usize], constant: &[usize], op: &Op) -> [Graph; 2] {
    [false, true].map(|swapped| {
        let name = format!("{op:?} of {shape:?} and {constant:?}, swapped: {swapped}");
        let mut graph = Graph::new(name, "x", shape);
        let value = parameter(&mut graph, constant);
        let value = push(&mut graph, Op::Constant { value }, &[]);
        let x = graph.input;
        let inputs = if swapped { [value, x] } else { [x, value] };
        push(&mut graph, op.clone(), &inputs);
        graph
    })
}

/// Noise; small integers for what picks rows of a table.
fn inputs(graph: &Graph, examples: usize) -> Vec<f32> {
    let x = noise(9, examples * graph.value(graph.input).len());
    let Op::Embedding { .. } = graph.nodes[0].op else {
        return x;
    };
    x.iter().map(|v| (v * 1.4).round()).collect()
}

fn written(graph: &Graph) -> Vec<u8> {
    write_bytes(graph, WriteOptions::default()).expect(&graph.name)
}

/// ONNX Runtime with the reference, and the graph read with the one written.
fn assert_agrees(graphs: &[Graph]) {
    for graph in graphs {
        let x = inputs(graph, 1);
        let again = read_bytes("again.onnx", &written(graph));
        let again = again.unwrap_or_else(|e| panic!("{}: {e}", graph.name));
        let [y, again] = [graph, &again].map(|graph| reference::run(graph, &x));
        assert_close(&again, &y, 1e-6, &graph.name);
    }
    assert_runs(graphs);
}

/// ONNX Runtime with the reference alone.
fn assert_runs(graphs: &[Graph]) {
    let case = |(graph, batch): (&Graph, usize)| {
        let [input, output] = [graph.input, graph.output].map(|id| &graph.value(id).shape);
        let batched = |shape: &[usize]| [&[batch], shape].concat();
        let x = inputs(graph, batch);
        let examples = x.chunks(input.iter().product());
        let y = examples.flat_map(|x| reference::run(graph, x)).collect();
        Case {
            what: graph.name.clone(),
            model: written(graph),
            y: (batched(output), y),
            x: (batched(input), x),
        }
    };
    let each = graphs.iter().flat_map(|graph| [(graph, 1), (graph, 3)]);
    let cases: Vec<Case> = each.map(case).collect();
    assert_onnx_runtime_all(&cases, 1e-5);
}

fn window(kernel: [usize; 2], stride: [usize; 2], padding: [usize; 4], ceil_mode: bool) -> Window {
    Window {
        kernel,
        stride,
        padding,
        ceil_mode,
    }
}

#[test]
fn layers_with_weights() {
    let gemm = |shape: &[usize], with_bias: bool| {
        one(shape, |graph| Op::Gemm {
            weight: parameter(graph, &[5, 4]),
            bias: with_bias.then(|| parameter(graph, &[5])),
        })
    };
    let conv = |dilation, groups, with_bias: bool| {
        one(&[4, 7, 8], |graph| Op::Conv {
            weight: parameter(graph, &[6, 4 / groups, 3, 2]),
            bias: with_bias.then(|| parameter(graph, &[6])),
            window: window([3, 2], [2, 1], [1, 0, 2, 1], false),
            dilation,
            groups,
        })
    };
    let transposed = |window: Window, dilation, groups, output_padding| {
        one(&[4, 3, 5], |graph| Op::ConvTranspose {
            weight: parameter(graph, &[4, 2, window.kernel[0], window.kernel[1]]),
            bias: Some(parameter(graph, &[2 * groups])),
            window,
            dilation,
            groups,
            output_padding,
        })
    };
    let embedding = |shape: &[usize]| {
        one(shape, |graph| Op::Embedding {
            table: parameter(graph, &[3, 4]),
        })
    };
    assert_agrees(&[
        gemm(&[4], true),
        gemm(&[4], false),
        gemm(&[3, 4], true),
        gemm(&[2, 3, 4], false),
        conv([1, 1], 1, true),
        conv([2, 3], 2, false),
        transposed(Window::square(3, 2), [1, 1], 1, [0, 0]),
        transposed(
            window([3, 2], [2, 2], [0, 1, 1, 0], false),
            [1, 2],
            2,
            [1, 0],
        ),
        embedding(&[2]),
        embedding(&[2, 3]),
    ]);
}

/// Import leaves rounding to the file's input.
#[test]
fn computed_places_in_a_table() {
    let mut graph = Graph::new("computed places", "x", &[2, 3]);
    let one = Parameter::dense("one", &[1], vec![1.0]);
    let value = graph.add_parameter(one);
    let value = push(&mut graph, Op::Constant { value }, &[]);
    // Noise in −1…1, as places 0 to 2.
    push(&mut graph, Op::Add, &[ValueId(0), value]);
    let table = parameter(&mut graph, &[3, 4]);
    add(&mut graph, Op::Embedding { table });
    assert_runs(&[graph]);
}

#[test]
fn pools_and_reductions() {
    let windows = [
        (Window::square(2, 2), [1, 1]),
        (window([3, 2], [2, 1], [1, 0, 1, 1], false), [1, 1]),
        (window([2, 3], [1, 2], [1, 2, 0, 1], false), [2, 2]),
        (window([3, 3], [2, 2], [1, 1, 0, 1], true), [1, 1]),
    ];
    let mut graphs = Vec::new();
    for (window, dilation) in windows {
        graphs.push(one(&[2, 7, 8], |_| Op::MaxPool { window, dilation }));
        for count_include_pad in [false, true] {
            graphs.push(one(&[2, 7, 8], |_| Op::AveragePool {
                window,
                dilation,
                count_include_pad,
            }));
        }
    }
    graphs.push(one(&[3, 4, 5], |_| Op::GlobalAveragePool));
    for axes in [vec![0], vec![1, 2], vec![0, 2]] {
        graphs.push(one(&[2, 3, 4], |_| Op::ReduceMean { axes }));
    }
    // Axes are an input where Gelu needs a later operator set.
    let mut graph = one(&[2, 3], |_| Op::ReduceMean { axes: vec![1] });
    add(&mut graph, Op::Unary(Unary::Gelu { approximate: false }));
    graphs.push(graph);
    for (axis, select_last_index) in [(0, false), (1, true), (2, false)] {
        graphs.push(one(&[2, 3, 4], |_| Op::ArgMax {
            axis,
            select_last_index,
        }));
    }
    assert_agrees(&graphs);
}

#[test]
fn normalizations() {
    let mut graphs = Vec::new();
    for axis in 0..3 {
        graphs.push(one(&[2, 3, 4], |_| Op::Softmax { axis }));
        graphs.push(one(&[2, 3, 4], |_| Op::LogSoftmax { axis }));
    }
    for shape in [&[3][..], &[3, 4], &[3, 4, 5]] {
        graphs.push(one(shape, |graph| {
            let variance = parameter(graph, &[3]);
            for v in graph.parameters[variance.0].free_mut() {
                *v = v.abs() + 0.1;
            }
            Op::BatchNormalization {
                scale: parameter(graph, &[3]),
                bias: parameter(graph, &[3]),
                mean: parameter(graph, &[3]),
                variance,
                epsilon: 1e-3,
            }
        }));
        graphs.push(one(shape, |_| Op::Lrn {
            size: 3,
            alpha: 0.9,
            beta: 0.6,
            bias: 1.5,
        }));
    }
    let layers: [(usize, &[usize]); 4] = [(2, &[4]), (1, &[3, 4]), (1, &[3, 1]), (0, &[1])];
    for (axis, parameters) in layers {
        for with_bias in [false, true] {
            graphs.push(one(&[2, 3, 4], |graph| Op::LayerNormalization {
                axis,
                scale: parameter(graph, parameters),
                bias: with_bias.then(|| parameter(graph, parameters)),
                epsilon: 1e-3,
            }));
        }
    }
    assert_agrees(&graphs);
}

#[test]
fn functions_of_elements() {
    let functions = [
        Unary::Sigmoid,
        Unary::Tanh,
        Unary::HardSigmoid {
            alpha: 0.3,
            beta: 0.4,
        },
        Unary::HardSwish,
        Unary::LeakyRelu { alpha: 0.1 },
        Unary::Elu { alpha: 0.7 },
        Unary::Softplus,
        Unary::Gelu { approximate: true },
        Unary::Gelu { approximate: false },
        Unary::Exp,
    ];
    let mut graphs: Vec<Graph> = functions
        .into_iter()
        .map(|f| one(&[2, 5], |_| Op::Unary(f)))
        .collect();
    let mut root = one(&[5], |_| Op::Unary(Unary::Exp));
    add(&mut root, Op::Unary(Unary::Sqrt));
    graphs.push(root);
    graphs.push(one(&[5], |_| Op::Relu));
    let (min, max) = (-0.3, 0.4);
    graphs.push(one(&[5], |_| Op::Clip { min, max }));
    for slopes in [&[2, 1, 1][..], &[2, 3, 4], &[1]] {
        graphs.push(one(&[2, 3, 4], |graph| Op::PRelu {
            slope: parameter(graph, slopes),
        }));
    }
    assert_agrees(&graphs);
}

#[test]
fn arithmetic_aligns_axes_of_examples() {
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[3], &[3]),
        (&[2, 3, 4], &[2, 1, 1]),
        (&[2, 3, 4], &[4]),
        (&[3], &[3, 3]),
        (&[3], &[2, 3, 1]),
        (&[2, 1], &[1, 5]),
    ];
    let mut graphs = Vec::new();
    for (x, constant) in shapes {
        for op in [Op::Add, Op::Sub, Op::Mul] {
            graphs.extend(with_constant(x, constant, &op));
        }
        graphs.extend(with_constant(x, constant, &Op::Div).into_iter().take(1));
    }
    // Two values of different rank.
    let mut graph = Graph::new("values of two ranks", "x", &[3]);
    let shape = vec![3, 1];
    let column = push(&mut graph, Op::Reshape { shape }, &[ValueId(0)]);
    push(&mut graph, Op::Mul, &[ValueId(0), column]);
    graphs.push(graph);
    let square: (&[usize], &[usize]) = (&[3, 3], &[3, 3]);
    let products: [(&[usize], &[usize]); 3] =
        [square, (&[2, 3, 3], &[3, 3]), (&[3, 3], &[2, 3, 3])];
    for (x, constant) in products {
        graphs.extend(with_constant(x, constant, &Op::MatMul));
    }
    assert_agrees(&graphs);
}

#[test]
fn movements() {
    let shape = [2, 3, 4];
    let mut graphs = vec![
        one(&shape, |_| Op::Flatten),
        one(&shape, |_| Op::Reshape { shape: vec![6, 4] }),
        one(&shape, |_| Op::Transpose {
            perm: vec![1, 2, 0],
        }),
        one(&shape, |_| Op::Pad {
            before: vec![0, 1, 2],
            after: vec![1, 0, 0],
            value: 0.5,
        }),
    ];
    for (axis, indices) in [(0, vec![1, 1]), (1, vec![2, 0]), (2, vec![3, 2, 1, 0])] {
        graphs.push(one(&shape, |_| Op::Select { axis, indices }));
    }
    for axis in [0, 1] {
        graphs.extend(with_constant(&[2, 3], &[2, 3], &Op::Concat { axis }));
    }
    // What does not depend on the input is still an output for each example.
    let mut graph = Graph::new("constant", "x", &[2]);
    let value = parameter(&mut graph, &[2, 3]);
    push(&mut graph, Op::Constant { value }, &[]);
    add(&mut graph, Op::Relu);
    let joined = graph.output;
    push(&mut graph, Op::Concat { axis: 0 }, &[joined, joined]);
    assert_runs(&[graph]);
    assert_agrees(&graphs);
}

fn recurrent(cell: Cell, whole: bool, cell_output: bool) -> Graph {
    one(&[5, 3], |graph| {
        let rows = cell.gates() * 4;
        let lstm = matches!(cell, Cell::Lstm);
        Op::Recurrent(Recurrent {
            cell,
            weight: parameter(graph, &[rows, 3]),
            recurrence: parameter(graph, &[rows, 4]),
            bias: whole.then(|| parameter(graph, &[2 * rows])),
            initial_hidden: whole.then(|| parameter(graph, &[4])),
            initial_cell: (whole && lstm).then(|| parameter(graph, &[4])),
            cell_output,
        })
    })
}

#[test]
fn recurrent_layers() {
    let rnn = |activation| Cell::Rnn { activation };
    let (alpha, beta) = (0.2, 0.4);
    let cells = [
        rnn(Unary::Tanh),
        rnn(Unary::Sigmoid),
        rnn(Unary::LeakyRelu { alpha: 0.0 }),
        Cell::Lstm,
        Cell::Gru {
            linear_before_reset: false,
        },
        Cell::Gru {
            linear_before_reset: true,
        },
    ];
    let each = cells
        .into_iter()
        .flat_map(|cell| [(cell, false), (cell, true)]);
    let mut graphs: Vec<Graph> = each
        .map(|(cell, whole)| recurrent(cell, whole, false))
        .collect();
    graphs.push(recurrent(Cell::Lstm, true, true));
    assert_agrees(&graphs);

    // Which no exporter makes and import refuses.
    let rare = [
        Unary::LeakyRelu { alpha },
        Unary::HardSigmoid { alpha, beta },
    ];
    assert_runs(&rare.map(|activation| recurrent(rnn(activation), true, false)));

    let unnamed = recurrent(rnn(Unary::HardSwish), false, false);
    let error = write_bytes(&unnamed, WriteOptions::default())
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("'RNN0'") && error.lines().count() == 1,
        "{error}"
    );
}

/// Their weights as float16 and as integers, which a node turns into floats.
#[test]
fn recurrent_weights_in_fewer_bits() {
    let mut graph = recurrent(Cell::Lstm, true, false);
    let [f16, qdq] = [(true, false), (false, true)].map(|(f16, qdq)| WriteOptions { f16, qdq });
    let half = read_bytes("half.onnx", &write_bytes(&graph, f16).unwrap()).unwrap();
    let x = inputs(&graph, 1);
    let rounded = reference::run(&half, &x);
    assert_close(&rounded, &reference::run(&graph, &x), 2e-3, "float16");
    assert_ne!(half.parameters, graph.parameters);

    for parameter in &mut graph.parameters[..2] {
        parameter.grid = Some(Grid {
            scale: (1..=16).map(|i| 0.008 * i as f32).collect(),
            max: 127,
        });
    }
    let case = Case {
        what: "integers".into(),
        model: write_bytes(&graph, qdq).unwrap(),
        y: (vec![1, 5, 4], reference::run(&graph, &x)),
        x: (vec![1, 5, 3], x),
    };
    assert_onnx_runtime_all(&[case], 1e-5);
}

fn affine(scale: &[f32], axis: usize, range: [f32; 2]) -> Affine {
    let middle = ((range[0] + range[1]) / 2.0).ceil();
    Affine {
        zero_point: (0..scale.len()).map(|i| middle + i as f32).collect(),
        scale: scale.to_vec(),
        axis,
        range,
    }
}

#[test]
fn quantizers() {
    let several = [0.01, 0.02, 0.005];
    let grids = [
        affine(&[0.01], 0, [-128.0, 127.0]),
        affine(&[0.004], 0, [0.0, 255.0]),
        affine(&several, 1, [-128.0, 127.0]),
        affine(&several, 1, [0.0, 255.0]),
        affine(&several, 1, [-7.0, 7.0]),
        affine(&[0.001], 0, [-512.0, 511.0]),
    ];
    let mut graphs = Vec::new();
    for grid in grids {
        let mut graph = one(&[2, 3, 4], |_| Op::QuantizeLinear(grid.clone()));
        graphs.push(graph.clone());
        add(&mut graph, Op::DequantizeLinear(grid.clone()));
        graphs.push(graph.clone());
        // The integers go through another operator, and are read a second time.
        let [integers, first] = [0, 1].map(|i: usize| graph.nodes[i].output);
        push(&mut graph, Op::Flatten, &[integers]);
        let shape = vec![2, 3, 4];
        add(&mut graph, Op::Reshape { shape });
        add(&mut graph, Op::DequantizeLinear(grid));
        let again = graph.output;
        push(&mut graph, Op::Add, &[first, again]);
        graphs.push(graph);
    }
    let outputs = [
        DynamicOutput::Quantized,
        DynamicOutput::Scale,
        DynamicOutput::ZeroPoint,
    ];
    for output in outputs {
        graphs.push(one(&[2, 3], |_| Op::DynamicQuantizeLinear { output }));
    }
    // What is read has the grid with its value, and the reference does not round values.
    assert_runs(&graphs);
}
