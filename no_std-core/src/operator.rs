//! Operators of an image: what is computed, from which tensor to which.

use crate::FormatError;
use crate::bits::BitReader;
use crate::cursor::Cursor;
#[cfg(doc)]
use crate::numerics::MAX_BIAS;
use crate::numerics::{MAX_ROW, Multiplier, Output};
use crate::tensor::{Shape, Tensor, Tensors};
use crate::weights::Weights;

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
    /// Softmax of a vector.
    pub const SOFTMAX: u8 = 6;
    /// Sum of two tensors.
    pub const ADD: u8 = 7;
    /// Any function of one element.
    pub const TABLE: u8 = 8;
}

/// One operator with its tensors.
#[derive(Clone, Copy, Debug)]
pub struct Operator<'a> {
    /// What is read.
    pub input: Tensor,
    /// What is written; it overlaps `input` only where [`Kind::in_place`] allows it.
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
        /// Steps between taps, vertical and horizontal.
        dilation: [usize; 2],
        /// Channel groups.
        groups: usize,
        /// Most weights in one filter of a coded matrix.
        filter_weights: usize,
        /// Filters, biases, output range.
        linear: Linear<'a>,
    },
    /// Largest value under the window; padding never wins.
    MaxPool(Window),
    /// Mean under the window, ties towards +∞.
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
    /// `256·e^(s·x)/Σe^(s·x) − 128`, by a table of `e^(−s·d)` for the distance `d` to the maximum.
    Softmax {
        /// Little-endian u16, `round(65535·e^(−s·d))` for d = 0, 1, …; zero past its end.
        exponentials: &'a [u8],
    },
    /// `requantize((a − zₐ)·mₐ + (b − z_b)·m_b)`, rounded once.
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
}

/// Geometry of a window over height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal step, at least 1.
    pub stride: [usize; 2],
    /// Padding above and to the left. That below and to the right follows from the output's shape.
    pub padding: [usize; 2],
}

/// What dense layers and convolutions share.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    /// Output zero point and clamp.
    pub range: Output,
    /// The weights.
    pub weights: Weights<'a>,
    multipliers: &'a [u8],
    biases: &'a [u8],
    bias_bits: u8,
    bias_shift: u8,
}

/// Entries of the table of a function: one for each int8 argument.
pub const TABLE_ENTRIES: usize = 256;

/// Bytes of one multiplier.
pub const MULTIPLIER_BYTES: usize = 5;

impl<'a> Linear<'a> {
    #[inline(always)]
    fn parse(
        cursor: &mut Cursor<'a>,
        zero_point: i8,
        rows: usize,
        columns: usize,
    ) -> Result<Self, FormatError> {
        let flags = cursor.u8()?;
        let range = Output {
            zero_point,
            min: cursor.i8()?,
            max: cursor.i8()?,
        };
        if flags > 1 || columns > MAX_ROW {
            return Err(FormatError::Operator);
        }
        let count = if flags & 1 == 1 { rows } else { 1 };
        let multipliers = cursor.take(
            count
                .checked_mul(MULTIPLIER_BYTES)
                .ok_or(FormatError::Number)?,
        )?;
        let (bias_bits, bias_shift, biases) = biases(cursor, rows)?;
        let weights = Weights::parse(cursor, rows, columns)?;
        let (chunks, _) = multipliers.as_chunks();
        if !chunks.iter().all(|bytes| multiplier(bytes).is_some()) {
            return Err(FormatError::Operator);
        }
        Ok(Self {
            range,
            weights,
            multipliers,
            biases,
            bias_bits,
            bias_shift,
        })
    }

    /// Whether each output channel has its own multiplier.
    pub fn per_channel(&self) -> bool {
        self.multipliers.len() != MULTIPLIER_BYTES
    }

    /// Multipliers in order of output channels; a single one is that of all.
    pub fn multipliers(&self) -> Multipliers<'a> {
        let mut all = Multipliers {
            next: Multiplier::ZERO,
            rest: self.multipliers,
        };
        all.take();
        all
    }

    /// Low bits that are zero in every bias and are not stored.
    pub const fn bias_shift(&self) -> u8 {
        self.bias_shift
    }

    /// Biases in order of output channels, at the accumulators' scale, −2³⁰ … [`MAX_BIAS`].
    pub fn biases(&self) -> Biases<'a> {
        Biases {
            bits: BitReader::new(self.biases),
            width: self.bias_bits,
            shift: self.bias_shift,
        }
    }
}

fn biases<'a>(cursor: &mut Cursor<'a>, rows: usize) -> Result<(u8, u8, &'a [u8]), FormatError> {
    let bits = cursor.u8()?;
    if bits == 0 {
        return Ok((0, 0, &[]));
    }
    let shift = cursor.u8()?;
    // width + shift ≤ 31 keeps every bias within −2³⁰ … 2³⁰ − 1.
    if bits > 25 || bits + shift.min(31) > 31 {
        return Err(FormatError::Operator);
    }
    let bytes = rows
        .checked_mul(bits as usize)
        .ok_or(FormatError::Number)?
        .div_ceil(8);
    Ok((bits, shift, cursor.take(bytes)?))
}

fn multiplier(&[a, b, c, d, shift]: &[u8; MULTIPLIER_BYTES]) -> Option<Multiplier> {
    Multiplier::new(i32::from_le_bytes([a, b, c, d]), shift)
}

/// Reads multipliers one after the other.
#[derive(Clone, Debug)]
pub struct Multipliers<'a> {
    next: Multiplier,
    rest: &'a [u8],
}

impl Multipliers<'_> {
    /// The next output channel's multiplier; the last one again where there is no other.
    #[inline(always)]
    pub fn take(&mut self) -> Multiplier {
        let taken = self.next;
        if let Some((bytes, rest)) = self.rest.split_first_chunk() {
            // All were checked when the image was parsed.
            self.next = multiplier(bytes).unwrap_or(Multiplier::ZERO);
            self.rest = rest;
        }
        taken
    }
}

/// Reads biases one after the other.
#[derive(Clone, Debug)]
pub struct Biases<'a> {
    bits: BitReader<'a>,
    width: u8,
    shift: u8,
}

impl Biases<'_> {
    /// The next output channel's bias.
    #[inline(always)]
    pub fn take(&mut self) -> i32 {
        if self.width == 0 {
            return 0;
        }
        self.bits.read_signed(self.width as u32) << (self.shift & 31)
    }
}

impl<'a> Kind<'a> {
    /// Whether output and input may be the same memory: each element depends on its own place alone.
    pub const fn in_place(&self) -> bool {
        matches!(self, Kind::Clamp(_) | Kind::Table(_))
    }

    /// Arena bytes the operator needs beside its tensors.
    pub const fn scratch_bytes(&self) -> usize {
        match self {
            Kind::Dense(linear) => linear.weights.table_bytes(),
            Kind::Conv {
                linear,
                filter_weights,
                ..
            } if !linear.weights.is_plain() => {
                linear.weights.table_bytes() + *filter_weights * FILTER_ENTRY_BYTES
            }
            _ => 0,
        }
    }

    /// Weights and biases, of the operators that have some.
    pub const fn linear(&self) -> Option<&Linear<'a>> {
        match self {
            Kind::Dense(linear) | Kind::Conv { linear, .. } => Some(linear),
            _ => None,
        }
    }
}

/// Scratch bytes of one weight of a decoded filter: offset (u16), tap (u8), weight (i8).
pub const FILTER_ENTRY_BYTES: usize = 4;

/// Most taps (kernel height × width) of a coded convolution.
pub const MAX_TAPS: usize = 256;

impl Operator<'_> {
    /// Where an operator is read to.
    pub(crate) const NOTHING: Self = Self {
        input: Tensor::NOTHING,
        output: Tensor::NOTHING,
        scratch: 0,
        kind: Kind::Table(&[]),
    };
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
    match code {
        opcode::DENSE => dense(cursor, op)?,
        opcode::CONV => conv(cursor, op)?,
        opcode::MAX_POOL => op.kind = Kind::MaxPool(pool(cursor, 0, op)?.0),
        opcode::AVERAGE_POOL => {
            let own = window_flag::COUNT_INCLUDE_PAD;
            let (window, flags) = pool(cursor, own, op)?;
            op.kind = Kind::AveragePool {
                window,
                count_include_pad: flags & own != 0,
            };
        }
        opcode::CLAMP => {
            op.kind = Kind::Clamp(Output {
                zero_point: op.output.zero_point,
                min: cursor.i8()?,
                max: cursor.i8()?,
            });
        }
        opcode::TABLE => op.kind = Kind::Table(cursor.take(TABLE_ENTRIES)?),
        opcode::SOFTMAX => softmax(cursor, op)?,
        opcode::ADD => add(cursor, tensors, op)?,
        _ => return Err(FormatError::Operator),
    }
    let elementwise = matches!(
        op.kind,
        Kind::Clamp(_) | Kind::Table(_) | Kind::Softmax { .. } | Kind::Add { .. }
    );
    if elementwise && op.input.shape != op.output.shape {
        return Err(FormatError::Shape);
    }
    Ok(())
}

fn dense<'a>(cursor: &mut Cursor<'a>, op: &mut Operator<'a>) -> Result<(), FormatError> {
    let (rows, columns) = (op.output.shape.len(), op.input.shape.len());
    let linear = Linear::parse(cursor, op.output.zero_point, rows, columns)?;
    op.kind = Kind::Dense(linear);
    Ok(())
}

/// Bits of a window's flag byte: which of its optional fields follow.
pub mod window_flag {
    /// Padding (top, left) follows.
    pub const PADDING: u8 = 1;
    /// Strides follow; otherwise 1, 1.
    pub const STRIDE: u8 = 2;
    /// Dilations follow; otherwise 1, 1 (convolutions).
    pub const DILATION: u8 = 4;
    /// Groups follow; otherwise 1 (convolutions).
    pub const GROUPS: u8 = 8;
    /// Padding counts in the mean (average pooling).
    pub const COUNT_INCLUDE_PAD: u8 = 16;
}

fn pair(cursor: &mut Cursor, present: bool, default: usize) -> Result<[usize; 2], FormatError> {
    if present {
        Ok([cursor.size()?, cursor.size()?])
    } else {
        Ok([default; 2])
    }
}

fn window(cursor: &mut Cursor, flags: u8) -> Result<Window, FormatError> {
    let kernel = pair(cursor, true, 1)?;
    let padding = pair(cursor, flags & window_flag::PADDING != 0, 0)?;
    let stride = pair(cursor, flags & window_flag::STRIDE != 0, 1)?;
    Ok(Window {
        kernel,
        stride,
        padding,
    })
}

/// Every window must begin inside the input or its leading padding, and every size stay far from
/// overflow: then positions are computed without checks.
fn check_window(
    window: &Window,
    dilation: [usize; 2],
    input: &Shape,
    output: &Shape,
) -> Result<(), FormatError> {
    let sizes = [(input.height, output.height), (input.width, output.width)];
    for (axis, (size, positions)) in sizes.into_iter().enumerate() {
        let (Some(&kernel), Some(&stride)) = (window.kernel.get(axis), window.stride.get(axis))
        else {
            return Err(FormatError::Operator);
        };
        let (Some(&padding), Some(&dilation)) = (window.padding.get(axis), dilation.get(axis))
        else {
            return Err(FormatError::Operator);
        };
        let bounded = [kernel, stride, dilation]
            .iter()
            .all(|&n| (1..=MAX_WINDOW).contains(&n));
        if !bounded || padding > (kernel - 1) * dilation {
            return Err(FormatError::Operator);
        }
        if positions == 0 || (positions - 1).saturating_mul(stride) >= size.saturating_add(padding)
        {
            return Err(FormatError::Shape);
        }
    }
    Ok(())
}

/// Largest kernel, stride or dilation along one axis.
pub const MAX_WINDOW: usize = 1 << 12;

/// A pool's window and its flags, `own` among those allowed.
fn pool(cursor: &mut Cursor, own: u8, op: &Operator) -> Result<(Window, u8), FormatError> {
    let (input, output) = (&op.input, &op.output);
    let flags = cursor.u8()?;
    if flags & !(window_flag::PADDING | window_flag::STRIDE | own) != 0 {
        return Err(FormatError::Operator);
    }
    let window = window(cursor, flags)?;
    check_window(&window, [1, 1], &input.shape, &output.shape)?;
    let [height, width] = window.kernel;
    if input.shape.channels != output.shape.channels || height * width > MAX_ROW {
        return Err(FormatError::Shape);
    }
    Ok((window, flags))
}

fn conv<'a>(cursor: &mut Cursor<'a>, op: &mut Operator<'a>) -> Result<(), FormatError> {
    let (input, output) = (&op.input, &op.output);
    let flags = cursor.u8()?;
    if flags
        & !(window_flag::PADDING
            | window_flag::STRIDE
            | window_flag::DILATION
            | window_flag::GROUPS)
        != 0
    {
        return Err(FormatError::Operator);
    }
    let window = window(cursor, flags)?;
    let dilation = pair(cursor, flags & window_flag::DILATION != 0, 1)?;
    let groups = if flags & window_flag::GROUPS != 0 {
        cursor.size()?
    } else {
        1
    };
    let filter_weights = cursor.size()?;
    check_window(&window, dilation, &input.shape, &output.shape)?;
    let (channels, filters) = (input.shape.channels, output.shape.channels);
    if groups == 0 || channels % groups != 0 || filters % groups != 0 {
        return Err(FormatError::Shape);
    }
    let taps = window.kernel[0] * window.kernel[1];
    let columns = taps
        .checked_mul(channels / groups)
        .ok_or(FormatError::Shape)?;
    let linear = Linear::parse(cursor, output.zero_point, filters, columns)?;
    if filter_weights > columns
        || (!linear.weights.is_plain() && !codable(&window, dilation, &input.shape))
    {
        return Err(FormatError::Operator);
    }
    op.kind = Kind::Conv {
        window,
        dilation,
        groups,
        filter_weights,
        linear,
    };
    Ok(())
}

/// Whether a convolution's weights may be coded: whether a decoded filter's entries can name every
/// tap and every offset from a window's corner.
pub const fn codable(window: &Window, dilation: [usize; 2], input: &Shape) -> bool {
    let Shape {
        width, channels, ..
    } = *input;
    let taps = window.kernel[0].saturating_mul(window.kernel[1]);
    let down = ((window.kernel[0] - 1) * dilation[0]).saturating_mul(width);
    let across = (window.kernel[1] - 1) * dilation[1];
    let reach = down
        .saturating_add(across)
        .saturating_mul(channels)
        .saturating_add(channels);
    taps <= MAX_TAPS && reach <= 1 << 16
}

fn softmax<'a>(cursor: &mut Cursor<'a>, op: &mut Operator<'a>) -> Result<(), FormatError> {
    let count = cursor.u8()? as usize + 1;
    // A sum of at most 2¹⁵ terms below 2¹⁶ leaves a bit for rounding.
    if op.input.shape.len() > 1 << 15 {
        return Err(FormatError::Shape);
    }
    op.kind = Kind::Softmax {
        exponentials: cursor.take(count * 2)?,
    };
    Ok(())
}

fn add(cursor: &mut Cursor, tensors: &Tensors, op: &mut Operator) -> Result<(), FormatError> {
    let other = tensors.nth(cursor.varint()?)?;
    let range = Output {
        zero_point: op.output.zero_point,
        min: cursor.i8()?,
        max: cursor.i8()?,
    };
    let mantissas = [cursor.u32()? as i32, cursor.u32()? as i32];
    let shift = cursor.u8()?;
    if other.shape != op.input.shape {
        return Err(FormatError::Shape);
    }
    let bounded = mantissas.iter().all(|m| m.unsigned_abs() < 1 << 30);
    if !bounded || !(1..=62).contains(&shift) {
        return Err(FormatError::Operator);
    }
    op.kind = Kind::Add {
        other,
        mantissas,
        shift,
        range,
    };
    Ok(())
}
