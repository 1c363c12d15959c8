use super::attributes::Attributes;
use super::error::{Fault, Place, Reason};
use super::operators;
use super::tensor::Constant;
use crate::graph::{Graph, Op, ParamId, Parameter, ValueId};
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use tract_onnx::pb::{GraphProto, NodeProto};

/// Most elements of one example's value. A model for kilobytes of memory has none near this; beyond
/// it, a damaged shape is the likelier explanation.
const MAX_ELEMENTS: usize = 1 << 24;

/// What a tensor name stands for.
#[derive(Clone, Debug)]
pub(super) enum Tensor {
    Value(ValueId),
    Constant(Rc<Constant>),
    /// The output of something refused: reported already, so that its readers are not.
    Unknown,
}

/// A graph in the making.
pub(super) struct Importer<'a> {
    pub(super) graph: Graph,
    pub(super) opset: i64,
    /// The first axis of the input, where the file fixes it.
    pub(super) batch: Option<usize>,
    pub(super) reasons: Vec<Reason>,
    tensors: HashMap<&'a str, Tensor>,
    /// Readers of each tensor, the model's outputs included.
    readers: HashMap<&'a str, usize>,
    /// The node that writes each tensor.
    writers: HashMap<&'a str, usize>,
    /// Every tensor name of the file, and those made up.
    names: HashSet<String>,
    node_names: HashSet<String>,
    parameter_names: HashSet<String>,
    /// The parameters made from each constant.
    made_from: HashMap<String, Vec<ParamId>>,
}

/// A node with its inputs resolved.
pub(super) struct NodeView<'a> {
    pub(super) proto: &'a NodeProto,
    pub(super) name: String,
    pub(super) attributes: Attributes<'a>,
    inputs: Vec<Option<Tensor>>,
}

impl<'a> Importer<'a> {
    /// Starts from the model's input, its per-example shape checked, and its initializers.
    pub(super) fn new(
        proto: &'a GraphProto,
        graph: Graph,
        opset: i64,
        batch: Option<usize>,
    ) -> Self {
        let mut importer = Self {
            opset,
            batch,
            reasons: Vec::new(),
            tensors: HashMap::new(),
            readers: HashMap::new(),
            writers: HashMap::new(),
            names: HashSet::new(),
            node_names: HashSet::new(),
            parameter_names: HashSet::new(),
            made_from: HashMap::new(),
            graph,
        };
        importer.index(proto);
        importer
    }

    fn index(&mut self, proto: &'a GraphProto) {
        let read = proto.node.iter().flat_map(|n| &n.input);
        let read = read.chain(proto.output.iter().map(|o| &o.name));
        for name in read {
            *self.readers.entry(name).or_insert(0) += 1;
        }
        for (i, node) in proto.node.iter().enumerate() {
            for name in node.output.iter().filter(|n| !n.is_empty()) {
                self.writers.entry(name).or_insert(i);
                self.names.insert(name.clone());
            }
        }
        let initializers = proto.initializer.iter().map(|t| &t.name);
        self.names.extend(
            initializers
                .chain(proto.input.iter().map(|i| &i.name))
                .cloned(),
        );
    }

    /// Gives a name its meaning; a second meaning is refused.
    pub(super) fn bind(&mut self, name: &'a str, tensor: Tensor, place: impl Fn() -> Place) {
        if self.tensors.insert(name, tensor).is_some() {
            let why = format!("writes '{}', which exists already", name.escape_debug());
            let fault = Fault::new(why, "give every tensor a name of its own");
            self.reasons.push(fault.at(place()));
        }
    }

    /// Imports initializers, nodes and output.
    pub(super) fn body(&mut self, proto: &'a GraphProto) {
        self.initializers(proto);
        for (i, node) in proto.node.iter().enumerate() {
            self.node(i, node);
        }
        if let [output] = proto.output.as_slice() {
            self.output(&output.name);
        }
    }

    fn initializers(&mut self, proto: &'a GraphProto) {
        for tensor in &proto.initializer {
            let place = || Place::Initializer(tensor.name.clone());
            let read = self.readers.contains_key(tensor.name.as_str());
            let constant = match Constant::from_proto(tensor) {
                Ok(constant) => Tensor::Constant(Rc::new(constant)),
                Err(fault) => {
                    if read {
                        self.reasons.push(fault.at(place()));
                    }
                    Tensor::Unknown
                }
            };
            self.bind(&tensor.name, constant, place);
        }
    }

    fn node(&mut self, index: usize, proto: &'a NodeProto) {
        let name = self.node_name(index, proto);
        let place = || Place::Node {
            name: name.clone(),
            operator: proto.op_type.clone(),
        };
        let tensor = self.import(index, proto, &name).unwrap_or_else(|fault| {
            self.reasons.push(fault.at(place()));
            Tensor::Unknown
        });
        for (i, output) in proto.output.iter().enumerate() {
            if i > 0 && self.readers.contains_key(output.as_str()) && !output.is_empty() {
                let why = format!("its output {} is used", i + 1);
                let fault = Fault::new(
                    why,
                    "only the first output exists here, export for inference",
                );
                self.reasons.push(fault.at(place()));
            }
            if !output.is_empty() {
                let meaning = if i == 0 {
                    tensor.clone()
                } else {
                    Tensor::Unknown
                };
                self.bind(output, meaning, place);
            }
        }
    }

    /// The tensor a node's first output stands for.
    fn import(&mut self, index: usize, proto: &'a NodeProto, name: &str) -> Result<Tensor, Fault> {
        let operator = operators::find(&proto.domain, &proto.op_type)?;
        let attributes = Attributes(&proto.attribute);
        attributes.check(operator.attributes)?;
        if proto.input.len() > operator.inputs {
            let why = format!("has {} inputs of {}", proto.input.len(), operator.inputs);
            return Err(Fault::new(why, "export the model again"));
        }
        let inputs = (proto.input.iter())
            .map(|input| self.resolve(index, input))
            .collect::<Result<Vec<_>, _>>()?;
        if inputs.iter().any(|t| matches!(t, Some(Tensor::Unknown))) {
            return Ok(Tensor::Unknown);
        }
        let node = NodeView {
            proto,
            name: name.to_owned(),
            attributes,
            inputs,
        };
        (operator.import)(self, &node)
    }

    /// What an input stands for; `None` where an optional input is left out.
    fn resolve(&self, index: usize, name: &str) -> Result<Option<Tensor>, Fault> {
        if name.is_empty() {
            return Ok(None);
        }
        if let Some(tensor) = self.tensors.get(name) {
            return Ok(Some(tensor.clone()));
        }
        let shown = name.escape_debug();
        Err(match self.writers.get(name) {
            Some(&writer) if writer >= index => Fault::new(
                format!("reads '{shown}' before it is written"),
                "nodes must stand in the order of computation, without cycles",
            ),
            _ => Fault::new(
                format!("reads '{shown}', which nothing writes"),
                "the file is damaged, export the model again",
            ),
        })
    }

    fn output(&mut self, name: &str) {
        match self.tensors.get(name) {
            Some(Tensor::Value(id)) => {
                self.graph.output = *id;
                // Behind an Identity, the model's interface keeps its name.
                if *id != self.graph.input {
                    self.graph.values[id.0].name = name.to_owned();
                }
            }
            Some(Tensor::Unknown) => {}
            Some(Tensor::Constant(_)) => self.refuse_output(name, "is constant"),
            None => self.refuse_output(name, "is written by no node"),
        }
    }

    fn refuse_output(&mut self, name: &str, why: &str) {
        let why = format!("output '{}' {why}", name.escape_debug());
        let fault = Fault::new(why, "export the model again");
        self.reasons.push(fault.at(Place::Model));
    }

    /// The node's own name if it has one that no other has.
    fn node_name(&mut self, index: usize, proto: &NodeProto) -> String {
        let base = if proto.name.is_empty() {
            format!("{}_{index}", proto.op_type)
        } else {
            proto.name.clone()
        };
        fresh(&mut self.node_names, base)
    }

    /// A tensor name that the file does not have.
    pub(super) fn fresh_name(&mut self, base: String) -> String {
        fresh(&mut self.names, base)
    }

    pub(super) fn fresh_node_name(&mut self, base: String) -> String {
        fresh(&mut self.node_names, base)
    }

    /// A dense parameter made from a constant of the file. The same constant with the same values is
    /// the same parameter.
    pub(super) fn parameter(
        &mut self,
        origin: &str,
        shape: &[usize],
        values: Vec<f32>,
    ) -> Result<ParamId, Fault> {
        check_finite(origin, &values)?;
        let same = |id: &&ParamId| {
            let p = self.graph.parameter(**id);
            p.shape == shape && p.free() == values
        };
        let made = self.made_from.get(origin);
        if let Some(&id) = made.and_then(|ids| ids.iter().find(same)) {
            return Ok(id);
        }
        let name = if self.parameter_names.insert(origin.to_owned()) {
            origin.to_owned()
        } else {
            self.fresh_name(origin.to_owned())
        };
        let parameter = Parameter::dense(name, shape, values);
        let id = self.graph.add_parameter(parameter);
        self.made_from
            .entry(origin.to_owned())
            .or_default()
            .push(id);
        Ok(id)
    }

    /// A dense vector that the file does not have.
    pub(super) fn made_up(&mut self, base: String, values: Vec<f32>) -> Result<ParamId, Fault> {
        let name = self.fresh_name(base);
        self.parameter(&name, &[values.len()], values)
    }

    /// Adds the node's operator, writing the node's output.
    pub(super) fn push(
        &mut self,
        node: &NodeView,
        op: Op,
        inputs: &[ValueId],
    ) -> Result<Tensor, Fault> {
        let output = node.proto.output.first().cloned().unwrap_or_default();
        self.push_as(node.name.clone(), output, op, inputs)
    }

    /// Adds an operator.
    pub(super) fn push_as(
        &mut self,
        node: String,
        output: String,
        op: Op,
        inputs: &[ValueId],
    ) -> Result<Tensor, Fault> {
        let id = self.graph.push(node, op, inputs)?;
        check_size(&self.graph.value(id).shape)?;
        self.graph.values[id.0].name = output;
        Ok(Tensor::Value(id))
    }

    /// Whether the only reader of this input's value is this node.
    pub(super) fn reads_alone(&self, node: &NodeView, input: usize, value: ValueId) -> bool {
        let name = &node.proto.input[input];
        self.graph.value(value).name == *name && self.readers.get(name.as_str()) == Some(&1)
    }
}

impl NodeView<'_> {
    pub(super) fn tensor(&self, i: usize) -> Option<&Tensor> {
        self.inputs.get(i).and_then(Option::as_ref)
    }

    /// An input that must be computed.
    pub(super) fn value(&self, i: usize) -> Result<ValueId, Fault> {
        match self.tensor(i) {
            Some(Tensor::Value(id)) => Ok(*id),
            Some(_) => Err(Fault::new(
                format!("input {} is constant", i + 1),
                "simplify the model first, so that constants are folded",
            )),
            None => Err(missing(i)),
        }
    }

    /// An input that must be known.
    pub(super) fn constant(&self, i: usize) -> Result<&Rc<Constant>, Fault> {
        self.optional(i)?.ok_or_else(|| missing(i))
    }

    /// An input that must be known where present.
    pub(super) fn optional(&self, i: usize) -> Result<Option<&Rc<Constant>>, Fault> {
        match self.tensor(i) {
            Some(Tensor::Constant(constant)) => Ok(Some(constant)),
            Some(_) => Err(Fault::new(
                format!(
                    "input {} ('{}') is computed, not constant",
                    i + 1,
                    self.proto.input[i].escape_debug()
                ),
                "only weights and shapes stored in the file can be compressed, \
                 make it an initializer, or simplify the model so that constants are folded",
            )),
            None => Ok(None),
        }
    }
}

fn missing(i: usize) -> Fault {
    Fault::new(
        format!("input {} is missing", i + 1),
        "the file is damaged, export the model again",
    )
}

fn fresh(names: &mut HashSet<String>, base: String) -> String {
    let mut name = base.clone();
    // Not from 2 upwards: a file of equal names alone would take quadratic time.
    let mut suffix = names.len();
    while !names.insert(name.clone()) {
        name = format!("{base}_{suffix}");
        suffix += 1;
    }
    name
}

pub(super) fn check_finite(name: &str, values: &[f32]) -> Result<(), Fault> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(i) => Err(Fault::new(
            format!("'{}' holds {} at {i}", name.escape_debug(), values[i]),
            "train again with a lower learning rate, or repair the weights",
        )),
        None => Ok(()),
    }
}

/// Refuses per-example shapes that are empty or out of all proportion.
pub(super) fn check_size(shape: &[usize]) -> Result<(), Fault> {
    let len = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d));
    match len {
        Some(1..=MAX_ELEMENTS) if !shape.is_empty() => Ok(()),
        _ => Err(Fault::new(
            format!("has a value of shape {shape:?} per example"),
            format!("1 to {MAX_ELEMENTS} elements are allowed"),
        )),
    }
}
