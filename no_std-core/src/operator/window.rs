//! Operators of a window that slides over height and width: pools and convolutions.

use super::{Kind, Linear, Operator};
use crate::FormatError;
use crate::cursor::Cursor;
use crate::numerics::MAX_ROW;
use crate::panels::{Layout, ROWS};
use crate::tensor::Shape;

/// Geometry of a window over height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width, in taps.
    pub kernel: [usize; 2],
    /// Vertical and horizontal step, at least 1.
    pub stride: [usize; 2],
    /// Padding above and to the left. That below and to the right follows from the output's shape.
    pub padding: [usize; 2],
    /// Steps between taps, vertical and horizontal, at least 1.
    pub dilation: [usize; 2],
}

impl Window {
    /// Places that it covers.
    pub const fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

/// Bits of a window's flag byte: which of its optional fields follow.
pub mod window_flag {
    /// Padding (top, left) follows.
    pub const PADDING: u8 = 1;
    /// Strides follow; otherwise 1, 1.
    pub const STRIDE: u8 = 2;
    /// Dilations follow; otherwise 1, 1.
    pub const DILATION: u8 = 4;
    /// Groups follow; otherwise 1 (convolutions).
    pub const GROUPS: u8 = 8;
    /// Padding counts in the mean (average pooling).
    pub const COUNT_INCLUDE_PAD: u8 = 16;
}

/// Largest kernel, stride or dilation along one axis.
pub const MAX_WINDOW: usize = 1 << 12;

/// Scratch bytes of one weight of a decoded filter: offset (u16), tap (u8), weight (i8).
pub const FILTER_ENTRY_BYTES: usize = 4;

/// Most taps (kernel height × width) of a coded convolution.
pub const MAX_TAPS: usize = 256;

fn pair(cursor: &mut Cursor, present: bool, default: usize) -> Result<[usize; 2], FormatError> {
    if present {
        Ok([cursor.size()?, cursor.size()?])
    } else {
        Ok([default; 2])
    }
}

/// A window that suits input and output, and its flags, `own` among those allowed.
fn window(cursor: &mut Cursor, own: u8, op: &Operator) -> Result<(Window, u8), FormatError> {
    let flags = cursor.u8()?;
    if flags & !(window_flag::PADDING | window_flag::STRIDE | window_flag::DILATION | own) != 0 {
        return Err(FormatError::Operator);
    }
    let window = Window {
        kernel: pair(cursor, true, 1)?,
        padding: pair(cursor, flags & window_flag::PADDING != 0, 0)?,
        stride: pair(cursor, flags & window_flag::STRIDE != 0, 1)?,
        dilation: pair(cursor, flags & window_flag::DILATION != 0, 1)?,
    };
    let [vertical, horizontal] = axes(&window);
    check_axis(vertical, op.input.shape.height, op.output.shape.height)?;
    check_axis(horizontal, op.input.shape.width, op.output.shape.width)?;
    Ok((window, flags))
}

/// Kernel, padding, stride and dilation along height and along width.
fn axes(window: &Window) -> [[usize; 4]; 2] {
    let Window {
        kernel: [kh, kw],
        padding: [top, left],
        stride: [down, right],
        dilation: [dh, dw],
    } = *window;
    [[kh, top, down, dh], [kw, left, right, dw]]
}

/// Every window must begin inside the input or its leading padding, and every size stay far from
/// overflow: then positions are computed without checks.
fn check_axis(
    [kernel, padding, stride, dilation]: [usize; 4],
    size: usize,
    positions: usize,
) -> Result<(), FormatError> {
    let bounded = [kernel, stride, dilation]
        .iter()
        .all(|&n| (1..=MAX_WINDOW).contains(&n));
    if !bounded || padding > (kernel - 1) * dilation {
        return Err(FormatError::Operator);
    }
    if positions == 0 || (positions - 1).saturating_mul(stride) >= size.saturating_add(padding) {
        return Err(FormatError::Shape);
    }
    Ok(())
}

/// A pool's window and its flags, `own` among those allowed.
pub(super) fn pool(
    cursor: &mut Cursor,
    own: u8,
    op: &Operator,
) -> Result<(Window, u8), FormatError> {
    let (window, flags) = window(cursor, own, op)?;
    let [height, width] = window.kernel;
    if op.input.shape.channels != op.output.shape.channels || height * width > MAX_ROW {
        return Err(FormatError::Shape);
    }
    Ok((window, flags))
}

pub(super) fn conv<'a>(cursor: &mut Cursor<'a>, op: &mut Operator<'a>) -> Result<(), FormatError> {
    let (window, flags) = window(cursor, window_flag::GROUPS, op)?;
    let (input, output) = (&op.input, &op.output);
    let groups = if flags & window_flag::GROUPS != 0 {
        cursor.size()?
    } else {
        1
    };
    let filter_weights = cursor.size()?;
    let (channels, filters) = (input.shape.channels, output.shape.channels);
    if groups == 0 || channels % groups != 0 || filters % groups != 0 {
        return Err(FormatError::Shape);
    }
    let columns = window
        .taps()
        .checked_mul(channels / groups)
        .ok_or(FormatError::Shape)?;
    let linear = Linear::parse(cursor, output.zero_point, filters, columns)?;
    let readable = match linear.panels().map(|panels| panels.layout) {
        Some(Layout::Shared) => groups == 1,
        Some(Layout::Channels) => groups == channels && groups == filters && groups % ROWS == 0,
        None => linear.weights.is_plain() || codable(&window, &input.shape),
    };
    if filter_weights > columns || !readable {
        return Err(FormatError::Operator);
    }
    op.kind = Kind::Conv {
        window,
        groups,
        filter_weights,
        linear,
    };
    Ok(())
}

/// Whether a convolution's weights may be coded: whether a decoded filter's entries can name every
/// tap and every offset from a window's corner.
pub const fn codable(window: &Window, input: &Shape) -> bool {
    let Shape {
        width, channels, ..
    } = *input;
    let taps = window.kernel[0].saturating_mul(window.kernel[1]);
    let down = ((window.kernel[0] - 1) * window.dilation[0]).saturating_mul(width);
    let across = (window.kernel[1] - 1) * window.dilation[1];
    let reach = down
        .saturating_add(across)
        .saturating_mul(channels)
        .saturating_add(channels);
    taps <= MAX_TAPS && reach <= 1 << 16
}
