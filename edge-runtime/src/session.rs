use crate::kernels;
use no_std_core::Model;
use no_std_core::operator::{Kind, Operator};
use no_std_core::tensor::Tensor;

/// A model with the memory to run it.
#[derive(Debug)]
pub struct Session<'a, 'm> {
    model: &'m Model<'a>,
    arena: &'m mut [i8],
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
        Ok(Self { model, arena })
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
fn execute(op: &Operator, arena: &mut [i8]) {
    let output = op.output.offset..op.output.end();
    if op.input.offset == op.output.offset {
        return elementwise(&op.kind, arena.get_mut(output).unwrap_or(&mut []));
    }
    let scratch_bytes = op.kind.scratch_bytes();
    // An empty range must lie in no other one.
    let scratch = if scratch_bytes == 0 {
        0..0
    } else {
        op.scratch..op.scratch + scratch_bytes
    };
    if let Kind::Add {
        other,
        mantissas,
        shift,
        range,
    } = &op.kind
    {
        kernels::add(
            arena,
            [&op.input, other],
            &op.output,
            *mantissas,
            *shift,
            range,
        );
        return;
    }
    // Disjoint and inside: checked when the image was parsed.
    let Ok([x, y, scratch]) =
        arena.get_disjoint_mut([op.input.offset..op.input.end(), output, scratch])
    else {
        return;
    };
    let x: &[i8] = x;
    match &op.kind {
        Kind::Dense(linear) => kernels::dense(x, y, scratch, linear),
        Kind::Conv {
            window,
            dilation,
            groups,
            linear,
            ..
        } => {
            let conv = kernels::Conv::new(op, window, *dilation, *groups, linear);
            conv.run(x, y, scratch);
        }
        Kind::MaxPool(window) => kernels::max_pool(x, y, &op.input.shape, &op.output.shape, window),
        Kind::AveragePool {
            window,
            count_include_pad,
        } => {
            kernels::average_pool(x, y, op, window, *count_include_pad);
        }
        Kind::Softmax { exponentials } => kernels::softmax(x, y, exponentials),
        Kind::Clamp(_) | Kind::Table(_) => {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = *x);
            elementwise(&op.kind, y);
        }
        Kind::Add { .. } => {}
    }
}

/// Operators that change each element by itself, in place.
fn elementwise(kind: &Kind, values: &mut [i8]) {
    match kind {
        Kind::Clamp(range) => kernels::clamp(values, range),
        Kind::Table(table) => kernels::look_up(values, table),
        _ => {}
    }
}
