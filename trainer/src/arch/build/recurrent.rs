//! Recurrent layers in one direction or two.

use super::super::layer::Layer;
use super::super::settings::Init;
use super::{Builder, Misfit};
use crate::graph::{Cell, Op, Recurrent, Unary, ValueId};

impl Builder {
    pub(super) fn recurrent(&mut self, layer: &Layer) -> Result<(), Misfit> {
        let (Layer::Rnn {
            units,
            bidirectional,
            sequence,
        }
        | Layer::Lstm {
            units,
            bidirectional,
            sequence,
        }
        | Layer::Gru {
            units,
            bidirectional,
            sequence,
        }) = *layer
        else {
            return Ok(());
        };
        let cell = match layer {
            Layer::Lstm { .. } => Cell::Lstm,
            Layer::Gru { .. } => Cell::Gru {
                linear_before_reset: true,
            },
            _ => Cell::Rnn {
                activation: Unary::Tanh,
            },
        };
        self.make_sequence()?;
        let x = self.graph.output;
        let name = self.name(layer.op());
        if !bidirectional {
            self.direction(name, cell, units)?;
            return if sequence { Ok(()) } else { self.last_step() };
        }
        self.direction(format!("{name}_forward"), cell, units)?;
        self.finish(sequence, false)?;
        let forward = self.graph.output;
        self.graph.output = x;
        self.turn_around()?;
        self.direction(format!("{name}_backward"), cell, units)?;
        self.finish(sequence, true)?;
        let both: [ValueId; 2] = [forward, self.graph.output];
        let axis = self.last_axis();
        self.graph.push(name, Op::Concat { axis }, &both)?;
        Ok(())
    }

    /// All states in the order of time, or the one after the last step taken.
    fn finish(&mut self, sequence: bool, backward: bool) -> Result<(), Misfit> {
        match (sequence, backward) {
            (true, true) => self.turn_around(),
            (true, false) => Ok(()),
            (false, _) => self.last_step(),
        }
    }

    fn last_step(&mut self) -> Result<(), Misfit> {
        let indices = vec![self.shape()[0] - 1];
        self.simple("last", Op::Select { axis: 0, indices })?;
        self.simple("flatten", Op::Flatten)
    }

    fn turn_around(&mut self) -> Result<(), Misfit> {
        let indices = (0..self.shape()[0]).rev().collect();
        self.simple("turn", Op::Select { axis: 0, indices })
    }

    /// Each gate's matrices begin as if they stood alone.
    fn direction(&mut self, name: String, cell: Cell, units: usize) -> Result<(), Misfit> {
        let (rows, features) = (cell.gates() * units, self.shape()[1]);
        let mut random = |part: &str, columns: usize| {
            let name = format!("{name}.{part}");
            self.random(name, &[rows, columns], Init::Xavier, [columns, units])
        };
        let weight = random("weight", features)?;
        let recurrence = random("recurrence", units)?;
        let bias = self.vector(&name, "bias", 2 * rows, 0.0);
        if cell == Cell::Lstm {
            // The forget gate, third of the inputs' biases, begins open.
            self.graph.parameters[bias.0].free_mut()[2 * units..3 * units].fill(1.0);
        }
        let layer = Recurrent {
            cell,
            weight,
            recurrence,
            bias: Some(bias),
            initial_hidden: None,
            initial_cell: None,
            cell_output: false,
        };
        self.push(name, Op::Recurrent(layer))
    }
}
