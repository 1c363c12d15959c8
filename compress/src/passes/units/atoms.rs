use super::coupling::{FIXED, Unit};

/// Sets of things that stay or go together (union–find). That of [`FIXED`] stays.
pub(super) struct Atoms {
    parents: Vec<Unit>,
}

impl Atoms {
    pub(super) fn new() -> Self {
        Self {
            parents: vec![FIXED],
        }
    }

    /// One more, alone in its set.
    pub(super) fn fresh(&mut self) -> Unit {
        let atom = self.parents.len() as Unit;
        self.parents.push(atom);
        atom
    }

    /// What stands for an atom's set.
    pub(super) fn find(&mut self, mut atom: Unit) -> Unit {
        while self.parents[atom as usize] != atom {
            let above = self.parents[self.parents[atom as usize] as usize];
            self.parents[atom as usize] = above;
            atom = above;
        }
        atom
    }

    /// Makes two sets one. The lower stands for both, so that [`FIXED`] stands for all it meets.
    pub(super) fn join(&mut self, a: Unit, b: Unit) -> Unit {
        let (a, b) = (self.find(a), self.find(b));
        let (low, high) = (a.min(b), a.max(b));
        self.parents[high as usize] = low;
        low
    }

    pub(super) fn fix(&mut self, atoms: &[Unit]) {
        for &atom in atoms {
            self.join(atom, FIXED);
        }
    }

    pub(super) fn join_all(&mut self, atoms: impl IntoIterator<Item = Unit>) -> Option<Unit> {
        atoms.into_iter().reduce(|a, b| self.join(a, b))
    }
}
