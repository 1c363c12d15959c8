//! Tensors of an image: activations in the arena.

use crate::FormatError;
use crate::cursor::Cursor;

/// `[height, width, channels]`, channels last; a vector is `[1, 1, n]`. No side is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Innermost axis.
    pub channels: usize,
}

/// The sign of a tensor's scale, which is positive, says that its elements are int16.
pub const WIDE: u32 = 1 << 31;

/// Most elements of one tensor.
pub const MAX_ELEMENTS: usize = 1 << 28;

impl Shape {
    /// A shape of at least one and at most [`MAX_ELEMENTS`] elements.
    pub fn new(height: usize, width: usize, channels: usize) -> Option<Self> {
        let elements = height.checked_mul(width)?.checked_mul(channels)?;
        if (1..=MAX_ELEMENTS).contains(&elements) {
            Some(Self {
                height,
                width,
                channels,
            })
        } else {
            None
        }
    }

    /// Elements. (At least one, hence no `is_empty`.)
    #[allow(clippy::len_without_is_empty)]
    pub const fn len(&self) -> usize {
        self.height * self.width * self.channels
    }
}

/// An activation of int8 or int16 elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// Its place among the image's tensors, by which operators name it.
    pub number: u32,
    /// Shape.
    pub shape: Shape,
    /// Real units per integer step, as IEEE 754 binary32 bits: the device never computes with it.
    pub scale_bits: u32,
    /// The integer that stands for zero; 0 where elements are wide.
    pub zero_point: i8,
    /// Whether elements are int16, little-endian, and not int8.
    pub wide: bool,
    /// First byte in the arena.
    pub offset: usize,
}

impl Tensor {
    /// Where a tensor is read to.
    pub(crate) const NOTHING: Self = Self {
        number: 0,
        shape: Shape {
            height: 1,
            width: 1,
            channels: 1,
        },
        scale_bits: 0,
        zero_point: 0,
        wide: false,
        offset: 0,
    };

    /// Reads: `channels << 1 | has_plane`, height and width if it has a plane, scale, zero point,
    /// arena offset.
    #[inline(never)]
    pub(crate) fn parse(cursor: &mut Cursor, number: u32) -> Result<Self, FormatError> {
        let head = cursor.size()?;
        let (height, width) = if head & 1 == 1 {
            (cursor.size()?, cursor.size()?)
        } else {
            (1, 1)
        };
        let shape = Shape::new(height, width, head >> 1).ok_or(FormatError::Shape)?;
        let scale = cursor.u32()?;
        let tensor = Self {
            number,
            shape,
            scale_bits: scale & !WIDE,
            zero_point: cursor.i8()?,
            wide: scale & WIDE != 0,
            offset: cursor.size()?,
        };
        if tensor.wide && !cfg!(feature = "wide") {
            return Err(FormatError::LeftOut);
        }
        if tensor.wide && tensor.zero_point != 0 {
            return Err(FormatError::Number);
        }
        Ok(tensor)
    }

    /// Bytes in the arena.
    pub const fn bytes(&self) -> usize {
        self.shape.len() << self.wide as usize
    }

    /// One past the last byte in the arena.
    pub const fn end(&self) -> usize {
        self.offset.saturating_add(self.bytes())
    }

    pub(crate) const fn overlaps(&self, start: usize, end: usize) -> bool {
        self.offset < end && start < self.end()
    }
}

/// The tensors of an image, checked, by their numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tensors<'a> {
    /// Where the first one stands.
    first: Cursor<'a>,
    count: u32,
    /// One past the last byte of all in the arena.
    end: usize,
}

impl<'a> Tensors<'a> {
    /// Reads past all of them; each lies within the arena.
    pub(crate) fn parse(
        cursor: &mut Cursor<'a>,
        count: u32,
        arena_bytes: usize,
    ) -> Result<Self, FormatError> {
        let (first, mut end) = (*cursor, 0);
        for number in 0..count {
            end = Tensor::parse(cursor, number)?.end().max(end);
        }
        if end > arena_bytes {
            return Err(FormatError::Arena);
        }
        Ok(Self { first, count, end })
    }

    pub(crate) const fn end(&self) -> usize {
        self.end
    }

    pub(crate) const fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn nth(&self, number: u32) -> Result<Tensor, FormatError> {
        if number >= self.count {
            return Err(FormatError::Tensor);
        }
        let mut cursor = self.first;
        for before in 0..number {
            Tensor::parse(&mut cursor, before)?;
        }
        Tensor::parse(&mut cursor, number)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Tensor> + 'a {
        let mut cursor = self.first;
        (0..self.count).map_while(move |number| Tensor::parse(&mut cursor, number).ok())
    }
}
