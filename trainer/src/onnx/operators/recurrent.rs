//! Recurrent layers: one operator of the graph for each direction and example. What the file turns
//! around, pads or joins is done beside them.

use crate::graph::{Cell, Op, ParamId, Recurrent, Unary, ValueId};
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView};
use crate::onnx::movement::check_unrolled;
use crate::onnx::tensor::{Constant, Kind};
use crate::onnx::value::{Computed, Tensor};

pub(super) fn rnn(importer: &mut Importer, node: &NodeView) -> Result<Vec<Tensor>, Fault> {
    let named = activations(node)?;
    let mut functions = named.iter().map(|name| match name.as_str() {
        "Tanh" => Ok(Unary::Tanh),
        "Sigmoid" => Ok(Unary::Sigmoid),
        "Relu" => Ok(Unary::LeakyRelu { alpha: 0.0 }),
        other => Err(unknown_activation(other, "Tanh, Sigmoid or Relu")),
    });
    let activation = functions.next().unwrap_or(Ok(Unary::Tanh))?;
    for other in functions {
        if other? != activation {
            return Err(Fault::new(
                "has another activation in each direction",
                "use the same in both",
            ));
        }
    }
    Layer::new(node, Cell::Rnn { activation })?.import(importer, node)
}

pub(super) fn gru(importer: &mut Importer, node: &NodeView) -> Result<Vec<Tensor>, Fault> {
    usual_activations(node, &["Sigmoid", "Tanh"])?;
    let linear_before_reset = node.attributes.int("linear_before_reset", 0)? != 0;
    Layer::new(
        node,
        Cell::Gru {
            linear_before_reset,
        },
    )?
    .import(importer, node)
}

pub(super) fn lstm(importer: &mut Importer, node: &NodeView) -> Result<Vec<Tensor>, Fault> {
    usual_activations(node, &["Sigmoid", "Tanh", "Tanh"])?;
    if node.attributes.int("input_forget", 0)? != 0 {
        return Err(Fault::new(
            "couples its gates (input_forget)",
            "train it without",
        ));
    }
    let peepholes = node.optional(7)?;
    if peepholes.is_some_and(|p| p.reals().iter().any(|&v| v != 0.0)) {
        return Err(Fault::new("has peepholes (input P)", "train it without"));
    }
    Layer::new(node, Cell::Lstm)?.import(importer, node)
}

fn activations(node: &NodeView) -> Result<Vec<String>, Fault> {
    let names = node.attributes.strings("activations")?.unwrap_or_default();
    Ok(names
        .iter()
        .map(|n| String::from_utf8_lossy(n).into_owned())
        .collect())
}

fn usual_activations(node: &NodeView, usual: &[&str]) -> Result<(), Fault> {
    let named = activations(node)?;
    let unusual = named
        .iter()
        .zip(usual.iter().cycle())
        .find(|(name, usual)| name != *usual);
    match unusual {
        Some((name, _)) => Err(unknown_activation(name, &usual.join(", "))),
        None => Ok(()),
    }
}

fn unknown_activation(name: &str, known: &str) -> Fault {
    let name = name.escape_debug();
    Fault::new(
        format!("has the activation '{name}'"),
        format!("only {known} are supported"),
    )
}

struct Layer {
    cell: Cell,
    /// Whether each direction runs backwards.
    directions: Vec<bool>,
    /// Whether the batch is the first axis.
    batch_first: bool,
}

impl Layer {
    fn new(node: &NodeView, cell: Cell) -> Result<Self, Fault> {
        if node.attributes.float("clip")?.is_some() {
            return Err(Fault::new("clips its gates (clip)", "train it without"));
        }
        let directions = match node.attributes.string("direction")? {
            None | Some(b"forward") => vec![false],
            Some(b"reverse") => vec![true],
            Some(b"bidirectional") => vec![false, true],
            Some(other) => {
                let other = String::from_utf8_lossy(other);
                return Err(Fault::new(
                    format!("has direction '{}'", other.escape_debug()),
                    "use forward, reverse or bidirectional",
                ));
            }
        };
        let batch_first = node.attributes.int("layout", 0)? != 0;
        Ok(Self {
            cell,
            directions,
            batch_first,
        })
    }

    /// Y, Y_h and Y_c, as far as they are read. They are put together from vectors and sequences of
    /// each direction and example, in the order in which the file has them.
    fn import(&self, importer: &mut Importer, node: &NodeView) -> Result<Vec<Tensor>, Fault> {
        let x = node.value(0)?.clone();
        let &[first, second, features] = x.shape.as_slice() else {
            return Err(Fault::new(
                format!("runs over {:?}", x.shape),
                "an input [time, batch, features] is needed",
            ));
        };
        if !self.batch_first {
            importer.keep_apart()?;
        }
        let (time, batch) = if self.batch_first {
            (second, first)
        } else {
            (first, second)
        };
        let hidden = node.constant(2)?.shape.last().copied().unwrap_or(0);
        check_unrolled(batch)?;
        let mut parts = Parts::default();
        for (b, d) in self.order(batch) {
            let place = Place { b, d, time, hidden };
            let series = self.series(importer, &x, &place, features)?;
            self.direction(importer, node, series, &place, &mut parts)?;
        }
        let count = self.directions.len();
        // Sequences side by side are [time, directions, batch, hidden]; batch first, each example's
        // are, and examples follow one another.
        let shape = if self.batch_first {
            vec![batch, time, count, hidden]
        } else {
            vec![time, count, batch, hidden]
        };
        let rows = if self.batch_first {
            count
        } else {
            count * batch
        };
        let state = if self.batch_first {
            [batch, count, hidden]
        } else {
            [count, batch, hidden]
        };
        let sequences = (parts.sequences.chunks(rows.max(1)))
            .map(|row| join(importer, row, 1))
            .collect::<Result<Vec<_>, _>>()?;
        let mut outputs = vec![Tensor::Unknown; node.proto.output.len()];
        let whole = [
            (sequences, shape),
            (parts.hidden, state.to_vec()),
            (parts.cells, state.to_vec()),
        ];
        for (i, (parts, shape)) in whole.into_iter().enumerate() {
            if !parts.is_empty() && i < outputs.len() {
                let id = join(importer, &parts, 0)?;
                outputs[i] = Computed::float(id, shape);
            }
        }
        Ok(outputs)
    }

    /// Examples and directions, in the order of a state.
    fn order(&self, batch: usize) -> Vec<(usize, usize)> {
        let count = self.directions.len();
        let place = |i: usize| match self.batch_first {
            true => (i / count, i % count),
            false => (i % batch, i / batch),
        };
        (0..batch * count).map(place).collect()
    }

    /// One example, `[time, features]`.
    fn series(
        &self,
        importer: &mut Importer,
        x: &Computed,
        place: &Place,
        features: usize,
    ) -> Result<ValueId, Fault> {
        let axis = usize::from(!self.batch_first);
        let whole = Tensor::Value(x.clone());
        match importer.select(&whole, axis, &[place.b])? {
            Tensor::Value(one) => importer.under(&one, &[place.time, features]),
            _ => Err(Fault::new("reads what was refused", "see there")),
        }
    }

    fn direction(
        &self,
        importer: &mut Importer,
        node: &NodeView,
        series: ValueId,
        place: &Place,
        parts: &mut Parts,
    ) -> Result<(), Fault> {
        let length = length(node, place)?;
        let backwards = self.directions[place.d];
        let steps: Vec<usize> = if backwards {
            (0..length).rev().collect()
        } else {
            (0..length).collect()
        };
        let ordered = pick(importer, series, place.time, &steps)?;
        let layer = self.layer(importer, node, place)?;
        if node.used(2) && self.cell == Cell::Lstm {
            let cell_output = Recurrent {
                cell_output: true,
                ..layer.clone()
            };
            parts
                .cells
                .push(importer.push(Op::Recurrent(cell_output), &[ordered])?);
        }
        if !node.used(0) && !node.used(1) {
            return Ok(());
        }
        let states = importer.push(Op::Recurrent(layer), &[ordered])?;
        if node.used(1) {
            let last = pick(importer, states, length, &[length - 1])?;
            parts.hidden.push(importer.under(
                &Computed {
                    id: last,
                    shape: vec![1, place.hidden],
                    kind: Kind::Float,
                },
                &[place.hidden],
            )?);
        }
        if node.used(0) {
            // Backwards, the order is turned again.
            let mut states = pick(importer, states, length, &steps)?;
            if length < place.time {
                let after = vec![place.time - length, 0];
                let op = Op::Pad {
                    before: vec![0, 0],
                    after,
                    value: 0.0,
                };
                states = importer.push(op, &[states])?;
            }
            parts.sequences.push(states);
        }
        Ok(())
    }

    /// The parameters of one direction, and the initial state of one example.
    fn layer(
        &self,
        importer: &mut Importer,
        node: &NodeView,
        place: &Place,
    ) -> Result<Recurrent, Fault> {
        let rows = self.cell.gates() * place.hidden;
        let mut part = |input: usize, shape: &[usize]| -> Result<Option<ParamId>, Fault> {
            match node.optional(input)? {
                None => Ok(None),
                Some(c) => {
                    let c = self.part(importer, c, place, shape)?;
                    importer
                        .on_grid(&c.name, shape, c.reals(), c.grid(0))
                        .map(Some)
                }
            }
        };
        let features = node.constant(1)?.shape.last().copied().unwrap_or(0);
        let missing = || Fault::new("has no weights", "export the model again");
        let weight = part(1, &[rows, features])?.ok_or_else(missing)?;
        let recurrence = part(2, &[rows, place.hidden])?.ok_or_else(missing)?;
        let bias = part(3, &[2 * rows])?;
        let mut state = |input: usize| -> Result<Option<ParamId>, Fault> {
            match node.optional(input)? {
                // 0 is what it starts with anyway.
                Some(c) if c.reals().iter().any(|&v| v != 0.0) => {
                    let c = self.state(importer, c, place)?;
                    importer
                        .parameter(&c.name, &[place.hidden], c.reals())
                        .map(Some)
                }
                _ => Ok(None),
            }
        };
        Ok(Recurrent {
            cell: self.cell,
            weight,
            recurrence,
            bias,
            initial_hidden: state(5)?,
            initial_cell: if self.cell == Cell::Lstm {
                state(6)?
            } else {
                None
            },
            cell_output: false,
        })
    }

    /// A direction's part of weights.
    fn part(
        &self,
        importer: &mut Importer,
        c: &std::rc::Rc<Constant>,
        place: &Place,
        shape: &[usize],
    ) -> Result<Constant, Fault> {
        let expected: Vec<usize> = [self.directions.len()]
            .iter()
            .chain(shape)
            .copied()
            .collect();
        if c.shape != expected {
            return Err(wrong_shape(c, &expected));
        }
        let part = importer.select(&Tensor::Constant(c.clone()), 0, &[place.d])?;
        taken(importer.seen_as(&part, shape.to_vec())?)
    }

    /// The state of a direction and an example.
    fn state(
        &self,
        importer: &mut Importer,
        c: &std::rc::Rc<Constant>,
        place: &Place,
    ) -> Result<Constant, Fault> {
        let axes = usize::from(self.batch_first);
        let fits = c.shape.len() == 3
            && c.shape[axes] == self.directions.len()
            && c.shape[1 - axes] > place.b
            && c.shape[2] == place.hidden;
        if !fits {
            let count = self.directions.len();
            return Err(wrong_shape(c, &[count, place.b + 1, place.hidden]));
        }
        let part = importer.select(&Tensor::Constant(c.clone()), axes, &[place.d])?;
        let part = importer.select(&part, 1 - axes, &[place.b])?;
        taken(importer.seen_as(&part, vec![place.hidden])?)
    }
}

/// An example and a direction.
struct Place {
    b: usize,
    d: usize,
    time: usize,
    hidden: usize,
}

/// The pieces of the outputs.
#[derive(Default)]
struct Parts {
    sequences: Vec<ValueId>,
    hidden: Vec<ValueId>,
    cells: Vec<ValueId>,
}

fn wrong_shape(c: &Constant, expected: &[usize]) -> Fault {
    Fault::new(
        format!(
            "has '{}' of shape {:?}, not {expected:?}",
            c.name.escape_debug(),
            c.shape
        ),
        "the file is damaged, export the model again",
    )
}

fn taken(tensor: Tensor) -> Result<Constant, Fault> {
    match tensor {
        Tensor::Constant(c) => Ok((*c).clone()),
        _ => Err(Fault::new("has computed weights", "make them initializers")),
    }
}

/// How many steps an example has.
fn length(node: &NodeView, place: &Place) -> Result<usize, Fault> {
    let Some(lengths) = node.optional(4)? else {
        return Ok(place.time);
    };
    let named = lengths.ints()?.get(place.b).copied().unwrap_or(0);
    let length = usize::try_from(named)
        .ok()
        .filter(|l| (1..=place.time).contains(l));
    length.ok_or_else(|| {
        Fault::new(
            format!("has a sequence of {named} in {} steps", place.time),
            "each sequence needs 1 step and no more than the input has",
        )
    })
}

/// Rows in this order.
fn pick(
    importer: &mut Importer,
    id: ValueId,
    size: usize,
    indices: &[usize],
) -> Result<ValueId, Fault> {
    if indices.iter().copied().eq(0..size) {
        return Ok(id);
    }
    let indices = indices.to_vec();
    importer.push(Op::Select { axis: 0, indices }, &[id])
}

fn join(importer: &mut Importer, parts: &[ValueId], axis: usize) -> Result<ValueId, Fault> {
    match parts {
        [only] => Ok(*only),
        parts => importer.push(Op::Concat { axis }, parts),
    }
}
