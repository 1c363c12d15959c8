use super::trace::Tracer;
use trainer::graph::{Graph, ParamId, ValueId};

/// What goes or stays as one, numbered from 1.
pub type Unit = u32;

/// Stands for all that must stay: the network's input and output, and what could not be followed.
pub const FIXED: Unit = 0;

/// What a parameter's slices do for their units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// They make the unit: rows of a weight, a bias, a normalization.
    Makes,
    /// They read the unit: columns of a weight.
    Reads,
}

/// The units along an axis of a value or parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slices {
    /// Cut along.
    pub axis: usize,
    /// The unit of each slice, several of which may belong to one.
    pub units: Vec<Unit>,
    /// Of a parameter.
    pub role: Role,
}

impl Slices {
    /// Whether a slice stays.
    pub fn keeps(&self, place: usize, gone: &[bool]) -> bool {
        !gone[self.units[place] as usize]
    }

    /// How many slices stay.
    pub fn kept(&self, gone: &[bool]) -> usize {
        (0..self.units.len())
            .filter(|&i| self.keeps(i, gone))
            .count()
    }
}

/// The units of a graph and all that hangs on each.
///
/// A unit acts on other units through the columns that read it alone; whatever else would let it do so
/// (a softmax, a normalization over channels, a reshape that tears it apart) makes it [`FIXED`]. So a
/// unit whose columns are zero can go without a change to the network's function.
#[derive(Clone, Debug)]
pub struct Coupling {
    /// By [`ValueId`]; of values that no node writes, nothing.
    values: Vec<Option<Slices>>,
    /// By [`ParamId`].
    parameters: Vec<Vec<Slices>>,
    /// Units and [`FIXED`].
    count: usize,
}

impl Coupling {
    /// Follows the units through a graph.
    pub fn of(graph: &Graph) -> Self {
        Tracer::run(graph)
    }

    pub(super) fn new(
        values: Vec<Option<Slices>>,
        parameters: Vec<Vec<Slices>>,
        count: usize,
    ) -> Self {
        Self {
            values,
            parameters,
            count,
        }
    }

    /// Units, and [`FIXED`] among them: the length of what is indexed by units.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The units of a value.
    pub fn of_value(&self, value: ValueId) -> Option<&Slices> {
        self.values.get(value.0)?.as_ref()
    }

    /// The slices of a parameter.
    pub fn of_parameter(&self, parameter: ParamId) -> &[Slices] {
        self.parameters.get(parameter.0).map_or(&[], Vec::as_slice)
    }

    /// The units of each layer, in order of the nodes that make them: those that stand side by side in
    /// some value. Through a concatenation layers are one.
    pub fn layers(&self) -> Vec<Vec<Unit>> {
        let mut atoms = super::atoms::Atoms::new();
        for _ in 1..self.count {
            atoms.fresh();
        }
        for slices in self.values.iter().flatten() {
            atoms.join_all(slices.units.iter().copied().filter(|&u| u != FIXED));
        }
        let mut layers: Vec<Vec<Unit>> = vec![Vec::new(); self.count];
        for unit in 1..self.count as Unit {
            layers[atoms.find(unit) as usize].push(unit);
        }
        layers.retain(|units| !units.is_empty());
        layers
    }

    /// Of every value whose units would all go, lets the one of the highest score stay: a network must
    /// stay one.
    pub fn spare(&self, gone: &mut [bool], score: impl Fn(Unit) -> f64) {
        for slices in self.values.iter().flatten() {
            if slices.kept(gone) == 0 {
                let units = slices.units.iter().copied();
                let best = units.reduce(|a, b| if score(b) > score(a) { b } else { a });
                best.into_iter()
                    .for_each(|unit| gone[unit as usize] = false);
            }
        }
    }
}
