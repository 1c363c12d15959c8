//! Operators of an image: what is computed, from which tensor to which.

mod channels;
mod linear;
mod movement;
mod pair;
mod recurrent;
mod window;

pub use channels::MAX_CHANNELS;
pub use linear::{Integers, Linear, MULTIPLIER_BYTES, Multipliers, integers, linear_flag};
pub use movement::{Axis, Block, MAX_AXES};
pub use pair::MAX_INNER;
pub use recurrent::{Activation, CELLS, Cell, Recurrent, recurrent_flag};
pub use window::{FILTER_ENTRY_BYTES, MAX_TAPS, MAX_WINDOW, Window, codable, window_flag};

use crate::FormatError;
use crate::cursor::Cursor;
use crate::numerics::{Multiplier, Output};
use crate::overlap;
use crate::panels::Layout;
use crate::tensor::{Tensor, Tensors};

/// Numbers of the operators in an image.
pub mod opcode {
    /// Fully connected layer.
    pub const DENSE: u8 = 1;
    /// Two-dimensional convolution.
    pub const CONV: u8 = 2;
    /// Largest value under a window.
    pub const MAX_POOL: u8 = 3;
    /// Mean under a window.
    pub const AVERAGE_POOL: u8 = 4;
    /// Clamp to a range (a ReLU that could not be fused).
    pub const CLAMP: u8 = 5;
    /// Softmax over channels.
    pub const SOFTMAX: u8 = 6;
    /// Sum of two tensors.
    pub const ADD: u8 = 7;
    /// Any function of one element.
    pub const TABLE: u8 = 8;
    /// Product of two tensors, element by element.
    pub const MUL: u8 = 9;
    /// Matrix product of two tensors.
    pub const MAT_MUL: u8 = 10;
    /// A block of elements moved.
    pub const COPY: u8 = 11;
    /// Constant elements.
    pub const CONSTANT: u8 = 12;
    /// Rows of a table.
    pub const EMBEDDING: u8 = 13;
    /// ReLU with a slope below zero.
    pub const P_RELU: u8 = 14;
    /// Logarithm of the softmax over channels.
    pub const LOG_SOFTMAX: u8 = 15;
    /// Place of the largest channel.
    pub const ARG_MAX: u8 = 16;
    /// Layer normalization over channels.
    pub const LAYER_NORM: u8 = 17;
    /// Local response normalization over channels.
    pub const LRN: u8 = 18;
    /// Recurrent layer.
    pub const RECURRENT: u8 = 19;
}

/// One operator with its tensors.
#[derive(Clone, Copy, Debug)]
pub struct Operator<'a> {
    /// What is read; of a [`Kind::Constant`], which reads nothing, the output.
    pub input: Tensor,
    /// What is written; it overlaps what is read only where [`Kind::in_place`] or
    /// [`Operator::clearance`] allows it.
    pub output: Tensor,
    /// Offset of the scratch memory in the arena, its length being [`Kind::scratch_bytes`].
    pub scratch: usize,
    /// What is computed.
    pub kind: Kind<'a>,
}

/// What an operator computes.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// `y = requantize(W·x + b)`
    Dense(Linear<'a>),
    /// Cross-correlation; a row of the weights is a filter in order (ky, kx, channel).
    Conv {
        /// Geometry.
        window: Window,
        /// Channel groups.
        groups: usize,
        /// Most weights in one filter of a coded matrix.
        filter_weights: usize,
        /// Filters, biases, output range.
        linear: Linear<'a>,
    },
    /// Largest value under the window; padding never wins.
    MaxPool(Window),
    /// Mean under the window, ties to even multiples of the scale.
    AveragePool {
        /// Geometry.
        window: Window,
        /// Whether padding counts, as zeros.
        count_include_pad: bool,
    },
    /// `min(max(x, min), max)` on the integers.
    Clamp(Output),
    /// `table[x + 128]`: any function of one element, [`TABLE_ENTRIES`] int8 results.
    Table(&'a [u8]),
    /// `256·e^(s·x)/Σe^(s·x) − 128` over the channels of each place, by a table of `e^(−s·d)` for the
    /// distance `d` to the maximum.
    Softmax {
        /// Little-endian u16, `round(65535·e^(−s·d))` for d = 0, 1, …; zero past its end.
        exponentials: &'a [u8],
    },
    /// `requantize((a − zₐ)·mₐ + (b − z_b)·m_b)`, rounded once; sides of `other` that are 1 stretch.
    Add {
        /// The second summand.
        other: Tensor,
        /// Factors of the two, as mantissas over one shift; magnitude below 2³⁰.
        mantissas: [i32; 2],
        /// 1 … 62.
        shift: u8,
        /// Output range.
        range: Output,
    },
    /// `requantize((a − zₐ)·(b − z_b))`; sides of `other` that are 1 stretch.
    Mul {
        /// The second factor.
        other: Tensor,
        /// `s_a·s_b / s_y`
        multiplier: Multiplier,
        /// Output range.
        range: Output,
    },
    /// `requantize(Σ(a − zₐ)·(b − z_b))`: `[rows, m, k]·[rows, k, n]` at each row, of which `other` may
    /// have one for all; k is at most [`MAX_INNER`].
    MatMul {
        /// The second factor.
        other: Tensor,
        /// Whether it stands as `[rows, n, k]`.
        transposed: bool,
        /// `s_a·s_b / s_y`
        multiplier: Multiplier,
        /// Output range.
        range: Output,
    },
    /// Elements moved; those of the output that are not named stay as they are.
    Copy(Block<'a>),
    /// int8 elements: one for all or one for each.
    Constant(&'a [u8]),
    /// The row `x + 128` of a table of int8 rows as long as the output has channels; past its end the
    /// last one.
    Embedding(&'a [u8]),
    /// `requantize((x − z)·m)`, m by the sign of `x − z`.
    PRelu {
        /// Factor at and above the zero point; one.
        positive: Integers<'a>,
        /// Factors below it.
        negative: Integers<'a>,
        /// Whether each channel has its own factor below the zero point.
        per_channel: bool,
        /// Of all factors, 1 … 62.
        shift: u8,
        /// Output range.
        range: Output,
    },
    /// `requantize((x − max)·m₀ + ln Σe^(s·(x − max))·2¹⁶·m₁)` over the channels of each place.
    LogSoftmax {
        /// As of a softmax.
        exponentials: &'a [u8],
        /// `s_x/s_y` and `−2⁻¹⁶/s_y`, as mantissas over one shift; magnitude below 2³⁰.
        mantissas: [i32; 2],
        /// 1 … 62.
        shift: u8,
        /// Output range.
        range: Output,
    },
    /// `min(place, 255) − 128` of the largest channel at each place.
    ArgMax {
        /// Whether the last of equals counts, not the first.
        last: bool,
    },
    /// `requantize((x − mean)/√(variance + epsilon)·scale + bias)` over the channels of each place.
    LayerNorm {
        /// In squared steps of the input, 1/65,536ths.
        epsilon: u32,
        /// Per channel.
        scales: Integers<'a>,
        /// Of the scales, 1 … 50.
        shift: u8,
        /// Per channel, in 1/256ths of the output's steps.
        biases: Integers<'a>,
        /// Output range.
        range: Output,
    },
    /// `requantize((x − z)·f(Σ(x − z)²))`, the sum over neighbouring channels.
    Lrn {
        /// Channels in the sum, `⌊(size − 1)/2⌋` of them before the channel itself.
        size: usize,
        /// Little-endian u32 f at 0, 1, … steps of `2^step`, in 1/65,536ths.
        table: &'a [u8],
        /// At most 20.
        step: u8,
        /// Output range.
        range: Output,
    },
    /// A recurrent layer over the width: `[1, time, features]` to `[1, time, hidden]`.
    Recurrent(Recurrent<'a>),
}

/// Entries of the table of a function: one for each int8 argument.
pub const TABLE_ENTRIES: usize = 256;

impl<'a> Kind<'a> {
    /// Whether output and an input of its shape may be the same memory.
    pub const fn in_place(&self) -> bool {
        matches!(
            self,
            Kind::Clamp(_)
                | Kind::Table(_)
                | Kind::Softmax { .. }
                | Kind::PRelu { .. }
                | Kind::LogSoftmax { .. }
                | Kind::LayerNorm { .. }
                | Kind::Add { .. }
                | Kind::Mul { .. }
        )
    }

    /// The second tensor read, of the operators that read two.
    pub const fn other(&self) -> Option<&Tensor> {
        match self {
            Kind::Add { other, .. } | Kind::Mul { other, .. } | Kind::MatMul { other, .. } => {
                Some(other)
            }
            _ => None,
        }
    }

    /// Arena bytes the operator needs beside its tensors.
    pub fn scratch_bytes(&self) -> usize {
        match self {
            Kind::Dense(linear) if let Some(panels) = linear.panels() => {
                panels.scratch_bytes(linear.weights.rows, 1)
            }
            Kind::Conv { linear, window, .. } if let Some(panels) = linear.panels() => {
                panels.scratch_bytes(linear.weights.rows, window.taps())
            }
            Kind::Dense(linear) => linear.weights.table_bytes(),
            Kind::Conv {
                linear,
                filter_weights,
                ..
            } if !linear.weights.is_plain() => {
                linear.weights.table_bytes() + *filter_weights * FILTER_ENTRY_BYTES
            }
            Kind::Recurrent(layer) => layer.scratch_bytes(),
            _ => 0,
        }
    }

    /// Whether the scratch memory must stay as it is from one inference to the next.
    pub const fn carries(&self) -> bool {
        matches!(self, Kind::Recurrent(layer) if layer.carried)
    }

    /// Matrices of weights with their biases, in the order in which they stand in the image.
    pub fn linears(&self) -> impl Iterator<Item = Linear<'a>> {
        let pair = match self {
            Kind::Dense(linear) | Kind::Conv { linear, .. } => [Some(*linear), None],
            Kind::Recurrent(layer) => [layer.input(), layer.recurrence()],
            _ => [None, None],
        };
        pair.into_iter().flatten()
    }
}

impl<'a> Operator<'a> {
    /// Where an operator is read to.
    pub(crate) const NOTHING: Self = Self {
        input: Tensor::NOTHING,
        output: Tensor::NOTHING,
        scratch: 0,
        kind: Kind::Table(&[]),
    };

    /// The cargo features of this crate and of `edge-runtime` without which an image that holds the
    /// operator is refused; none for the operators that every build knows.
    pub fn features(&self) -> impl Iterator<Item = &'static str> {
        let wide = if self.is_wide() { Some("wide") } else { None };
        let context = self.kind.linears().any(|linear| linear.needs_context());
        let context = context.then_some("context");
        let panels = self.kind.linears().any(|linear| linear.panels().is_some());
        let panels = panels.then_some("panels");
        let hashed = self.kind.linears().any(|linear| linear.weights.is_hashed());
        let hashed = hashed.then_some("hashed");
        let vector = self.kind.linears().any(|linear| linear.weights.is_vector());
        let vector = vector.then_some("vector");
        let of_weights = [context, hashed, vector, panels].into_iter().flatten();
        self.family().into_iter().chain(wide).chain(of_weights)
    }

    fn family(&self) -> Option<&'static str> {
        match self.kind {
            Kind::Add { other, .. } if other.shape != self.input.shape => Some("pairs"),
            Kind::Mul { .. } | Kind::MatMul { .. } => Some("pairs"),
            Kind::Copy(_) | Kind::Constant(_) | Kind::Embedding(_) => Some("movement"),
            Kind::PRelu { .. } | Kind::LogSoftmax { .. } | Kind::ArgMax { .. } => Some("heads"),
            Kind::LayerNorm { .. } | Kind::Lrn { .. } => Some("normalization"),
            Kind::Recurrent(_) => Some("recurrent"),
            _ => None,
        }
    }

    /// How many bytes at least the input must begin behind the output, of the operators that may then
    /// write over what they have read.
    pub fn clearance(&self) -> Option<usize> {
        if self.is_wide() {
            return None;
        }
        let window = match &self.kind {
            Kind::Conv { window, linear, .. } if linear.weights.is_dense() => window,
            Kind::MaxPool(window) | Kind::AveragePool { window, .. } => window,
            Kind::Copy(block) if cfg!(feature = "movement") => {
                return overlap::block_clearance(block.from, block.to, &block.axes());
            }
            _ => return None,
        };
        let (input, output) = (&self.input.shape, &self.output.shape);
        overlap::clearance(window, input, output)
    }

    /// Whether a tensor read or written has int16 elements.
    pub fn is_wide(&self) -> bool {
        cfg!(feature = "wide") && (self.output.wide || self.reads().any(|tensor| tensor.wide))
    }

    /// Whether it is one that computes on int16 elements: of plain weights, or a sum.
    fn may_be_wide(&self) -> bool {
        match &self.kind {
            Kind::Dense(linear) | Kind::Conv { linear, .. } => linear.weights.is_plain(),
            Kind::Add { .. } => true,
            _ => false,
        }
    }

    /// The tensors read: none, one or two.
    pub fn reads(&self) -> impl Iterator<Item = &Tensor> {
        let input = if let Kind::Constant(_) = self.kind {
            None
        } else {
            Some(&self.input)
        };
        [input, self.kind.other()].into_iter().flatten()
    }
}

/// Reads one operator of a network with these tensors to where it stays: it is too large to be handed
/// from function to function on a small stack.
pub(crate) fn parse<'a>(
    cursor: &mut Cursor<'a>,
    tensors: &Tensors,
    op: &mut Operator<'a>,
) -> Result<(), FormatError> {
    let code = cursor.u8()?;
    op.input = tensors.nth(cursor.varint()?)?;
    op.output = tensors.nth(cursor.varint()?)?;
    op.scratch = cursor.size()?;
    parse_kind(code, cursor, tensors, op)?;
    if op.is_wide() && !op.may_be_wide() {
        return Err(FormatError::Operator);
    }
    Ok(())
}

#[inline(always)]
fn parse_kind<'a>(
    code: u8,
    cursor: &mut Cursor<'a>,
    tensors: &Tensors,
    op: &mut Operator<'a>,
) -> Result<(), FormatError> {
    match code {
        opcode::DENSE => dense(cursor, op),
        opcode::CONV => window::conv(cursor, op),
        opcode::MAX_POOL => {
            op.kind = Kind::MaxPool(window::pool(cursor, 0, op)?.0);
            Ok(())
        }
        opcode::AVERAGE_POOL => {
            let own = window_flag::COUNT_INCLUDE_PAD;
            let (window, flags) = window::pool(cursor, own, op)?;
            op.kind = Kind::AveragePool {
                window,
                count_include_pad: flags & own != 0,
            };
            Ok(())
        }
        opcode::ADD => pair::add(cursor, tensors, op),
        opcode::MUL if cfg!(feature = "pairs") => pair::mul(cursor, tensors, op),
        opcode::MAT_MUL if cfg!(feature = "pairs") => pair::mat_mul(cursor, tensors, op),
        opcode::COPY if cfg!(feature = "movement") => movement::copy(cursor, op),
        opcode::CONSTANT if cfg!(feature = "movement") => movement::constant(cursor, op),
        opcode::EMBEDDING if cfg!(feature = "movement") => movement::embedding(cursor, op),
        opcode::ARG_MAX if cfg!(feature = "heads") => channels::arg_max(cursor, op),
        opcode::RECURRENT if cfg!(feature = "recurrent") => recurrent::recurrent(cursor, op),
        _ if op.input.shape != op.output.shape => Err(FormatError::Shape),
        _ => parse_same_shape(code, cursor, op),
    }
}

/// Those that keep the shape.
fn parse_same_shape<'a>(
    code: u8,
    cursor: &mut Cursor<'a>,
    op: &mut Operator<'a>,
) -> Result<(), FormatError> {
    match code {
        opcode::CLAMP => {
            op.kind = Kind::Clamp(range(cursor, op.output.zero_point)?);
            Ok(())
        }
        opcode::TABLE => {
            op.kind = Kind::Table(cursor.take(TABLE_ENTRIES)?);
            Ok(())
        }
        opcode::SOFTMAX => channels::softmax(cursor, op),
        opcode::P_RELU if cfg!(feature = "heads") => channels::p_relu(cursor, op),
        opcode::LOG_SOFTMAX if cfg!(feature = "heads") => channels::log_softmax(cursor, op),
        opcode::LAYER_NORM if cfg!(feature = "normalization") => channels::layer_norm(cursor, op),
        opcode::LRN if cfg!(feature = "normalization") => channels::lrn(cursor, op),
        opcode::MUL..=opcode::RECURRENT => Err(FormatError::LeftOut),
        _ => Err(FormatError::Operator),
    }
}

/// Reads the clamp of an output.
#[inline(never)]
fn range(cursor: &mut Cursor, zero_point: i8) -> Result<Output, FormatError> {
    Ok(Output {
        zero_point,
        min: cursor.i8()?,
        max: cursor.i8()?,
    })
}

fn dense<'a>(cursor: &mut Cursor<'a>, op: &mut Operator<'a>) -> Result<(), FormatError> {
    let (rows, columns) = (op.output.shape.len(), op.input.shape.len());
    let linear = Linear::parse(cursor, op.output.zero_point, rows, columns)?;
    if linear
        .panels()
        .is_some_and(|panels| panels.layout == Layout::Channels)
    {
        return Err(FormatError::Operator);
    }
    op.kind = Kind::Dense(linear);
    Ok(())
}
