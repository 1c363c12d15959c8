use super::{Graph, Node, Op, ValueId, Window};

/// An operator that does not fit its inputs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node '{node}' ({op}): {reason}")]
pub struct ShapeError {
    /// The node's name.
    pub node: String,
    /// Its operator.
    pub op: &'static str,
    /// What does not fit, with the shapes.
    pub reason: String,
}

/// The shape of a node's output, from those of its inputs and parameters.
pub(super) fn infer(
    graph: &Graph,
    node: &str,
    op: &Op,
    inputs: &[ValueId],
) -> Result<Vec<usize>, ShapeError> {
    let arity = if matches!(op, Op::Add) { 2 } else { 1 };
    let shapes: Vec<&[usize]> = inputs
        .iter()
        .map(|&v| graph.value(v).shape.as_slice())
        .collect();
    let result = if shapes.len() == arity {
        output_shape(graph, op, &shapes)
    } else {
        Err(format!("takes {arity} inputs, not {}", shapes.len()))
    };
    result.map_err(|reason| ShapeError {
        node: node.to_owned(),
        op: op.name(),
        reason,
    })
}

fn output_shape(graph: &Graph, op: &Op, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
    let x = inputs[0];
    match op {
        Op::Gemm { weight, bias } => {
            gemm(x, &graph.parameter(*weight).shape, bias_len(graph, *bias))
        }
        Op::Conv {
            weight,
            bias,
            window,
            dilation,
            groups,
        } => conv(
            x,
            &graph.parameter(*weight).shape,
            bias_len(graph, *bias),
            window,
            *dilation,
            *groups,
        ),
        Op::MaxPool { window } | Op::AveragePool { window, .. } => {
            let [c, h, w] = image(x)?;
            let [oh, ow] = slide([h, w], window, [1, 1])?;
            let padding = window.check_pool_padding();
            padding.map_err(|why| format!("{why}; it must be smaller"))?;
            Ok(vec![c, oh, ow])
        }
        Op::GlobalAveragePool => image(x).map(|[c, _, _]| vec![c, 1, 1]),
        Op::Relu | Op::Clip { .. } | Op::Unary(_) | Op::Dropout { .. } => Ok(x.to_vec()),
        Op::Flatten => Ok(vec![x.iter().product()]),
        Op::Reshape { shape } if shape.iter().product::<usize>() == x.iter().product::<usize>() => {
            Ok(shape.clone())
        }
        Op::Reshape { shape } => Err(format!("cannot reshape {x:?} to {shape:?}")),
        Op::Softmax if x.len() == 1 => Ok(x.to_vec()),
        Op::Softmax => Err(format!(
            "expects a vector, not {x:?}; put a Flatten before it"
        )),
        Op::BatchNormalization { scale, .. } => match graph.parameter(*scale).shape.as_slice() {
            [c] if x.first() == Some(c) => Ok(x.to_vec()),
            s => Err(format!(
                "has parameters of shape {s:?} for an input of shape {x:?}"
            )),
        },
        Op::Add if x == inputs[1] => Ok(x.to_vec()),
        Op::Add => Err(format!("adds {x:?} and {:?}, which differ", inputs[1])),
    }
}

fn bias_len(graph: &Graph, bias: Option<super::ParamId>) -> Option<usize> {
    bias.map(|b| graph.parameter(b).len())
}

fn check_bias(bias: Option<usize>, out: usize) -> Result<(), String> {
    match bias {
        Some(n) if n != out => Err(format!("has {n} biases for {out} outputs")),
        _ => Ok(()),
    }
}

fn gemm(x: &[usize], weight: &[usize], bias: Option<usize>) -> Result<Vec<usize>, String> {
    match (x, weight) {
        (&[n], &[out, n_in]) if n == n_in => check_bias(bias, out).map(|()| vec![out]),
        (&[n], &[_, n_in]) => Err(format!("expects {n_in} inputs, gets {n}")),
        _ => Err(format!(
            "expects a vector and a matrix, gets {x:?} and weights {weight:?}"
        )),
    }
}

fn conv(
    x: &[usize],
    weight: &[usize],
    bias: Option<usize>,
    window: &Window,
    dilation: [usize; 2],
    groups: usize,
) -> Result<Vec<usize>, String> {
    let [c, h, w] = image(x)?;
    let &[out, per_group, kh, kw] = weight else {
        return Err(format!("expects weights of rank 4, gets {weight:?}"));
    };
    if [kh, kw] != window.kernel {
        return Err(format!(
            "has weights {weight:?} for a kernel of {:?}",
            window.kernel
        ));
    }
    if groups == 0 || c != per_group * groups || out % groups != 0 {
        return Err(format!(
            "has weights {weight:?} in {groups} groups for {c} input channels"
        ));
    }
    check_bias(bias, out)?;
    let [oh, ow] = slide([h, w], window, dilation)?;
    Ok(vec![out, oh, ow])
}

fn image(x: &[usize]) -> Result<[usize; 3], String> {
    <[usize; 3]>::try_from(x).map_err(|_| format!("expects [channels, height, width], gets {x:?}"))
}

impl Window {
    /// Refuses padding as large as the kernel: a window on padding alone has neither a largest value
    /// nor a mean.
    pub(crate) fn check_pool_padding(&self) -> Result<(), String> {
        let Self {
            kernel, padding, ..
        } = self;
        if (0..4).all(|i| padding[i] < kernel[i % 2]) {
            return Ok(());
        }
        Err(format!(
            "has padding {padding:?} for a kernel of {kernel:?}"
        ))
    }
}

/// Positions of a window along height and width.
fn slide(size: [usize; 2], window: &Window, dilation: [usize; 2]) -> Result<[usize; 2], String> {
    let mut out = [0; 2];
    for a in 0..2 {
        if window.stride[a] == 0 || window.kernel[a] == 0 || dilation[a] == 0 {
            return Err(format!("has a zero in {window:?}, dilation {dilation:?}"));
        }
        let extent = dilation[a] * (window.kernel[a] - 1) + 1;
        let padded = size[a] + window.padding[a] + window.padding[a + 2];
        let Some(room) = padded.checked_sub(extent) else {
            return Err(format!("has a window of {extent} on {padded} elements"));
        };
        out[a] = room / window.stride[a] + 1;
        // A partial window counts only if it starts inside the input or its leading padding.
        if window.ceil_mode
            && room % window.stride[a] != 0
            && out[a] * window.stride[a] < size[a] + window.padding[a]
        {
            out[a] += 1;
        }
    }
    Ok(out)
}

/// Dense multiply-accumulates of one node.
pub(super) fn macs(graph: &Graph, node: &Node) -> u64 {
    let Some(weight) = node.op.weight() else {
        return 0;
    };
    let shape = &graph.parameter(weight).shape;
    let positions: usize = graph.value(node.output).shape.iter().skip(1).product();
    (shape.iter().product::<usize>() * positions) as u64
}
