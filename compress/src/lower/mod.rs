//! From a quantized float [`Graph`] to a fixed-point [`Program`].
//!
//! Each value of the graph is a [view](view::View) of a tensor of the program, channels last. What
//! only renames elements changes views; an operator that needs its input's elements elsewhere has
//! them copied there.

mod arithmetic;
mod arrange;
mod elementwise;
mod error;
mod functions;
mod interface;
mod layers;
mod linear;
mod moves;
mod pools;
mod product;
mod recurrent;
mod steps;
mod view;

pub(crate) use elementwise::{dequantized, integers};
pub use error::{LowerError, Refusal};
pub use interface::{ROW_MAJOR, channels_last};
pub use linear::Biases;
pub use steps::{Step, Steps, steps};
pub(crate) use view::{Pattern, View};

use crate::program::{Kind, Operator, Program, Tensor};
use arrange::Arranged;
use error::{refused, refused_at};
use no_std_core::numerics::Output;
use no_std_core::tensor::Shape;
use std::collections::HashMap;
use trainer::graph::{Graph, Op, Quantization, ValueId};

/// Writes a calibrated graph, whose weights have grids, in integers.
///
/// # Errors
/// When the graph holds operators that images do not have, or is not quantized.
pub fn lower(graph: &Graph, biases: Biases) -> Result<Program, LowerError> {
    Ok(lower_with_views(graph, biases)?.program)
}

/// A program with what its tensors stand for.
pub(crate) struct Lowered {
    pub(crate) program: Program,
    /// For each operator that completes a step: the step and where its output's elements are.
    pub(crate) completed: Vec<Option<(Step, View)>>,
}

/// As [`lower`], with the places of values.
pub(crate) fn lower_with_views(graph: &Graph, biases: Biases) -> Result<Lowered, LowerError> {
    let steps = steps(graph);
    let mut best: Option<(usize, Lowered)> = None;
    for layout in interface::input_layouts(graph, &steps)? {
        let lowered = Lowering::new(graph, &steps, biases).run(&layout)?;
        let moved = lowered.program.elements_moved();
        if best.as_ref().is_none_or(|(least, _)| moved < *least) {
            best = Some((moved, lowered));
        }
        if moved == 0 {
            break;
        }
    }
    let none = || LowerError::NotCalibrated(graph.value(graph.input).name.clone());
    best.map(|(_, lowered)| lowered).ok_or_else(none)
}

impl Program {
    fn elements_moved(&self) -> usize {
        let moved = |op: &Operator| match &op.kind {
            Kind::Copy(block) => block.axes.iter().map(|axis| axis.count).product(),
            _ => 0,
        };
        self.operators.iter().map(moved).sum()
    }
}

/// Probabilities use all of int8.
pub(crate) const SOFTMAX_OUTPUT: Quantization = Quantization {
    scale: 1.0 / 256.0,
    zero_point: -128,
};

/// Places, of which there are at most 256: the integer is the place − 128.
pub(crate) const PLACES: Quantization = Quantization {
    scale: 1.0,
    zero_point: -128,
};

struct Lowering<'g> {
    graph: &'g Graph,
    steps: &'g Steps,
    biases: Biases,
    tensors: Vec<Tensor>,
    operators: Vec<Operator>,
    views: HashMap<ValueId, View>,
    /// Tensors that hold a view's elements in another arrangement.
    arranged: Vec<Arranged>,
    /// The node being lowered.
    name: String,
}

impl<'g> Lowering<'g> {
    fn new(graph: &'g Graph, steps: &'g Steps, biases: Biases) -> Self {
        Self {
            graph,
            steps,
            biases,
            tensors: Vec::new(),
            operators: Vec::new(),
            views: HashMap::new(),
            arranged: Vec::new(),
            name: String::new(),
        }
    }

    fn run(mut self, layout: &interface::Layout) -> Result<Lowered, LowerError> {
        let graph = self.graph;
        let q = self.own_quantization(graph.input)?;
        let name = graph.value(graph.input).name.clone();
        let input = self.add_tensor(&name, layout.shape, q);
        self.tensors[input].wide = graph.value(graph.input).int16;
        self.views.insert(graph.input, layout.view(input));
        let mut heads = self.steps.steps.iter().peekable();
        let mut refusals = Vec::new();
        for (place, node) in graph.nodes.iter().enumerate() {
            self.name.clone_from(&node.name);
            let first = self.operators.len();
            let result = if heads.peek().is_some_and(|step| step.node == place) {
                heads.next().map_or(Ok(()), |step| self.step(step))
            } else {
                self.renamed(node)
            };
            match result.and_then(|()| self.check_wide(first)) {
                Ok(()) => {}
                Err(LowerError::Unsupported(reasons)) => {
                    refusals.extend(reasons.into_iter().map(|r| Refusal {
                        node: node.name.clone(),
                        op: node.op.name(),
                        reason: r.reason,
                    }));
                    self.stand_in(node.output)?;
                }
                Err(error) => return Err(error),
            }
        }
        if refusals.is_empty() {
            self.finish(input, layout)
        } else {
            Err(LowerError::Unsupported(refusals))
        }
    }

    /// Refuses the operators from `first` on that have no int16 form.
    fn check_wide(&self, first: usize) -> Result<(), LowerError> {
        let is_wide = |tensor: usize| self.tensors[tensor].wide;
        let beyond = |op: &&Operator| {
            let wide = is_wide(op.output) || op.reads().any(is_wide);
            let may = matches!(
                op.kind,
                Kind::Dense(_) | Kind::Conv { .. } | Kind::Add { .. }
            );
            wide && !may
        };
        match self.operators[first..].iter().find(beyond) {
            Some(op) => Err(refused(format!(
                "reads or writes '{}' as int16, which layers, sums and differences alone do; keep it int8",
                self.tensors[op.input].name
            ))),
            None => Ok(()),
        }
    }

    /// Something for the nodes behind a refused one to read, so that they may be refused too.
    fn stand_in(&mut self, value: ValueId) -> Result<(), LowerError> {
        let (name, len) = (
            self.graph.value(value).name.clone(),
            self.graph.value(value).len(),
        );
        let shape = Shape::new(1, 1, len).ok_or_else(|| refused(too_large(len)))?;
        let tensor = self.add_tensor(&name, shape, PLACES);
        self.views.insert(value, View::rows(tensor, len));
        Ok(())
    }

    /// A node that only names elements otherwise: a view or a fused activation.
    fn renamed(&mut self, node: &trainer::graph::Node) -> Result<(), LowerError> {
        let input = node.inputs[0];
        let view = match &node.op {
            Op::Transpose { perm } => {
                let view = self.split_view(input)?;
                view.transposed(&self.graph.value(input).shape, perm)
            }
            Op::Select { axis, indices } => {
                let view = self.whole_axes(input, *axis)?;
                let shape = &self.graph.value(input).shape;
                Pattern::of(indices).and_then(|pattern| view.selected(shape, *axis, &pattern))
            }
            _ => self.views.get(&input).cloned(),
        };
        let view = view.ok_or_else(|| refused("names elements that no view can"))?;
        self.views.insert(node.output, view);
        self.requantize_as_given(node.output)
    }

    fn step(&mut self, step: &Step) -> Result<(), LowerError> {
        let node = &self.graph.nodes[step.node];
        if self.graph.value(step.output).int16 && !may_be_wide(&node.op) {
            return Err(refused("cannot write int16; keep its output int8"));
        }
        let view = self.lowered(node, step)?;
        self.views.insert(node.output, view);
        self.requantize_as_given(node.output)
    }

    fn lowered(&mut self, node: &trainer::graph::Node, step: &Step) -> Result<View, LowerError> {
        match &node.op {
            Op::Gemm { .. } => self.gemm(node, step),
            Op::Conv { .. } => self.conv(node, step),
            Op::ConvTranspose { .. } => self.conv_transpose(node, step),
            Op::MatMul => self.mat_mul(node, step),
            Op::MaxPool { .. } | Op::AveragePool { .. } => self.pool(node),
            Op::ReduceMean { axes } => self.reduce_mean(node, axes),
            Op::GlobalAveragePool => self.reduce_mean(node, &[1, 2]),
            Op::Relu | Op::Clip { .. } => self.clamp(node, step),
            Op::Unary(function) => self.unary(node, step, |x| function.apply(x)),
            Op::QuantizeLinear(affine) | Op::DequantizeLinear(affine) => {
                self.interface(node, affine)
            }
            Op::Softmax { axis } => self.softmax(node, *axis),
            Op::LogSoftmax { axis } => self.log_softmax(node, step, *axis),
            Op::ArgMax { .. } => self.arg_max(node),
            Op::LayerNormalization { .. } => self.layer_norm(node, step),
            Op::Lrn { .. } => self.lrn(node, step),
            Op::PRelu { slope } => self.p_relu(node, step, *slope),
            Op::Add | Op::Sub | Op::Mul | Op::Div => self.arithmetic(node, step),
            Op::Constant { value } => self.constant(node, *value),
            Op::Concat { axis } => self.concat(node, *axis),
            Op::Select { axis, indices } => self.select(node, *axis, indices),
            Op::Pad { .. } => self.pad(node),
            Op::Embedding { table } => self.embedding(node, *table),
            Op::Recurrent(layer) => self.recurrent(node, layer),
            Op::BatchNormalization { .. } => Err(refused(
                "follows and precedes no layer it could be folded into; put it behind a convolution",
            )),
            Op::DynamicQuantizeLinear { .. } => Err(refused(
                "measures each input; use a model with fixed scales (static quantization)",
            )),
            Op::Flatten | Op::Reshape { .. } | Op::Transpose { .. } | Op::Dropout { .. } => {
                Err(refused("should have been a view"))
            }
        }
    }

    fn add_tensor(&mut self, name: &str, shape: Shape, q: Quantization) -> usize {
        self.tensors.push(Tensor {
            name: name.to_owned(),
            shape,
            scale: q.scale,
            zero_point: q.zero_point as i8,
            wide: false,
        });
        self.tensors.len() - 1
    }

    fn add_operator(&mut self, input: usize, output: usize, kind: Kind) {
        self.operators.push(Operator {
            name: self.name.clone(),
            input,
            output,
            kind,
        });
    }

    /// The quantization that a step was given.
    fn own_quantization(&self, value: ValueId) -> Result<Quantization, LowerError> {
        let value = self.graph.value(value);
        value
            .quantization
            .ok_or_else(|| LowerError::NotCalibrated(value.name.clone()))
    }

    fn quantization_of(&self, tensor: usize) -> Quantization {
        let Tensor {
            scale, zero_point, ..
        } = self.tensors[tensor];
        Quantization {
            scale,
            zero_point: zero_point.into(),
        }
    }

    fn shape(&self, value: ValueId) -> &'g [usize] {
        &self.graph.value(value).shape
    }

    /// What is left once nothing needless is computed, in the order in which the outside knows it.
    fn finish(mut self, input: usize, layout: &interface::Layout) -> Result<Lowered, LowerError> {
        self.name
            .clone_from(&self.graph.value(self.graph.output).name);
        let (output, output_rows) = self.output()?;
        let rows = interface::row_major(&self.tensors[input].shape, layout.rows, output_rows);
        let metadata = self.graph.metadata.iter();
        let metadata = metadata
            .filter(|(key, _)| *key != ROW_MAJOR)
            .map(|(key, value)| (key.clone(), value.clone()))
            .chain(rows.map(|value| (ROW_MAJOR.to_owned(), value.to_owned())))
            .collect();
        let completed = self.completed();
        let program = Program {
            tensors: self.tensors,
            operators: self.operators,
            input,
            output,
            macs: self.graph.macs(),
            metadata,
        };
        Ok(interface::without_unused(program, completed))
    }

    /// Each step beside the operator that is the last to write its output.
    fn completed(&self) -> Vec<Option<(Step, View)>> {
        let mut completed = vec![None; self.operators.len()];
        for step in &self.steps.steps {
            let view = self.views.get(&step.output);
            let writes = |op: &Operator| view.is_some_and(|view| op.output == view.tensor);
            if let (Some(place), Some(view)) = (self.operators.iter().rposition(writes), view) {
                completed[place] = Some((step.clone(), view.clone()));
            }
        }
        completed
    }
}

/// Whether an operator may write int16.
fn may_be_wide(op: &Op) -> bool {
    let layer = op.weight().is_some();
    layer || matches!(op, Op::Add | Op::Sub)
}

fn too_large(len: usize) -> String {
    format!("has {len} elements; images hold no such tensor")
}

/// The integer range of a step's output: its fused activation, within int8.
fn range(step: &Step, q: Quantization) -> Output {
    let integer = |real: f32| {
        let q = (real / q.scale).round_ties_even() + q.zero_point as f32;
        q.clamp(i8::MIN as f32, i8::MAX as f32) as i8
    };
    Output {
        zero_point: q.zero_point as i8,
        min: integer(step.min),
        max: integer(step.max),
    }
}

/// All of int8.
fn full_range(q: Quantization) -> Output {
    Output {
        zero_point: q.zero_point as i8,
        min: i8::MIN,
        max: i8::MAX,
    }
}
