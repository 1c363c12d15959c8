use super::{DynamicOutput, Graph, Node, Op, ParamId, Recurrent, ValueId, Window};

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
    let shapes: Vec<&[usize]> = inputs
        .iter()
        .map(|&v| graph.value(v).shape.as_slice())
        .collect();
    let arity = match op {
        Op::Constant { .. } => 0..=0,
        Op::Add | Op::Sub | Op::Mul | Op::Div | Op::MatMul => 2..=2,
        Op::Concat { .. } => 1..=usize::MAX,
        _ => 1..=1,
    };
    let result = if arity.contains(&shapes.len()) {
        output_shape(graph, op, &shapes)
    } else {
        Err(format!(
            "takes {} inputs, not {}",
            arity.start(),
            shapes.len()
        ))
    };
    result.map_err(|reason| ShapeError {
        node: node.to_owned(),
        op: op.name(),
        reason,
    })
}

fn output_shape(graph: &Graph, op: &Op, inputs: &[&[usize]]) -> Result<Vec<usize>, String> {
    let parameter = |id: &ParamId| graph.parameter(*id).shape.as_slice();
    let x = inputs.first().copied().unwrap_or_default();
    match op {
        Op::Gemm { weight, bias } => gemm(x, parameter(weight), bias_len(graph, *bias)),
        Op::Conv {
            weight,
            bias,
            window,
            dilation,
            groups,
        } => conv(
            x,
            parameter(weight),
            bias_len(graph, *bias),
            window,
            *dilation,
            *groups,
        ),
        Op::ConvTranspose {
            weight,
            bias,
            window,
            dilation,
            groups,
            output_padding,
        } => {
            let weight = parameter(weight);
            let [out, oh, ow] =
                conv_transpose(x, weight, window, *dilation, *groups, *output_padding)?;
            check_bias(bias_len(graph, *bias), out)?;
            Ok(vec![out, oh, ow])
        }
        Op::MatMul => mat_mul(x, inputs[1]),
        Op::MaxPool { window, dilation }
        | Op::AveragePool {
            window, dilation, ..
        } => {
            let [c, h, w] = image(x)?;
            let [oh, ow] = slide([h, w], window, *dilation)?;
            let padding = window.check_pool_padding(*dilation);
            padding.map_err(|why| format!("{why}; it must be smaller"))?;
            Ok(vec![c, oh, ow])
        }
        Op::GlobalAveragePool => image(x).map(|[c, _, _]| vec![c, 1, 1]),
        Op::ReduceMean { axes } => reduce(x, axes),
        Op::ArgMax { axis, .. } => reduce(x, &[*axis]),
        Op::Relu
        | Op::Clip { .. }
        | Op::Unary(_)
        | Op::Dropout { .. }
        | Op::QuantizeLinear(_)
        | Op::DequantizeLinear(_) => Ok(x.to_vec()),
        Op::DynamicQuantizeLinear { output } => Ok(match output {
            DynamicOutput::Quantized => x.to_vec(),
            DynamicOutput::Scale | DynamicOutput::ZeroPoint => vec![1],
        }),
        Op::Flatten => Ok(vec![x.iter().product()]),
        Op::Reshape { shape } if shape.iter().product::<usize>() == x.iter().product::<usize>() => {
            Ok(shape.clone())
        }
        Op::Reshape { shape } => Err(format!("cannot reshape {x:?} to {shape:?}")),
        Op::Softmax { axis } | Op::LogSoftmax { axis } => along(x, *axis).map(|_| x.to_vec()),
        Op::BatchNormalization { scale, .. } => match parameter(scale) {
            [c] if x.first() == Some(c) => Ok(x.to_vec()),
            s => Err(format!(
                "has parameters of shape {s:?} for an input of shape {x:?}"
            )),
        },
        Op::LayerNormalization {
            axis, scale, bias, ..
        } => {
            let normalized = x.get(*axis..).filter(|axes| !axes.is_empty());
            let normalized = normalized.ok_or_else(|| no_axis(x, *axis))?;
            for id in std::iter::once(scale).chain(bias) {
                fits_into(parameter(id), normalized)?;
            }
            Ok(x.to_vec())
        }
        Op::Lrn { size, .. } => match x.first() {
            Some(_) if *size > 0 => Ok(x.to_vec()),
            _ => Err(format!("sums {size} channels of {x:?}")),
        },
        Op::PRelu { slope } => fits_into(parameter(slope), x).map(|()| x.to_vec()),
        Op::Add | Op::Sub | Op::Mul | Op::Div => broadcast(x, inputs[1]),
        Op::Constant { value } => Ok(parameter(value).to_vec()),
        Op::Concat { axis } => concat(inputs, *axis),
        Op::Select { axis, indices } => {
            let size = along(x, *axis)?;
            if indices.is_empty() || indices.iter().any(|&i| i >= size) {
                return Err(format!("picks places beyond {size}, or none"));
            }
            let mut shape = x.to_vec();
            shape[*axis] = indices.len();
            Ok(shape)
        }
        Op::Pad { before, after, .. } if before.len() == x.len() && after.len() == x.len() => {
            let padded = x.iter().zip(before.iter().zip(after));
            Ok(padded.map(|(d, (b, a))| d + b + a).collect())
        }
        Op::Pad { before, .. } => Err(format!("pads {} axes of {x:?}", before.len())),
        Op::Transpose { perm } => {
            let mut sorted = perm.clone();
            sorted.sort_unstable();
            if sorted.iter().copied().eq(0..x.len()) {
                Ok(perm.iter().map(|&axis| x[axis]).collect())
            } else {
                Err(format!("permutes {x:?} by {perm:?}"))
            }
        }
        Op::Embedding { table } => match parameter(table) {
            &[_, columns] => Ok(x.iter().copied().chain([columns]).collect()),
            table => Err(format!("has a table of shape {table:?}")),
        },
        Op::Recurrent(layer) => recurrent(graph, layer, x),
    }
}

fn no_axis(x: &[usize], axis: usize) -> String {
    format!("has no axis {axis} in {x:?}")
}

/// The size of an axis.
fn along(x: &[usize], axis: usize) -> Result<usize, String> {
    x.get(axis).copied().ok_or_else(|| no_axis(x, axis))
}

fn reduce(x: &[usize], axes: &[usize]) -> Result<Vec<usize>, String> {
    let mut shape = x.to_vec();
    for &axis in axes {
        *shape.get_mut(axis).ok_or_else(|| no_axis(x, axis))? = 1;
    }
    Ok(shape)
}

/// Aligned at the last axis, each axis equal or of one element.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], axis: usize| {
        let missing = rank - shape.len();
        axis.checked_sub(missing).map_or(1, |axis| shape[axis])
    };
    (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (m, n) if m == n || n == 1 => Ok(m),
            (1, n) => Ok(n),
            _ => Err(format!("combines {a:?} and {b:?}, which do not broadcast")),
        })
        .collect()
}

fn fits_into(parameter: &[usize], x: &[usize]) -> Result<(), String> {
    if broadcast(parameter, x).is_ok_and(|shape| shape == x) {
        Ok(())
    } else {
        Err(format!("has parameters of shape {parameter:?} for {x:?}"))
    }
}

fn mat_mul(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let (&[ref lead_a @ .., m, k], &[ref lead_b @ .., rows, n]) = (a, b) else {
        return Err(format!("multiplies {a:?} by {b:?}; both must be matrices"));
    };
    if k != rows {
        return Err(format!("multiplies {a:?} by {b:?}, which do not fit"));
    }
    let mut shape = broadcast(lead_a, lead_b)?;
    shape.extend([m, n]);
    Ok(shape)
}

fn concat(inputs: &[&[usize]], axis: usize) -> Result<Vec<usize>, String> {
    let mut shape = inputs[0].to_vec();
    let mut total = along(&shape, axis)?;
    for other in &inputs[1..] {
        total += along(other, axis)?;
        shape[axis] = other[axis];
        if shape != *other {
            return Err(format!("joins {:?} and {other:?} along {axis}", inputs[0]));
        }
    }
    shape[axis] = total;
    Ok(shape)
}

fn recurrent(graph: &Graph, layer: &Recurrent, x: &[usize]) -> Result<Vec<usize>, String> {
    let shape = |id: ParamId| graph.parameter(id).shape.as_slice();
    let (weight, recurrence) = (shape(layer.weight), shape(layer.recurrence));
    let gates = layer.cell.gates();
    let (&[time, features], &[rows, columns], &[same, hidden]) = (x, weight, recurrence) else {
        return Err(format!(
            "has weights {weight:?} and {recurrence:?} for {x:?}"
        ));
    };
    if columns != features || rows != same || rows != gates * hidden || hidden == 0 {
        return Err(format!(
            "has weights {weight:?} and {recurrence:?} of {gates} gates for {x:?}"
        ));
    }
    let lens = [
        (layer.bias, 2 * rows),
        (layer.initial_hidden, hidden),
        (layer.initial_cell, hidden),
    ];
    for (id, len) in lens {
        if let Some(wrong) = id.map(shape).filter(|s| **s != [len]) {
            return Err(format!("has a bias or a state of {wrong:?}, not {len}"));
        }
    }
    Ok(if layer.cell_output {
        vec![hidden]
    } else {
        vec![time, hidden]
    })
}

fn conv_transpose(
    x: &[usize],
    weight: &[usize],
    window: &Window,
    dilation: [usize; 2],
    groups: usize,
    output_padding: [usize; 2],
) -> Result<[usize; 3], String> {
    let [c, h, w] = image(x)?;
    let &[channels, per_group, kh, kw] = weight else {
        return Err(format!("expects weights of rank 4, gets {weight:?}"));
    };
    if [kh, kw] != window.kernel || channels != c || groups == 0 || c % groups != 0 {
        return Err(format!(
            "has weights {weight:?} in {groups} groups for {c} channels and a kernel of {:?}",
            window.kernel
        ));
    }
    let mut out = [per_group * groups, 0, 0];
    for (a, size) in [h, w].into_iter().enumerate() {
        let full = (size - 1) * window.stride[a]
            + (window.kernel[a] - 1) * dilation[a]
            + 1
            + output_padding[a];
        let padding = window.padding[a] + window.padding[a + 2];
        out[a + 1] = full
            .checked_sub(padding)
            .filter(|&n| n > 0)
            .ok_or_else(|| format!("pads {padding} of {full} outputs away"))?;
    }
    Ok(out)
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
        (&[ref lead @ .., n], &[out, n_in]) if n == n_in => {
            check_bias(bias, out)?;
            Ok(lead.iter().copied().chain([out]).collect())
        }
        (&[.., n], &[_, n_in]) => Err(format!("expects {n_in} inputs, gets {n}")),
        _ => Err(format!(
            "expects a matrix, gets weights {weight:?} for {x:?}"
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
    pub(crate) fn check_pool_padding(&self, dilation: [usize; 2]) -> Result<(), String> {
        let Self {
            kernel, padding, ..
        } = self;
        if (0..4).all(|i| padding[i] <= (kernel[i % 2] - 1) * dilation[i % 2]) {
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
    let len = |id: ParamId| graph.parameter(id).len();
    let input = |i: usize| graph.value(node.inputs[i]);
    let output = graph.value(node.output);
    (match &node.op {
        // Each weight is used at each place before the last axis,
        Op::Gemm { weight, .. } => {
            len(*weight) * (output.len() / output.shape.last().unwrap_or(&1))
        }
        // at each place behind the channels,
        Op::Conv { weight, .. } => len(*weight) * output.shape.iter().skip(1).product::<usize>(),
        Op::ConvTranspose { weight, .. } => {
            len(*weight) * input(0).shape.iter().skip(1).product::<usize>()
        }
        Op::MatMul => output.len() * input(0).shape.last().unwrap_or(&1),
        // or at each step.
        Op::Recurrent(layer) => {
            (len(layer.weight) + len(layer.recurrence)) * input(0).shape.first().unwrap_or(&1)
        }
        _ => 0,
    }) as u64
}
