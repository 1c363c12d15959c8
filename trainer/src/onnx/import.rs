use super::attributes::Attributes;
use super::error::{Fault, Place, Reason};
use super::operators::{self, Import};
use super::tensor::{Constant, Kind};
use super::value::{Computed, Tensor, canonical};
use crate::graph::{Graph, Grid, Op, ParamId, Parameter, ValueId};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::rc::Rc;
use tract_onnx::pb::{GraphProto, NodeProto};

/// Most elements of one example's value. A model for kilobytes of memory has none near this; beyond
/// it, a damaged shape is the likelier explanation.
const MAX_ELEMENTS: usize = 1 << 24;

/// What the first axis of the input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Batch {
    /// An axis like any other; one example is the whole tensor.
    Whole,
    /// So many examples, which no operator may mix. Shapes have 1 in this place.
    Apart(usize),
}

/// A graph in the making.
pub(super) struct Importer<'a> {
    pub(super) graph: Graph,
    pub(super) opset: i64,
    pub(super) batch: Batch,
    pub(super) reasons: Vec<Reason>,
    /// Where external data may be.
    pub(super) folder: Option<&'a Path>,
    tensors: HashMap<&'a str, Tensor>,
    /// Readers of each tensor, the model's outputs included.
    readers: HashMap<&'a str, usize>,
    /// The node that writes each tensor.
    writers: HashMap<&'a str, usize>,
    /// Every tensor name of the file, and those made up.
    names: HashSet<String>,
    /// Of the nodes of the file, each unlike all others.
    node_names: Vec<String>,
    taken_node_names: HashSet<String>,
    parameter_names: HashSet<String>,
    /// The parameters made from each constant.
    made_from: HashMap<String, Vec<ParamId>>,
}

/// A node with its inputs resolved.
pub(super) struct NodeView<'a> {
    pub(super) proto: &'a NodeProto,
    pub(super) name: String,
    pub(super) attributes: Attributes<'a>,
    pub(super) inputs: Vec<Option<Tensor>>,
    /// Which outputs are read.
    used: Vec<bool>,
}

impl<'a> Importer<'a> {
    /// Starts from the model's input, its per-example shape checked, and its initializers.
    pub(super) fn new(
        proto: &'a GraphProto,
        graph: Graph,
        opset: i64,
        batch: Batch,
        folder: Option<&'a Path>,
    ) -> Self {
        let mut importer = Self {
            opset,
            batch,
            folder,
            reasons: Vec::new(),
            tensors: HashMap::new(),
            readers: HashMap::new(),
            writers: HashMap::new(),
            names: HashSet::new(),
            node_names: Vec::new(),
            taken_node_names: HashSet::new(),
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
            let base = if node.name.is_empty() {
                format!("{}_{i}", node.op_type)
            } else {
                node.name.clone()
            };
            let name = fresh(&mut self.taken_node_names, base);
            self.node_names.push(name);
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
            let constant = match Constant::from_proto(tensor, self.folder) {
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
        let name = self.node_names[index].clone();
        let place = || Place::Node {
            name: name.clone(),
            operator: proto.op_type.clone(),
        };
        let first = self.graph.nodes.len();
        let tensors = self.import(index, proto, &name).unwrap_or_else(|fault| {
            self.reasons.push(fault.at(place()));
            vec![Tensor::Unknown; proto.output.len()]
        });
        self.name_new(first, &name, proto, &tensors);
        for (i, output) in proto.output.iter().enumerate() {
            let tensor = tensors.get(i).cloned();
            if tensor.is_none() && self.readers.contains_key(output.as_str()) && !output.is_empty()
            {
                let why = format!("its output {} is used", i + 1);
                let way_out = "it does not exist here, export for inference and without it";
                self.reasons.push(Fault::new(why, way_out).at(place()));
            }
            if !output.is_empty() {
                self.bind(output, tensor.unwrap_or(Tensor::Unknown), place);
            }
        }
    }

    /// Names what a node added: what stands for its outputs as the file does, the steps between after
    /// it.
    fn name_new(&mut self, first: usize, name: &str, proto: &NodeProto, tensors: &[Tensor]) {
        for i in first..self.graph.nodes.len() {
            let value = self.graph.nodes[i].output;
            let written = (tensors.iter().zip(&proto.output))
                .position(|(t, o)| t.value().is_some_and(|v| v.id == value) && !o.is_empty());
            let step = format!("{name}_{}", self.graph.nodes[i].op.name());
            let node_name = match written {
                Some(0) => name.to_owned(),
                _ => fresh(&mut self.taken_node_names, step.clone()),
            };
            self.graph.nodes[i].name = node_name;
            self.graph.values[value.0].name = match written {
                Some(output) => proto.output[output].clone(),
                None => self.fresh_name(format!("{step}_output")),
            };
        }
    }

    /// The tensors that a node's outputs stand for; the last ones may be missing.
    fn import(
        &mut self,
        index: usize,
        proto: &'a NodeProto,
        name: &str,
    ) -> Result<Vec<Tensor>, Fault> {
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
            return Ok(vec![Tensor::Unknown; proto.output.len()]);
        }
        let used = |o: &String| !o.is_empty() && self.readers.contains_key(o.as_str());
        let node = NodeView {
            proto,
            name: name.to_owned(),
            attributes,
            inputs,
            used: proto.output.iter().map(used).collect(),
        };
        if operator.own || !node.all_constant() {
            return self.call(operator.import, &node);
        }
        self.fold(operator.import, node)
    }

    fn call(&mut self, import: Import, node: &NodeView) -> Result<Vec<Tensor>, Fault> {
        match import {
            Import::One(import) => Ok(vec![import(self, node)?]),
            Import::Many(import) => import(self, node),
        }
    }

    /// A node of constants alone: computed by the graph it would become.
    fn fold(&mut self, import: Import, mut node: NodeView) -> Result<Vec<Tensor>, Fault> {
        let empty = Graph::new("constants", "", &[1]);
        let graph = std::mem::replace(&mut self.graph, empty);
        let made_from = std::mem::take(&mut self.made_from);
        let batch = std::mem::replace(&mut self.batch, Batch::Whole);
        let folded = self.compute(import, &mut node);
        (self.graph, self.made_from, self.batch) = (graph, made_from, batch);
        folded
    }

    fn compute(&mut self, import: Import, node: &mut NodeView) -> Result<Vec<Tensor>, Fault> {
        if let Some(Some(Tensor::Constant(first))) = node.inputs.first() {
            let first = first.clone();
            node.inputs[0] = Some(Tensor::Value(self.lift(&first)?));
        }
        let tensors = self.call(import, node)?;
        let values = crate::graph::reference::run_all(&self.graph, &[0.0]);
        let constant = |(tensor, name): (Tensor, &String)| match tensor {
            Tensor::Value(v) => {
                let values = values[v.id.0].clone();
                Tensor::constant(v.kind.constant(name, v.shape, values))
            }
            other => other,
        };
        let outputs = tensors.into_iter().zip(&node.proto.output);
        Ok(outputs.map(constant).collect())
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
            Some(Tensor::Value(value)) => {
                let value = value.clone();
                if let Err(fault) = self.hand_out(name, &value) {
                    self.reasons.push(fault.at(Place::Model));
                }
            }
            Some(Tensor::Unknown) => {}
            Some(Tensor::Constant(c)) if c.data.len() == 0 => {
                self.refuse_output(name, "is empty: an axis has a size of 0")
            }
            Some(Tensor::Constant(_)) => self.refuse_output(name, "does not depend on the input"),
            None => self.refuse_output(name, "is written by no node"),
        }
    }

    /// Makes a value the graph's output. Behind an Identity, the model's interface keeps its name.
    fn hand_out(&mut self, name: &str, value: &Computed) -> Result<(), Fault> {
        let id = self.under(value, &canonical(&value.shape))?;
        self.graph.output = id;
        if self.graph.values[id.0].name == name || id == self.graph.input {
            return Ok(());
        }
        if let Some(other) = self.graph.values.iter().position(|v| v.name == name) {
            self.graph.values[other].name = self.fresh_name(format!("{name}_source"));
        }
        self.graph.values[id.0].name = name.to_owned();
        if let Some(node) = self.graph.nodes.iter_mut().find(|n| n.name.is_empty()) {
            node.name = fresh(&mut self.taken_node_names, format!("{name}_shape"));
        }
        Ok(())
    }

    fn refuse_output(&mut self, name: &str, why: &str) {
        let why = format!("output '{}' {why}", name.escape_debug());
        let fault = Fault::new(why, "export the model again");
        self.reasons.push(fault.at(Place::Model));
    }

    /// A tensor name that the file does not have.
    pub(super) fn fresh_name(&mut self, base: String) -> String {
        fresh(&mut self.names, base)
    }

    /// A dense parameter made from a constant of the file. The same constant with the same values is
    /// the same parameter.
    pub(super) fn parameter(
        &mut self,
        origin: &str,
        shape: &[usize],
        values: Vec<f32>,
    ) -> Result<ParamId, Fault> {
        self.on_grid(origin, shape, values, None)
    }

    /// As [`Importer::parameter`], of values that lie on a grid.
    pub(super) fn on_grid(
        &mut self,
        origin: &str,
        shape: &[usize],
        values: Vec<f32>,
        grid: Option<Grid>,
    ) -> Result<ParamId, Fault> {
        check_finite(origin, &values)?;
        let same = |id: &&ParamId| {
            let p = self.graph.parameter(**id);
            p.shape == shape && p.free() == values && p.grid == grid
        };
        let made = self.made_from.get(origin);
        if let Some(&id) = made.and_then(|ids| ids.iter().find(same)) {
            return Ok(id);
        }
        let name = if self.parameter_names.insert(origin.to_owned()) && !origin.is_empty() {
            origin.to_owned()
        } else {
            self.fresh_name(origin.to_owned())
        };
        let mut parameter = Parameter::dense(name, shape, values);
        parameter.grid = grid;
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

    /// Adds an operator; its node and its value are named when the node of the file is done.
    pub(super) fn push(&mut self, op: Op, inputs: &[ValueId]) -> Result<ValueId, Fault> {
        let id = self.graph.push("", op, inputs)?;
        check_size(&self.graph.value(id).shape)?;
        Ok(id)
    }

    /// A constant as a value.
    pub(super) fn lift(&mut self, constant: &Constant) -> Result<Computed, Fault> {
        let shape = canonical(&constant.shape);
        check_size(&shape)?;
        let value = self.parameter(&constant.name, &shape, constant.reals())?;
        let id = self.push(Op::Constant { value }, &[])?;
        Ok(Computed {
            id,
            shape: constant.shape.clone(),
            kind: constant.kind,
        })
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

    /// An input that must be there.
    pub(super) fn required(&self, i: usize) -> Result<&Tensor, Fault> {
        self.tensor(i).ok_or_else(|| missing(i))
    }

    /// An input that must be computed.
    pub(super) fn value(&self, i: usize) -> Result<&Computed, Fault> {
        match self.required(i)? {
            Tensor::Value(value) => Ok(value),
            _ => Err(Fault::new(
                format!("input {} is constant, and another is computed", i + 1),
                "only the weights and settings of this operator can be constant, not what it works on",
            )),
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

    /// Whether all inputs are known, of which there are some.
    pub(super) fn all_constant(&self) -> bool {
        let known = |t: &Tensor| matches!(t, Tensor::Constant(_));
        !self.inputs.is_empty() && self.inputs.iter().flatten().all(known)
    }

    /// Whether output `i` is read.
    pub(super) fn used(&self, i: usize) -> bool {
        self.used.get(i).copied().unwrap_or(false)
    }

    /// The name of an output.
    pub(super) fn output_name(&self, i: usize) -> &str {
        self.proto.output.get(i).map_or("", String::as_str)
    }

    /// An integer list, from an attribute in old operator sets and an input in new ones.
    pub(super) fn ints(&self, name: &str, input: usize) -> Result<Option<Vec<i64>>, Fault> {
        match self.optional(input)? {
            Some(constant) => Ok(Some(constant.ints()?.to_vec())),
            None => Ok(self.attributes.ints(name)?.map(<[i64]>::to_vec)),
        }
    }
}

impl Kind {
    /// Real numbers as a constant of this kind.
    fn constant(self, name: &str, shape: Vec<usize>, values: Vec<f32>) -> Constant {
        if self == Kind::Float {
            return Constant::of_floats(name, shape, values);
        }
        let values = values.iter().map(|&v| v as i64).collect();
        Constant {
            kind: self,
            ..Constant::of_ints(name, shape, values)
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
        Some(1..=MAX_ELEMENTS) => Ok(()),
        _ => Err(Fault::new(
            format!("has a value of shape {shape:?} per example"),
            format!("1 to {MAX_ELEMENTS} elements are allowed"),
        )),
    }
}
