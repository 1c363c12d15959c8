//! What the outside sees: the layout of input and output, and a program without needless parts.

use super::arrange::{Order, Sides};
use super::view::View;
use super::{LowerError, Lowered, Lowering, Step, Steps, refused_at};
use crate::program::{Kind, Program};
use no_std_core::tensor::Shape;
use trainer::graph::Graph;

/// Key of the metadata that says which of input and output stand as the model's rows and not channels
/// last: "input", "output" or "input output".
pub const ROW_MAJOR: &str = "row-major";

/// How a model's input stands in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) shape: Shape,
    /// In the order of the model's input, rather than as `[channels, height, width]` channels last.
    pub(super) rows: bool,
}

impl Layout {
    pub(super) fn view(&self, tensor: usize) -> View {
        if self.rows {
            return View::rows(tensor, self.shape.len());
        }
        let Shape {
            height,
            width,
            channels,
        } = self.shape;
        View::packed(tensor, &[channels, height, width], &[1, 2, 0])
    }
}

/// `[channels, height, width]` or `[n]` as a channels-last shape.
pub fn channels_last(shape: &[usize]) -> Option<Shape> {
    match *shape {
        [n] => Shape::new(1, 1, n),
        [channels, height, width] => Shape::new(height, width, channels),
        _ => None,
    }
}

/// The layouts that an input may have, the usual one first: its own shape and those under which
/// operators read it, channels last or in rows.
pub(super) fn input_layouts(graph: &Graph, steps: &Steps) -> Result<Vec<Layout>, LowerError> {
    let reads_input = |value: &&trainer::graph::ValueId| steps.roots[*value] == graph.input;
    let read = graph.nodes.iter().flat_map(|node| &node.inputs);
    let shapes = read.filter(reads_input).map(|&value| graph.value(value));
    let shapes = std::iter::once(graph.value(graph.input)).chain(shapes);
    let mut layouts: Vec<Layout> = Vec::new();
    let len = graph.value(graph.input).len();
    let fitting = shapes.flat_map(|value| layouts_of(&value.shape));
    for layout in fitting.filter(|layout| layout.shape.len() == len) {
        let same = |l: &Layout| l.shape == layout.shape && l.view(0) == layout.view(0);
        if !layouts.iter().any(same) {
            layouts.push(layout);
        }
    }
    if layouts.is_empty() {
        let value = graph.value(graph.input);
        return Err(refused_at(value, "input", &super::too_large(value.len())));
    }
    Ok(layouts)
}

fn layouts_of(shape: &[usize]) -> Vec<Layout> {
    let layout = |rows: bool, shape: Option<Shape>| shape.map(|shape| Layout { shape, rows });
    let found = match *shape {
        [] => vec![layout(true, Shape::new(1, 1, 1))],
        [n] => vec![layout(true, Shape::new(1, 1, n))],
        [a, b] => vec![
            layout(true, Shape::new(1, a, b)),
            layout(false, Shape::new(1, b, a)),
        ],
        [a, b, c] => vec![
            layout(false, Shape::new(b, c, a)),
            layout(true, Shape::new(a, b, c)),
            layout(true, Shape::new(b, c, a)),
        ],
        [ref lead @ .., b, c] => vec![layout(true, Shape::new(lead.iter().product(), b, c))],
    };
    found.into_iter().flatten().collect()
}

/// The metadata on rows, where they differ from channels last.
pub(super) fn row_major(
    input: &Shape,
    input_rows: bool,
    output_rows: bool,
) -> Option<&'static str> {
    let differs = input.channels > 1 && input.channels < input.len();
    match (input_rows && differs, output_rows) {
        (true, true) => Some("input output"),
        (true, false) => Some("input"),
        (false, true) => Some("output"),
        (false, false) => None,
    }
}

impl Lowering<'_> {
    /// The tensor handed out, and whether it stands in rows and not channels last.
    pub(super) fn output(&mut self) -> Result<(usize, bool), LowerError> {
        let value = self.graph.output;
        let view = self.view(value)?;
        let shape = self.tensors[view.tensor].shape;
        let stands = |rows: bool| view == Layout { shape, rows }.view(view.tensor);
        if let Some(rows) = [false, true].into_iter().find(|&rows| stands(rows)) {
            return Ok((view.tensor, rows));
        }
        if self.shape(value).len() == 3 {
            return Ok((self.arrange(value, &Order::image(), Sides::All)?, false));
        }
        let view = self.in_rows(value)?;
        let shape = self.tensors[view.tensor].shape;
        let rows = Layout { shape, rows: false }.view(view.tensor) != view;
        Ok((view.tensor, rows))
    }
}

/// Without operators whose results nothing reads, and without their tensors.
pub(super) fn without_unused(program: Program, completed: Vec<Option<(Step, View)>>) -> Lowered {
    let mut needed = vec![false; program.tensors.len()];
    (needed[program.input], needed[program.output]) = (true, true);
    for op in program.operators.iter().rev() {
        if needed[op.output] {
            op.reads().for_each(|tensor| needed[tensor] = true);
        }
    }
    let mut count = 0;
    let places: Vec<usize> = needed
        .iter()
        .map(|&needed| {
            count += usize::from(needed);
            count.saturating_sub(1)
        })
        .collect();
    let mut kept = Vec::new();
    let mut completed_kept = Vec::new();
    for (mut op, step) in program.operators.into_iter().zip(completed) {
        if !needed[op.output] {
            continue;
        }
        (op.input, op.output) = (places[op.input], places[op.output]);
        if let Some(other) = op.kind.other_mut() {
            *other = places[*other];
        }
        kept.push(op);
        completed_kept.push(step.map(|(step, view)| {
            let tensor = places[view.tensor];
            (step, view.on(tensor))
        }));
    }
    let mut marks = needed.iter();
    let mut tensors = program.tensors;
    tensors.retain(|_| marks.next().copied().unwrap_or(false));
    let program = Program {
        tensors,
        operators: kept,
        input: places[program.input],
        output: places[program.output],
        ..program
    };
    Lowered {
        program,
        completed: completed_kept,
    }
}

impl Kind {
    fn other_mut(&mut self) -> Option<&mut usize> {
        match self {
            Kind::Add { other, .. } | Kind::Mul { other, .. } | Kind::MatMul { other, .. } => {
                Some(other)
            }
            _ => None,
        }
    }
}
