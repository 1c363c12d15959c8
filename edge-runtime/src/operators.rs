//! The operators of a model, read once, with what was prepared for them.

#[cfg(x86)]
use crate::kernels::{self, Prepared};
use crate::session::execute;
use no_std_core::Model;
use no_std_core::operator::Operator;
use std::vec::Vec;

/// All operators; none where memory is short, and then they are read each time.
#[derive(Debug)]
pub(crate) struct Operators<'a> {
    read: Vec<Operator<'a>>,
    /// For each of these, if it is wished, weights that were set out for this processor.
    #[cfg(x86)]
    prepared: Vec<Option<Prepared>>,
}

impl<'a> Operators<'a> {
    pub(crate) fn of(model: &Model<'a>) -> Self {
        let mut read = Vec::new();
        if read.try_reserve_exact(model.operator_count()).is_ok() {
            read.extend(model.operators().take(model.operator_count()));
        }
        Self {
            read,
            #[cfg(x86)]
            prepared: Vec::new(),
        }
    }

    /// Sets out weights for this processor, where that helps.
    #[cfg(x86)]
    pub(crate) fn prepare(&mut self) {
        if self.prepared.try_reserve_exact(self.read.len()).is_ok() {
            self.prepared.extend(self.read.iter().map(kernels::prepare));
        }
    }

    #[cfg(not(x86))]
    pub(crate) fn prepare(&mut self) {}

    /// Executes them in order and shows each with the arena as it has left it.
    pub(crate) fn execute(
        &self,
        model: &Model<'a>,
        arena: &mut [i8],
        mut observe: impl FnMut(&Operator<'a>, &[i8]),
    ) {
        if self.read.is_empty() {
            model.visit_operators(|op| {
                execute(op, arena);
                observe(op, arena);
            });
        }
        for (place, op) in self.read.iter().enumerate() {
            if !self.is_done(place, op, arena) {
                execute(op, arena);
            }
            observe(op, arena);
        }
    }

    /// Whether an operator was executed with what is prepared for it.
    #[cfg(x86)]
    fn is_done(&self, place: usize, op: &Operator, arena: &mut [i8]) -> bool {
        let prepared = self.prepared.get(place).and_then(Option::as_ref);
        prepared.is_some_and(|prepared| kernels::run(op, prepared, arena))
    }

    #[cfg(not(x86))]
    fn is_done(&self, _place: usize, _op: &Operator, _arena: &mut [i8]) -> bool {
        false
    }
}
