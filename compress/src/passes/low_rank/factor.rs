//! A layer as two, with nothing between them.

use super::svd::Svd;
use trainer::graph::{Graph, Node, Op, ParamId, Parameter, ShapeError, Value, ValueId, Window};

/// How a layer falls apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A matrix, or the filters of a convolution as one of `[out, in·kh·kw]`: as many filters as the
    /// rank, then a 1×1 convolution.
    Whole,
    /// A convolution down the columns, then one along the rows (Jaderberg et al. 2014): the filters as
    /// a matrix of `[out·kw, in·kh]`.
    Separable,
}

/// One way to factor a layer.
#[derive(Clone, Debug)]
pub struct Way {
    /// How.
    pub form: Form,
    /// Of the weights as that form's matrix.
    pub svd: Svd,
}

/// A layer that can be factored.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its weights.
    pub weight: ParamId,
    /// Their name.
    pub name: String,
    /// How many.
    pub parameters: usize,
    /// The whole first.
    pub ways: Vec<Way>,
}

/// Why a layer stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Name of its weights.
    pub name: String,
    /// In a few words.
    pub why: String,
}

impl Layer {
    /// The layer that multiplies by a weight.
    ///
    /// # Errors
    /// Where its operator does not come apart, or no rank would have fewer parameters.
    pub fn of(graph: &Graph, weight: ParamId) -> Result<Self, Refusal> {
        let parameter = graph.parameter(weight);
        let name = parameter.name.clone();
        let refuse = |why: &str| Refusal {
            name: name.clone(),
            why: why.to_owned(),
        };
        let mut users = graph
            .nodes
            .iter()
            .filter(|n| n.op.parameters().contains(&weight));
        let (Some(node), None) = (users.next(), users.next()) else {
            return Err(refuse("it belongs to several layers"));
        };
        let forms = match &node.op {
            Op::Gemm { .. } => vec![Form::Whole],
            Op::Conv {
                groups: 1, window, ..
            } if window.kernel.iter().all(|&k| k > 1) => {
                vec![Form::Whole, Form::Separable]
            }
            Op::Conv { groups: 1, .. } => vec![Form::Whole],
            Op::Conv { .. } => return Err(refuse("it belongs to a convolution in groups")),
            op => return Err(refuse(&format!("it belongs to a {}", op.name()))),
        };
        let values = parameter.latent();
        let way = |form: Form| {
            let ([rows, columns], matrix) = form.matrix(&parameter.shape, &values);
            let saves = super::svd::largest_rank(rows, columns) > 0;
            saves.then(|| Way {
                form,
                svd: Svd::new(rows, columns, &matrix),
            })
        };
        let ways: Vec<Way> = forms.into_iter().filter_map(way).collect();
        if ways.is_empty() {
            return Err(refuse("no rank would have fewer parameters"));
        }
        let parameters = parameter.len();
        Ok(Self {
            weight,
            name,
            parameters,
            ways,
        })
    }
}

impl Form {
    /// The weights `[out, in, kh, kw]` as a matrix: its size and its elements.
    fn matrix(self, shape: &[usize], values: &[f32]) -> ([usize; 2], Vec<f32>) {
        let (out, columns) = (shape[0], shape[1..].iter().product());
        let &[_, channels, kh, kw] = shape else {
            return ([out, columns], values.to_vec());
        };
        if self == Form::Whole {
            return ([out, columns], values.to_vec());
        }
        let size = [out * kw, channels * kh];
        let mut matrix = vec![0.0; values.len()];
        for (place, &w) in values.iter().enumerate() {
            let (x, y) = (place % kw, place / kw % kh);
            let (channel, o) = (place / (kw * kh) % channels, place / (kw * kh * channels));
            matrix[(o * kw + x) * size[1] + channel * kh + y] = w;
        }
        (size, matrix)
    }

    /// Shapes of the first and the second layer's weights.
    fn shapes(self, shape: &[usize], rank: usize) -> [Vec<usize>; 2] {
        match (self, shape) {
            (Form::Whole, &[out, channels, kh, kw]) => {
                [vec![rank, channels, kh, kw], vec![out, rank, 1, 1]]
            }
            (Form::Separable, &[out, channels, kh, kw]) => {
                [vec![rank, channels, kh, 1], vec![out, rank, 1, kw]]
            }
            (_, shape) => [vec![rank, shape[1]], vec![shape[0], rank]],
        }
    }

    /// The operators of the two layers, of a convolution.
    fn windows(self, window: &Window, dilation: [usize; 2]) -> [(Window, [usize; 2]); 2] {
        if self == Form::Whole {
            return [(*window, dilation), (Window::square(1, 1), [1, 1])];
        }
        let Window {
            kernel: [kh, kw],
            stride: [down, along],
            padding: [top, left, bottom, right],
            ..
        } = *window;
        let part = |kernel, stride, padding| Window {
            kernel,
            stride,
            padding,
            ceil_mode: false,
        };
        let first = part([kh, 1], [down, 1], [top, 0, bottom, 0]);
        let second = part([1, kw], [1, along], [0, left, 0, right]);
        [(first, [dilation[0], 1]), (second, [1, dilation[1]])]
    }
}

/// Puts two layers in a layer's place: the first of as many units as the rank, without a bias; the
/// second with the layer's own. Returns the name of the second's weights: the U of `W = U·Vᵀ`.
///
/// # Errors
/// When the graph is not the one that the layer is of.
pub fn factor(
    graph: &mut Graph,
    layer: &Layer,
    way: &Way,
    rank: usize,
) -> Result<String, ShapeError> {
    let Some(place) = graph
        .nodes
        .iter()
        .position(|n| n.op.weight() == Some(layer.weight))
    else {
        return Ok(String::new());
    };
    let shape = graph.parameter(layer.weight).shape.clone();
    let [first, second] = way.form.shapes(&shape, rank);
    let [u, v] = way.svd.factors(rank);
    // U is [out·kw, rank] of a separable one, and ONNX wants [out, rank, 1, kw].
    let u = match (way.form, shape.as_slice()) {
        (Form::Separable, &[out, _, _, kw]) => transposed_taps(&u, out, rank, kw),
        _ => u,
    };
    let name = format!("{}.u", layer.name);
    let v = graph.add_parameter(Parameter::dense(format!("{}.v", layer.name), &first, v));
    let u = graph.add_parameter(Parameter::dense(&name, &second, u));
    let (before, after) = operators(&graph.nodes[place].op, way.form, v, u);
    let between = ValueId(graph.values.len());
    let node = &mut graph.nodes[place];
    let title = format!("{}.v", node.name);
    let input = std::mem::replace(&mut node.inputs, vec![between]);
    node.op = after;
    graph.values.push(Value {
        name: format!("{title}_output"),
        shape: Vec::new(),
        quantization: None,
        int16: false,
    });
    let node = Node {
        name: title,
        op: before,
        inputs: input,
        output: between,
    };
    graph.nodes.insert(place, node);
    graph.infer_shapes()?;
    Ok(name)
}

fn operators(op: &Op, form: Form, v: ParamId, u: ParamId) -> (Op, Op) {
    let bias = op.bias();
    match op {
        Op::Conv {
            window, dilation, ..
        } => {
            let conv = |(window, dilation), weight, bias| Op::Conv {
                weight,
                bias,
                window,
                dilation,
                groups: 1,
            };
            let [first, second] = form.windows(window, *dilation);
            (conv(first, v, None), conv(second, u, bias))
        }
        _ => (
            Op::Gemm {
                weight: v,
                bias: None,
            },
            Op::Gemm { weight: u, bias },
        ),
    }
}

/// `[out, kw, rank]` as `[out, rank, kw]`.
fn transposed_taps(u: &[f32], out: usize, rank: usize, kw: usize) -> Vec<f32> {
    let cell = |o: usize, k: usize, x: usize| u[(o * kw + x) * rank + k];
    let rows = (0..out).flat_map(|o| (0..rank).map(move |k| (o, k)));
    rows.flat_map(|(o, k)| (0..kw).map(move |x| cell(o, k, x)))
        .collect()
}
