//! Which units read which: what is alive, and what goes into biases in its stead.

use super::coupling::{Coupling, FIXED, Role, Slices, Unit};
use super::known::{Known, constant, known};
use std::collections::HashMap;
use trainer::graph::strides::Split;
use trainer::graph::{Graph, Node, Op, ParamId};

/// The weights through which units read units.
pub(in crate::passes) struct Reads {
    weights: Vec<Weight>,
}

/// Rows that make units from those that columns read.
struct Weight {
    node: usize,
    rows: Vec<Unit>,
    columns: Vec<Unit>,
    /// What a column's input always is; it goes into the bias when its unit goes.
    constants: Vec<Known>,
    /// Whether a row reads a column, `[rows, columns]`.
    reads: Vec<bool>,
    /// Sums over a kernel's taps, `[rows, columns]`.
    sums: Vec<f32>,
}

impl Reads {
    /// Of a graph whose units these are.
    pub(in crate::passes) fn of(graph: &Graph, coupling: &Coupling) -> Self {
        let known = known(graph);
        let mut weights = Vec::new();
        for (place, node) in graph.nodes.iter().enumerate() {
            for id in node.op.parameters() {
                if let Some((rows, columns)) = matrix(coupling, id) {
                    let mut weight = Weight::new(graph, id, rows, columns);
                    weight.node = place;
                    weight.constants = constants(graph, node, id, columns.units.len(), &known);
                    weights.push(weight);
                }
            }
        }
        weights.retain(|w| !w.rows.is_empty());
        Self { weights }
    }

    /// Which of `count` units the output depends on, by more than a constant.
    pub(in crate::passes) fn alive(&self, count: usize) -> Vec<bool> {
        let mut rows: HashMap<Unit, Vec<(&Weight, usize)>> = HashMap::new();
        for weight in &self.weights {
            for (row, &unit) in weight.rows.iter().enumerate() {
                rows.entry(unit).or_default().push((weight, row));
            }
        }
        let mut alive = vec![false; count];
        let mut next = vec![FIXED];
        while let Some(unit) = next.pop() {
            if !std::mem::replace(&mut alive[unit as usize], true) {
                let rows = rows.get(&unit).into_iter().flatten();
                next.extend(rows.flat_map(|(weight, row)| weight.read_by(*row)));
            }
        }
        alive
    }

    /// For each node what its biases grow by when these units go.
    pub(in crate::passes) fn shifts(&self, gone: &[bool]) -> Vec<(usize, Vec<f32>)> {
        let shifts = self.weights.iter().map(|w| (w.node, w.shifts(gone)));
        shifts
            .filter(|(_, shifts)| shifts.iter().any(|&s| s != 0.0))
            .collect()
    }
}

impl Weight {
    fn new(graph: &Graph, id: ParamId, rows: &Slices, columns: &Slices) -> Self {
        let parameter = graph.parameter(id);
        let count = rows.units.len() * columns.units.len();
        let (mut reads, mut sums) = (vec![false; count], vec![0.0; count]);
        let row_of = Split::new(&parameter.shape, rows.axis);
        let column_of = Split::new(&parameter.shape, columns.axis);
        for (place, w) in parameter.materialize().into_iter().enumerate() {
            let cell = row_of.along(place) * columns.units.len() + column_of.along(place);
            reads[cell] |= w != 0.0;
            sums[cell] += w;
        }
        Self {
            node: 0,
            rows: rows.units.clone(),
            columns: columns.units.clone(),
            constants: Vec::new(),
            reads,
            sums,
        }
    }

    fn read_by(&self, row: usize) -> impl Iterator<Item = Unit> {
        let width = self.columns.len();
        let reads = &self.reads[row * width..(row + 1) * width];
        let columns = self.columns.iter().zip(reads).zip(&self.constants);
        columns
            .filter(|((_, reads), constant)| **reads && constant.is_none())
            .map(|((unit, _), _)| *unit)
    }

    fn shifts(&self, gone: &[bool]) -> Vec<f32> {
        let shift = |row: &[f32]| {
            let columns = row.iter().zip(&self.columns).zip(&self.constants);
            let going = columns.filter(|((_, unit), _)| gone[**unit as usize]);
            going.map(|((w, _), c)| w * c.unwrap_or(0.0)).sum()
        };
        self.sums.chunks(self.columns.len()).map(shift).collect()
    }
}

/// Rows and columns of a weight that has both.
fn matrix(coupling: &Coupling, id: ParamId) -> Option<(&Slices, &Slices)> {
    let of = |role: Role| coupling.of_parameter(id).iter().find(|s| s.role == role);
    Some((of(Role::Makes)?, of(Role::Reads)?))
}

/// What each column's input always is, as far as a bias can say it.
fn constants(
    graph: &Graph,
    node: &Node,
    id: ParamId,
    columns: usize,
    known: &[Vec<Known>],
) -> Vec<Known> {
    let input = node.inputs[0];
    let value = graph.value(input);
    // Whether anything but 0 can go into the bias, and how far apart the places of a column are.
    let (movable, axis) = match &node.op {
        Op::Gemm { .. } => (true, value.shape.len() - 1),
        Op::Conv { window, groups, .. } => (*groups == 1 && window.padding == [0; 4], 0),
        Op::ConvTranspose { .. } => (false, 0),
        // The recurrence reads its own units.
        Op::Recurrent(layer) if layer.weight == id => (false, 1),
        _ => return vec![None; columns],
    };
    let split = Split::new(&value.shape, axis);
    let movable = movable && is_alone(graph, node, id);
    let mut elements = vec![Vec::new(); columns];
    for (place, &known) in known[input.0].iter().enumerate() {
        elements[split.along(place) % columns].push(known);
    }
    let of_column = |elements: Vec<Known>| constant(elements.into_iter(), !movable);
    elements.into_iter().map(of_column).collect()
}

/// Whether a node shares neither its weight nor its bias.
fn is_alone(graph: &Graph, node: &Node, id: ParamId) -> bool {
    let shared = |id: ParamId| {
        let users = graph.nodes.iter().flat_map(|n| n.op.parameters());
        users.filter(|&user| user == id).count() > 1
    };
    !shared(id) && !node.op.bias().is_some_and(shared)
}
