//! What the tracer's sets become: slices along an axis, and numbers.

use super::atoms::Atoms;
use super::coupling::{FIXED, Unit};
use trainer::graph::strides::Split;

/// Numbers for sets, by and by.
pub(super) struct Numbers {
    known: Vec<Option<Unit>>,
    /// Numbers given, and that of [`FIXED`].
    pub(super) count: Unit,
}

impl Numbers {
    pub(super) fn new() -> Self {
        Self {
            known: vec![Some(FIXED)],
            count: 1,
        }
    }

    pub(super) fn of(&mut self, set: Unit) -> Unit {
        let place = set as usize;
        self.known.resize(self.known.len().max(place + 1), None);
        *self.known[place].get_or_insert_with(|| {
            self.count += 1;
            self.count - 1
        })
    }
}

/// The first axis along which alone units differ.
pub(super) fn axis_of(atoms: &mut Atoms, shape: &[usize], units: &[Unit]) -> Option<usize> {
    (0..shape.len()).find(|&axis| {
        let split = Split::new(shape, axis);
        let mut seen: Vec<Option<Unit>> = vec![None; split.size];
        units.iter().enumerate().all(|(place, &unit)| {
            let unit = atoms.find(unit);
            *seen[split.along(place)].get_or_insert(unit) == unit
        })
    })
}

/// The unit at each place along an axis.
pub(super) fn cut(shape: &[usize], axis: usize, units: &[Unit]) -> Vec<Unit> {
    let split = Split::new(shape, axis);
    (0..split.size).map(|i| units[i * split.inner]).collect()
}
