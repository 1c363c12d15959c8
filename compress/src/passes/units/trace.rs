//! Which elements of all values and parameters belong together. Every element of every value carries
//! the set it belongs to; an operator joins sets, hands them on, or begins new ones.

use super::arrange::{Source, sources, spread};
use super::atoms::Atoms;
use super::coupling::{Coupling, FIXED, Role, Slices, Unit};
use super::numbers::{Numbers, axis_of, cut};
use trainer::graph::strides::Split;
use trainer::graph::{Graph, Node, Op, ParamId, Recurrent, ValueId};

pub(super) struct Tracer<'g> {
    graph: &'g Graph,
    atoms: Atoms,
    /// For each value the set of each element.
    values: Vec<Vec<Unit>>,
    parameters: Vec<Vec<Slices>>,
    /// Parameters whose elements stand beside elements of a value.
    mirrors: Vec<(ParamId, Vec<Unit>)>,
}

impl<'g> Tracer<'g> {
    pub(super) fn run(graph: &'g Graph) -> Coupling {
        let mut tracer = Self {
            graph,
            atoms: Atoms::new(),
            values: vec![Vec::new(); graph.values.len()],
            parameters: vec![Vec::new(); graph.parameters.len()],
            mirrors: Vec::new(),
        };
        tracer.values[graph.input.0] = vec![FIXED; graph.value(graph.input).len()];
        for node in &graph.nodes {
            tracer.values[node.output.0] = tracer.node(node);
        }
        tracer.fix(graph.output);
        tracer.finish()
    }

    fn node(&mut self, node: &Node) -> Vec<Unit> {
        let len = self.graph.value(node.output).len();
        if let Some(sources) = sources(self.graph, node) {
            return self.moved(node, &sources);
        }
        match &node.op {
            Op::Gemm { weight, bias } => {
                let columns = self.along_last(node.inputs[0]);
                let rows = self.fresh(self.size(*weight, 0));
                self.slices(*weight, 0, &rows, Role::Makes);
                self.slices(*weight, 1, &columns, Role::Reads);
                self.vector(*bias, &rows);
                repeated(&rows, len)
            }
            Op::Conv {
                weight,
                bias,
                groups,
                ..
            } => {
                let rows = self.convolution(node.inputs[0], *weight, *groups);
                self.vector(*bias, &rows);
                planes(&rows, len)
            }
            Op::ConvTranspose {
                weight,
                bias,
                groups: 1,
                ..
            } => {
                let columns = self.channels(node.inputs[0]);
                let rows = self.fresh(self.size(*weight, 1));
                self.slices(*weight, 0, &columns, Role::Reads);
                self.slices(*weight, 1, &rows, Role::Makes);
                self.vector(*bias, &rows);
                planes(&rows, len)
            }
            Op::MaxPool { .. } | Op::AveragePool { .. } | Op::GlobalAveragePool => {
                planes(&self.channels(node.inputs[0]), len)
            }
            Op::BatchNormalization {
                scale,
                bias,
                mean,
                variance,
                ..
            } => {
                let channels = self.channels(node.inputs[0]);
                for id in [scale, bias, mean, variance] {
                    self.vector(Some(*id), &channels);
                }
                planes(&channels, len)
            }
            Op::ReduceMean { .. } => self.reduced(node.inputs[0], node.output),
            Op::Add | Op::Sub | Op::Mul | Op::Div => self.combined(node),
            Op::PRelu { slope } => self.slopes(node.inputs[0], *slope),
            Op::Constant { value } => {
                let elements = self.fresh(len);
                self.mirrors.push((*value, elements.clone()));
                elements
            }
            Op::Recurrent(layer) => self.recurrent(layer, node.inputs[0], len),
            _ => {
                node.inputs.iter().for_each(|&input| self.fix(input));
                vec![FIXED; len]
            }
        }
    }

    /// Units as an operator moves them. Padding belongs to the plane beside it, or stays.
    fn moved(&mut self, node: &Node, sources: &[Source]) -> Vec<Unit> {
        let within_planes = match &node.op {
            // Channels that padding adds are nobody's.
            Op::Pad { before, after, .. } => {
                let axis = self.axis(node.inputs[0]);
                axis.is_some_and(|axis| before[axis] == 0 && after[axis] == 0)
            }
            _ => true,
        };
        let unit = |source: &Source| match *source {
            Source::Element { input, place } => self.values[node.inputs[input].0][place],
            Source::Padding { nearest } if within_planes => self.values[node.inputs[0].0][nearest],
            Source::Padding { .. } => FIXED,
        };
        sources.iter().map(unit).collect()
    }

    fn size(&self, parameter: ParamId, axis: usize) -> usize {
        self.graph.parameter(parameter).shape[axis]
    }

    fn fresh(&mut self, count: usize) -> Vec<Unit> {
        (0..count).map(|_| self.atoms.fresh()).collect()
    }

    fn fix(&mut self, value: ValueId) {
        self.atoms.fix(&self.values[value.0]);
    }

    /// A parameter's units along an axis. Where it has some there already, both are one.
    fn slices(&mut self, parameter: ParamId, axis: usize, units: &[Unit], role: Role) {
        let mut known = self.parameters[parameter.0].iter();
        let Some(known) = known.find(|s| s.axis == axis).cloned() else {
            let units = units.to_vec();
            self.parameters[parameter.0].push(Slices { axis, units, role });
            return;
        };
        for (a, &b) in known.units.into_iter().zip(units) {
            self.atoms.join(a, b);
        }
    }

    fn vector(&mut self, parameter: Option<ParamId>, units: &[Unit]) {
        if let Some(parameter) = parameter {
            self.slices(parameter, 0, units, Role::Makes);
        }
    }

    /// One unit for each place along an axis of a value.
    fn along(&mut self, value: ValueId, axis: usize) -> Vec<Unit> {
        let split = Split::new(&self.graph.value(value).shape, axis);
        let mut units: Vec<Option<Unit>> = vec![None; split.size];
        for (place, &atom) in self.values[value.0].iter().enumerate() {
            let unit = &mut units[split.along(place)];
            *unit = Some(unit.map_or(atom, |unit| self.atoms.join(unit, atom)));
        }
        units.into_iter().map(|u| u.unwrap_or(FIXED)).collect()
    }

    fn channels(&mut self, value: ValueId) -> Vec<Unit> {
        self.along(value, 0)
    }

    fn along_last(&mut self, value: ValueId) -> Vec<Unit> {
        self.along(value, self.graph.value(value).shape.len() - 1)
    }

    /// The units of a convolution's output channels. Of a depthwise one they are those of its input;
    /// of a grouped one the channels at the same place of all groups are one, so that all groups keep
    /// equally many.
    fn convolution(&mut self, input: ValueId, weight: ParamId, groups: usize) -> Vec<Unit> {
        let columns = self.channels(input);
        let out = self.size(weight, 0);
        if groups > 1 && groups == columns.len() {
            let rows: Vec<Unit> = (0..out).map(|o| columns[o * groups / out]).collect();
            self.slices(weight, 0, &rows, Role::Makes);
            return rows;
        }
        let each = columns.len() / groups;
        for (place, &unit) in columns.iter().enumerate() {
            self.atoms.join(columns[place % each], unit);
        }
        let rows = repeated(&self.fresh(out / groups), out);
        self.slices(weight, 0, &rows, Role::Makes);
        self.slices(weight, 1, &columns[..each], Role::Reads);
        rows
    }

    /// What is averaged together and not of one unit stays.
    fn reduced(&mut self, input: ValueId, output: ValueId) -> Vec<Unit> {
        let (from, to) = (
            &self.graph.value(input).shape,
            &self.graph.value(output).shape,
        );
        let len = to.iter().product();
        let mut seen: Vec<Option<Unit>> = vec![None; len];
        let mut mixed = vec![false; len];
        let atoms: Vec<Unit> = self.values[input.0].clone();
        let targets = spread(to, from);
        for (&atom, &target) in atoms.iter().zip(&targets) {
            let atom = self.atoms.find(atom);
            mixed[target] |= *seen[target].get_or_insert(atom) != atom;
        }
        let pairs = atoms.iter().zip(&targets);
        let mixed: Vec<Unit> = pairs.filter(|(_, t)| mixed[**t]).map(|(a, _)| *a).collect();
        self.atoms.fix(&mixed);
        seen.into_iter().map(|u| u.unwrap_or(FIXED)).collect()
    }

    /// What each element of an array is combined with; an element of several units stays.
    fn partners(&mut self, places: &[usize], units: &[Unit], len: usize) -> Vec<Unit> {
        let mut partners: Vec<Option<Unit>> = vec![None; len];
        for (&place, &unit) in places.iter().zip(units) {
            let unit = self.atoms.find(unit);
            let partner = partners[place].get_or_insert(unit);
            if *partner != unit {
                *partner = FIXED;
            }
        }
        partners.into_iter().map(|u| u.unwrap_or(FIXED)).collect()
    }

    /// Two values element by element. An element that is used for several units stays; all others are
    /// one with what they are combined with.
    fn combined(&mut self, node: &Node) -> Vec<Unit> {
        let shape = &self.graph.value(node.output).shape;
        let places: Vec<Vec<usize>> = node
            .inputs
            .iter()
            .map(|&v| spread(&self.graph.value(v).shape, shape))
            .collect();
        let len = shape.iter().product();
        let units = |tracer: &Self, i: usize| -> Vec<Unit> {
            let own = &tracer.values[node.inputs[i].0];
            places[i].iter().map(|&place| own[place]).collect()
        };
        // The one that is not repeated decides; of two that both are, nothing is known.
        let whole = (0..2).find(|&i| self.values[node.inputs[i].0].len() == len);
        let Some(whole) = whole else {
            node.inputs.iter().for_each(|&input| self.fix(input));
            return vec![FIXED; len];
        };
        let other = 1 - whole;
        let result = units(self, whole);
        let count = self.values[node.inputs[other].0].len();
        let partners = self.partners(&places[other], &result, count);
        for (place, partner) in partners.into_iter().enumerate() {
            let own = self.values[node.inputs[other].0][place];
            self.atoms.join(own, partner);
        }
        result
    }

    fn slopes(&mut self, input: ValueId, slope: ParamId) -> Vec<Unit> {
        let units = self.values[input.0].clone();
        let shape = &self.graph.parameter(slope).shape;
        let places = spread(shape, &self.graph.value(input).shape);
        let count = self.graph.parameter(slope).len();
        let partners = self.partners(&places, &units, count);
        self.mirrors.push((slope, partners));
        units
    }

    /// A hidden unit is a row of every gate and a column of the recurrence.
    fn recurrent(&mut self, layer: &Recurrent, input: ValueId, len: usize) -> Vec<Unit> {
        let columns = self.along_last(input);
        let hidden = self.fresh(self.size(layer.recurrence, 1));
        let gates = repeated(&hidden, self.size(layer.weight, 0));
        self.slices(layer.weight, 0, &gates, Role::Makes);
        self.slices(layer.weight, 1, &columns, Role::Reads);
        self.slices(layer.recurrence, 0, &gates, Role::Makes);
        self.slices(layer.recurrence, 1, &hidden, Role::Reads);
        let both = repeated(&hidden, 2 * gates.len());
        self.vector(layer.bias, &both);
        self.vector(layer.initial_hidden, &hidden);
        self.vector(layer.initial_cell, &hidden);
        repeated(&hidden, len)
    }

    /// The first axis along which alone a value's units differ.
    fn axis(&mut self, value: ValueId) -> Option<usize> {
        let shape = &self.graph.value(value).shape;
        axis_of(&mut self.atoms, shape, &self.values[value.0])
    }

    /// Units whose elements do not make up slices of every value stay; the others are numbered.
    fn finish(mut self) -> Coupling {
        let graph = self.graph;
        let mut axes = Vec::new();
        for (value, units) in graph.values.iter().zip(&self.values) {
            let axis = axis_of(&mut self.atoms, &value.shape, units);
            if axis.is_none() {
                self.atoms.fix(units);
            }
            axes.push(axis.filter(|_| !units.is_empty()));
        }
        for (parameter, units) in std::mem::take(&mut self.mirrors) {
            let shape = &graph.parameter(parameter).shape;
            match axis_of(&mut self.atoms, shape, &units) {
                Some(axis) => {
                    let units = cut(shape, axis, &units);
                    self.slices(parameter, axis, &units, Role::Makes);
                }
                None => self.atoms.fix(&units),
            }
        }
        self.numbered(&axes)
    }

    /// In order of the nodes that make them.
    fn numbered(mut self, axes: &[Option<usize>]) -> Coupling {
        let mut numbers = Numbers::new();
        let mut values = vec![None; axes.len()];
        let written = self.graph.nodes.iter().map(|node| node.output);
        for value in std::iter::once(self.graph.input).chain(written) {
            let units = &self.values[value.0];
            values[value.0] = axes[value.0].map(|axis| Slices {
                axis,
                units: cut(&self.graph.value(value).shape, axis, units)
                    .into_iter()
                    .map(|unit| numbers.of(self.atoms.find(unit)))
                    .collect(),
                role: Role::Makes,
            });
        }
        for slices in self.parameters.iter_mut().flatten() {
            for unit in &mut slices.units {
                *unit = numbers.of(self.atoms.find(*unit));
            }
        }
        Coupling::new(values, self.parameters, numbers.count as usize)
    }
}

/// The units again and again.
fn repeated(units: &[Unit], len: usize) -> Vec<Unit> {
    units.iter().copied().cycle().take(len).collect()
}

/// Each unit as often as its plane has elements.
fn planes(units: &[Unit], len: usize) -> Vec<Unit> {
    let plane = len / units.len().max(1);
    let repeat = |&unit: &Unit| std::iter::repeat_n(unit, plane);
    units.iter().flat_map(repeat).collect()
}
