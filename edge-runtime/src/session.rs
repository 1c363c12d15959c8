use crate::kernels;
#[cfg(feature = "std")]
use crate::operators::Operators;
use core::cell::Cell;
use core::ops::Range;
use no_std_core::Model;
#[cfg(feature = "panels")]
use no_std_core::operator::Linear;
use no_std_core::operator::{Kind, Operator};
use no_std_core::tensor::Tensor;

/// A model with the memory to run it.
#[derive(Debug)]
pub struct Session<'a, 'm> {
    model: &'m Model<'a>,
    arena: &'m mut [i8],
    #[cfg(feature = "std")]
    operators: Operators<'a>,
}

/// The memory handed to [`Session::new`] does not hold the model's activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArenaTooSmall {
    /// Bytes the model needs.
    pub needed: usize,
    /// Bytes handed over.
    pub given: usize,
}

impl core::fmt::Display for ArenaTooSmall {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "the arena has {} bytes, the model needs {}",
            self.given, self.needed
        )
    }
}

impl core::error::Error for ArenaTooSmall {}

impl<'a, 'm> Session<'a, 'm> {
    /// Takes the working memory for a model; its contents do not matter.
    ///
    /// # Errors
    /// When `arena` is shorter than [`Model::arena_bytes`].
    pub fn new(model: &'m Model<'a>, arena: &'m mut [i8]) -> Result<Self, ArenaTooSmall> {
        let (needed, given) = (model.arena_bytes(), arena.len());
        if given < needed {
            return Err(ArenaTooSmall { needed, given });
        }
        let mut session = Self {
            model,
            arena,
            #[cfg(feature = "std")]
            operators: Operators::of(model),
        };
        session.reset();
        Ok(session)
    }

    /// As [`new`](Self::new), with memory for speed: weights of dense layers are set out once as this processor reads
    /// them fastest, where there is such an order (x86-64 with AVX2 or more). They take about as much memory again,
    /// with AVX2 alone twice as much. The integers are the same.
    ///
    /// # Errors
    /// As [`new`](Self::new)'s.
    #[cfg(feature = "std")]
    pub fn prepared(model: &'m Model<'a>, arena: &'m mut [i8]) -> Result<Self, ArenaTooSmall> {
        let mut session = Self::new(model, arena)?;
        session.operators.prepare();
        Ok(session)
    }

    /// Puts the state that recurrent layers carry from one [`run`](Self::run) to the next back to where
    /// it started; [`new`](Self::new) does so too.
    pub fn reset(&mut self) {
        if !cfg!(feature = "recurrent") {
            return;
        }
        let arena = &mut *self.arena;
        self.model.visit_operators(|op| {
            if let Kind::Recurrent(layer) = &op.kind
                && layer.carried
            {
                let memory = arena.get_mut(scratch(op)).unwrap_or(&mut []);
                kernels::reset(layer, memory);
            }
        });
    }

    /// Where the input goes, before every [`run`](Self::run): it shares its memory with later
    /// activations. Channels last: `[height, width, channels]`.
    pub fn input_mut(&mut self) -> &mut [i8] {
        let input = self.model.input();
        self.arena
            .get_mut(input.offset..input.end())
            .unwrap_or(&mut [])
    }

    /// One inference.
    pub fn run(&mut self) {
        let arena = &mut *self.arena;
        #[cfg(feature = "std")]
        self.operators.execute(self.model, arena, |_, _| {});
        #[cfg(not(feature = "std"))]
        self.model.visit_operators(|op| execute(op, arena));
    }

    /// The result of the last [`run`](Self::run), channels last.
    pub fn output(&self) -> &[i8] {
        self.tensor(&self.model.output())
    }

    /// What stands in a tensor's memory now; later tensors may share it.
    pub fn tensor(&self, tensor: &Tensor) -> &[i8] {
        memory(self.arena, tensor)
    }

    /// One inference that shows each operator's output to `observe` as soon as it is written.
    pub fn run_observed(&mut self, mut observe: impl FnMut(&Operator<'a>, &[i8])) {
        let arena = &mut *self.arena;
        #[cfg(feature = "std")]
        self.operators.execute(self.model, arena, |op, arena| {
            observe(op, memory(arena, &op.output));
        });
        #[cfg(not(feature = "std"))]
        self.model.visit_operators(|op| {
            execute(op, arena);
            observe(op, memory(arena, &op.output));
        });
    }
}

fn memory<'m>(arena: &'m [i8], tensor: &Tensor) -> &'m [i8] {
    arena.get(tensor.offset..tensor.end()).unwrap_or(&[])
}

// Not inline: the kernels' stack and that of reading the next operator are needed in turn.
#[inline(never)]
pub(crate) fn execute(op: &Operator, arena: &mut [i8]) {
    if cfg!(feature = "wide") && op.is_wide() {
        return kernels::wide(arena, op);
    }
    match &op.kind {
        Kind::Add {
            other,
            mantissas,
            shift,
            range,
        } => kernels::add(arena, op, other, *mantissas, *shift, range),
        Kind::Mul {
            other,
            multiplier,
            range,
        } if cfg!(feature = "pairs") => kernels::mul(arena, op, other, *multiplier, range),
        Kind::MatMul {
            other,
            transposed,
            multiplier,
            range,
        } if cfg!(feature = "pairs") => {
            kernels::mat_mul(arena, op, other, *transposed, *multiplier, range);
        }
        Kind::Conv {
            window,
            groups,
            linear,
            ..
        } if linear.weights.is_plain() => {
            let (x, y) = cells(op, arena);
            plain(&kernels::Conv::new(op, window, *groups, linear), x, y);
        }
        #[cfg(feature = "panels")]
        Kind::Dense(linear) | Kind::Conv { linear, .. } if linear.panels().is_some() => {
            panels(op, linear, arena);
        }
        Kind::MaxPool(window) => {
            let (x, y) = cells(op, arena);
            kernels::max_pool(x, y, op, window);
        }
        Kind::AveragePool {
            window,
            count_include_pad,
        } => {
            let (x, y) = cells(op, arena);
            kernels::average_pool(x, y, op, window, *count_include_pad);
        }
        Kind::Copy(block) if cfg!(feature = "movement") => {
            let (x, y) = cells(op, arena);
            kernels::copy(x, y, block);
        }
        Kind::Recurrent(layer) if cfg!(feature = "recurrent") => {
            if let Some((x, y, scratch)) = split(op, arena) {
                kernels::recurrent(x, y, scratch, layer, op.input.shape.channels);
            }
        }
        kind if kind.in_place() => in_place(op, arena),
        _ => apart(op, arena),
    }
}

/// The input and the output of an operator that may write over what it has read: overlapping memory.
fn cells<'s>(op: &Operator, arena: &'s mut [i8]) -> (&'s [Cell<i8>], &'s [Cell<i8>]) {
    let arena = Cell::from_mut(arena).as_slice_of_cells();
    let tensor = |t: &Tensor| arena.get(t.offset..t.end()).unwrap_or(&[]);
    (tensor(&op.input), tensor(&op.output))
}

/// Operators of one input that change each place by itself: on the output, after the input was copied
/// to it.
fn in_place(op: &Operator, arena: &mut [i8]) {
    if op.input.offset != op.output.offset {
        for i in 0..op.output.shape.len() {
            let x = arena.get(op.input.offset + i).copied().unwrap_or(0);
            if let Some(y) = arena.get_mut(op.output.offset + i) {
                *y = x;
            }
        }
    }
    let values = arena
        .get_mut(op.output.offset..op.output.end())
        .unwrap_or(&mut []);
    let channels = op.output.shape.channels;
    match &op.kind {
        Kind::Clamp(range) => kernels::clamp(values, range),
        Kind::Table(table) => kernels::look_up(values, table),
        Kind::Softmax { exponentials } => kernels::softmax(values, channels, exponentials),
        Kind::PRelu {
            positive,
            negative,
            per_channel,
            shift,
            range,
        } if cfg!(feature = "heads") => {
            let slopes = [*positive, *negative];
            let zero_point = op.input.zero_point;
            kernels::p_relu(
                values,
                channels,
                zero_point,
                slopes,
                *per_channel,
                *shift,
                range,
            );
        }
        Kind::LogSoftmax {
            exponentials,
            mantissas,
            shift,
            range,
        } if cfg!(feature = "heads") => {
            kernels::log_softmax(values, channels, exponentials, *mantissas, *shift, range);
        }
        Kind::LayerNorm {
            epsilon,
            scales,
            shift,
            biases,
            range,
        } if cfg!(feature = "normalization") => {
            let factors = [*scales, *biases];
            kernels::layer_norm(values, channels, *epsilon, factors, *shift, range);
        }
        _ => {}
    }
}

#[inline(never)]
fn plain(conv: &kernels::Conv, x: &[Cell<i8>], y: &[Cell<i8>]) {
    conv.plain(x, y);
}

#[cfg(feature = "panels")]
#[inline(never)]
fn panels(op: &Operator, linear: &Linear, arena: &mut [i8]) {
    let arena = Cell::from_mut(arena).as_slice_of_cells();
    if let Some(panels) = linear.panels() {
        kernels::panels(op, linear, panels, arena);
    }
}

/// What is read, written and scribbled on, of an operator that keeps them apart.
fn split<'s>(op: &Operator, arena: &'s mut [i8]) -> Option<(&'s [i8], &'s mut [i8], &'s mut [i8])> {
    let mut input = op.input.offset..op.input.end();
    if let Kind::Constant(_) = op.kind {
        input = 0..0;
    }
    // Disjoint and inside: checked when the image was parsed.
    let ranges = [input, op.output.offset..op.output.end(), scratch(op)];
    let [x, y, scratch] = arena.get_disjoint_mut(ranges).ok()?;
    Some((x, y, scratch))
}

/// Operators whose output and scratch memory are apart from what they read.
#[inline(never)]
fn apart(op: &Operator, arena: &mut [i8]) {
    let Some((x, y, scratch)) = split(op, arena) else {
        return;
    };
    let (from, to) = (&op.input.shape, &op.output.shape);
    match &op.kind {
        Kind::Dense(linear) => {
            kernels::dense(x, op.input.zero_point, y, scratch, linear);
        }
        Kind::Conv {
            window,
            groups,
            linear,
            ..
        } => kernels::coded(
            &kernels::Conv::new(op, window, *groups, linear),
            x,
            y,
            scratch,
        ),
        Kind::Constant(elements) if cfg!(feature = "movement") => kernels::constant(y, elements),
        Kind::Embedding(table) if cfg!(feature = "movement") => {
            kernels::embedding(x, y, to.channels, table);
        }
        Kind::ArgMax { last } if cfg!(feature = "heads") => {
            kernels::arg_max(x, y, from.channels, *last);
        }
        Kind::Lrn {
            size,
            table,
            step,
            range,
        } if cfg!(feature = "normalization") => {
            kernels::lrn(x, y, op, *size, table, *step, range);
        }
        _ => {}
    }
}

/// An operator's scratch memory in the arena. An empty range must lie in no other one.
fn scratch(op: &Operator) -> Range<usize> {
    match op.kind.scratch_bytes() {
        0 => 0..0,
        bytes => op.scratch..op.scratch + bytes,
    }
}
