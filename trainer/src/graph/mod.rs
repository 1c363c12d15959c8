//! A float model: operators in order, the values between them, and the parameters they hold.
//!
//! Shapes are per example: the batch axis is never written down, and every operator works on any
//! batch. Image values are `[channels, height, width]`, as in ONNX.

mod hashed;
mod learned;
mod op;
mod parameter;
mod recurrent;
pub mod reference;
mod shape;
mod signs;
pub mod strides;
mod unary;
mod vectors;

pub use hashed::HashedWeights;
pub use op::{Affine, DynamicOutput, Op, Window};
pub use parameter::{Grid, ParamId, Parameter, Parametrization, entry_of, nearest};
pub use recurrent::{Cell, Recurrent};
pub use shape::ShapeError;
pub use signs::SignWeights;
pub use unary::Unary;
pub use vectors::{Cut, VectorWeights};

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};

/// A value's place in [`Graph::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ValueId(pub usize);

/// What flows between operators.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Value {
    /// Unique within the graph; the tensor name in an ONNX file.
    pub name: String,
    /// Per example, without the batch axis.
    pub shape: Vec<usize>,
    /// How the integers stand for this value, once calibrated. Training then runs through the
    /// quantizer with a straight-through gradient.
    pub quantization: Option<Quantization>,
    /// Whether its integers are to be int16, with a zero point of 0, and not int8.
    pub int16: bool,
}

impl Value {
    /// Elements per example.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Least and largest integer.
    pub fn integers(&self) -> [i32; 2] {
        if self.int16 {
            [i16::MIN.into(), i16::MAX.into()]
        } else {
            [i8::MIN.into(), i8::MAX.into()]
        }
    }

    /// Whether an example has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Per-tensor affine integers: `real = scale * (q - zero_point)` (the meaning of ONNX's
/// `QuantizeLinear`), int8 unless the value is [`int16`](Value::int16).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    /// Real units per integer step, positive.
    pub scale: f32,
    /// The integer that stands for zero, −128…127; 0 of int16.
    pub zero_point: i32,
}

/// One operator applied to values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Unique within the graph.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// Values read, in the operator's order.
    pub inputs: Vec<ValueId>,
    /// The one value written.
    pub output: ValueId,
}

/// A float model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// Shown in reports.
    pub name: String,
    /// The value fed from outside.
    pub input: ValueId,
    /// The value handed out.
    pub output: ValueId,
    /// In an order in which each value is written before it is read.
    pub nodes: Vec<Node>,
    /// Indexed by [`ValueId`].
    pub values: Vec<Value>,
    /// Indexed by [`ParamId`].
    pub parameters: Vec<Parameter>,
    /// Free text that travels with the model (class labels, input meaning).
    pub metadata: BTreeMap<String, String>,
}

impl Graph {
    /// A graph with an input and no operators yet; its output is its input.
    pub fn new(name: impl Into<String>, input_name: impl Into<String>, shape: &[usize]) -> Self {
        let input = Value {
            name: input_name.into(),
            shape: shape.to_vec(),
            quantization: None,
            int16: false,
        };
        Self {
            name: name.into(),
            input: ValueId(0),
            output: ValueId(0),
            nodes: Vec::new(),
            values: vec![input],
            parameters: Vec::new(),
            metadata: BTreeMap::new(),
        }
    }

    /// Adds a parameter.
    pub fn add_parameter(&mut self, parameter: Parameter) -> ParamId {
        self.parameters.push(parameter);
        ParamId(self.parameters.len() - 1)
    }

    /// Adds an operator after all present ones, infers its output's shape and makes that value the
    /// graph's output.
    ///
    /// # Errors
    /// When the operator does not accept the shapes of its inputs and parameters.
    pub fn push(
        &mut self,
        name: impl Into<String>,
        op: Op,
        inputs: &[ValueId],
    ) -> Result<ValueId, ShapeError> {
        let name = name.into();
        let shape = shape::infer(self, &name, &op, inputs)?;
        let output = ValueId(self.values.len());
        self.values.push(Value {
            name: format!("{name}_output"),
            shape,
            quantization: None,
            int16: false,
        });
        self.nodes.push(Node {
            name,
            op,
            inputs: inputs.to_vec(),
            output,
        });
        self.output = output;
        Ok(output)
    }

    /// Infers every shape anew from the input's, as after a pass that removed units.
    ///
    /// # Errors
    /// When an operator no longer fits.
    pub fn infer_shapes(&mut self) -> Result<(), ShapeError> {
        for i in 0..self.nodes.len() {
            let node = &self.nodes[i];
            let shape = shape::infer(self, &node.name, &node.op, &node.inputs)?;
            let output = node.output;
            self.values[output.0].shape = shape;
        }
        Ok(())
    }

    /// Drops nodes that do not lead to the output, then parameters and values that no node uses, and
    /// renumbers the rest.
    pub fn remove_unused(&mut self) {
        let mut needed = HashSet::from([self.output]);
        for node in self.nodes.iter().rev() {
            if needed.contains(&node.output) {
                needed.extend(&node.inputs);
            }
        }
        self.nodes.retain(|node| needed.contains(&node.output));
        let mut values = vec![false; self.values.len()];
        let mut parameters = vec![false; self.parameters.len()];
        [self.input, self.output]
            .iter()
            .for_each(|v| values[v.0] = true);
        for node in &self.nodes {
            node.inputs
                .iter()
                .chain([&node.output])
                .for_each(|v| values[v.0] = true);
            node.op
                .parameters()
                .iter()
                .for_each(|p| parameters[p.0] = true);
        }
        let value_places = compact(&mut self.values, &values);
        let parameter_places = compact(&mut self.parameters, &parameters);
        let moved = |v: &mut ValueId| v.0 = value_places[v.0];
        [&mut self.input, &mut self.output]
            .into_iter()
            .for_each(moved);
        for node in &mut self.nodes {
            node.inputs
                .iter_mut()
                .chain([&mut node.output])
                .for_each(moved);
            node.op
                .parameters_mut()
                .into_iter()
                .for_each(|p| p.0 = parameter_places[p.0]);
        }
    }

    /// Gives every node parameters of its own, so that a pass may change one node's alone.
    pub fn unshare_parameters(&mut self) {
        let mut taken = HashSet::new();
        for node in &mut self.nodes {
            for id in node.op.parameters_mut() {
                if !taken.insert(*id) {
                    let copy = self.parameters[id.0].clone();
                    self.parameters.push(Parameter {
                        name: format!("{}.{}", node.name, copy.name),
                        ..copy
                    });
                    *id = ParamId(self.parameters.len() - 1);
                }
            }
        }
    }

    /// The value behind an id.
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.0]
    }

    /// The parameter behind an id.
    pub fn parameter(&self, id: ParamId) -> &Parameter {
        &self.parameters[id.0]
    }

    /// Scalars in all parameters, as materialized (266,610 for LeNet-300-100).
    pub fn parameter_count(&self) -> usize {
        self.parameters.iter().map(Parameter::len).sum()
    }

    /// Dense multiply-accumulates of one inference.
    pub fn macs(&self) -> u64 {
        self.nodes.iter().map(|n| shape::macs(self, n)).sum()
    }
}

/// Keeps the marked items; returns where each one went.
fn compact<T>(items: &mut Vec<T>, keep: &[bool]) -> Vec<usize> {
    let mut marks = keep.iter();
    items.retain(|_| marks.next().copied().unwrap_or(false));
    let place = |kept_before: &mut usize, &kept: &bool| {
        *kept_before += kept as usize;
        Some(*kept_before - kept as usize)
    };
    keep.iter().scan(0, place).collect()
}
