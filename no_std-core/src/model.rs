//! The image as a whole: header, checks, and access to what was checked.

use crate::FormatError;
use crate::crc::crc32;
use crate::cursor::Cursor;
use crate::operator::{self, Operator};
use crate::tensor::{Tensor, Tensors};
use core::ops::Range;

/// First bytes of every image.
pub const MAGIC: [u8; 4] = *b"Pith";

/// Version written and read.
pub const VERSION: u8 = 1;

/// Most tensors, and most operators, of one image: checking is quadratic in them.
const MAX_COUNT: u32 = 1 << 12;

/// Largest arena, so that no end of a tensor within it overflows.
const MAX_ARENA: usize = 1 << 30;

/// Bytes before the part that the checksum covers: magic, version, CRC-32.
pub const PREFIX_BYTES: usize = 9;

/// A checked image. Every offset, length, shape, code table and overlap was validated by
/// [`parse`](Self::parse), so reading and running it cannot fail.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    bytes: &'a [u8],
    macs: u32,
    arena_bytes: usize,
    input: u32,
    output: u32,
    tensors: Tensors<'a>,
    operator_count: u32,
    /// Where these begin.
    operators: usize,
    metadata: usize,
}

impl<'a> Model<'a> {
    /// Checks an image and gives access to it.
    ///
    /// # Errors
    /// On anything that is not a whole, consistent image; input may be hostile.
    // Not inline: what checking needs of the stack is free again when a model runs.
    #[inline(never)]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut cursor = Cursor::new(bytes, 0);
        check_header(&mut cursor, bytes)?;
        let macs = cursor.varint()?;
        let arena_bytes = cursor.size()?;
        if arena_bytes > MAX_ARENA {
            return Err(FormatError::Arena);
        }
        let (input, output) = (cursor.varint()?, cursor.varint()?);
        let tensor_count = count(&mut cursor)?;
        let tensors = Tensors::parse(&mut cursor, tensor_count, arena_bytes)?;
        let operator_count = count(&mut cursor)?;
        let operators = cursor.position();
        let mut memory = Memory {
            bytes: arena_bytes,
            free: tensors.end(),
            carried: 0..0,
        };
        for _ in 0..operator_count {
            check_next(&mut cursor, &tensors, &mut memory)?;
        }
        if !memory.is_divided() {
            return Err(FormatError::Arena);
        }
        let metadata = cursor.position();
        check_metadata(&mut cursor, bytes.len())?;
        Ok(Self {
            bytes,
            macs,
            arena_bytes,
            input: tensors.nth(input)?.number,
            output: tensors.nth(output)?.number,
            tensors,
            operator_count,
            operators,
            metadata,
        })
    }

    /// The image itself.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Working memory of an inference, in bytes: all activations and scratch.
    pub const fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// The tensor fed from outside.
    pub fn input(&self) -> Tensor {
        // Both were found when the image was parsed.
        self.tensors.nth(self.input).unwrap_or(Tensor::NOTHING)
    }

    /// The tensor handed out.
    pub fn output(&self) -> Tensor {
        self.tensors.nth(self.output).unwrap_or(Tensor::NOTHING)
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        self.input().shape.len()
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        self.output().shape.len()
    }

    /// Number of tensors.
    pub const fn tensor_count(&self) -> usize {
        self.tensors.count() as usize
    }

    /// All tensors, in order of their numbers.
    pub fn tensors(&self) -> impl Iterator<Item = Tensor> + 'a {
        self.tensors.iter()
    }

    /// Number of operators.
    pub const fn operator_count(&self) -> usize {
        self.operator_count as usize
    }

    /// Shows the operators in the order of execution. An operator is too large to be moved about on a
    /// small stack, as an iterator would.
    #[inline(always)]
    pub fn visit_operators(&self, mut visit: impl FnMut(&Operator<'a>)) {
        let mut cursor = Cursor::new(self.bytes, self.operators);
        let mut op = Operator::NOTHING;
        for _ in 0..self.operator_count {
            // All were read when the image was parsed.
            if operator::parse(&mut cursor, &self.tensors, &mut op).is_ok() {
                visit(&op);
            }
        }
    }

    /// The operators in the order of execution.
    pub fn operators(&self) -> impl Iterator<Item = Operator<'a>> + 'a {
        let mut cursor = Cursor::new(self.bytes, self.operators);
        let tensors = self.tensors;
        (0..self.operator_count).map_while(move |_| {
            let mut op = Operator::NOTHING;
            let read = operator::parse(&mut cursor, &tensors, &mut op);
            read.is_ok().then_some(op)
        })
    }

    /// Dense multiply-accumulates of one inference of the network before it was compressed, as its
    /// writer says: what dense kernels would have to do.
    pub const fn macs(&self) -> u32 {
        self.macs
    }

    /// Keys and values, in the order written (class labels, meaning of the input).
    pub fn metadata(&self) -> impl Iterator<Item = (&'a str, &'a str)> + 'a {
        let mut cursor = Cursor::new(self.bytes, self.metadata);
        let count = cursor.varint().unwrap_or(0);
        (0..count).map_while(move |_| Some((text(&mut cursor).ok()?, text(&mut cursor).ok()?)))
    }
}

fn count(cursor: &mut Cursor) -> Result<u32, FormatError> {
    let count = cursor.varint()?;
    if count <= MAX_COUNT {
        Ok(count)
    } else {
        Err(FormatError::Number)
    }
}

fn check_header(cursor: &mut Cursor, bytes: &[u8]) -> Result<(), FormatError> {
    if cursor.array()? != MAGIC {
        return Err(FormatError::Magic);
    }
    if cursor.u8()? != VERSION {
        return Err(FormatError::Version);
    }
    let checksum = cursor.u32()?;
    let length = cursor.size()?;
    if length > bytes.len() {
        return Err(FormatError::Truncated);
    }
    if length < bytes.len() {
        return Err(FormatError::Trailing);
    }
    if crc32(bytes.get(PREFIX_BYTES..).unwrap_or(&[])) != checksum {
        return Err(FormatError::Checksum);
    }
    Ok(())
}

#[inline(never)]
fn check_next(
    cursor: &mut Cursor,
    tensors: &Tensors,
    memory: &mut Memory,
) -> Result<(), FormatError> {
    let mut op = Operator::NOTHING;
    operator::parse(cursor, tensors, &mut op)?;
    memory.check(&op)
}

/// The arena as the operators divide it: what one inference leaves to the next stands at its end, and
/// everything else before that.
struct Memory {
    bytes: usize,
    /// One past everything that is free between inferences.
    free: usize,
    /// First and one past the last byte of what is carried over so far.
    carried: Range<usize>,
}

impl Memory {
    /// What an operator reads, writes and scribbles on must be inside the arena and apart.
    #[inline(never)]
    fn check(&mut self, op: &Operator) -> Result<(), FormatError> {
        let scratch = Place {
            start: op.scratch,
            bytes: op.kind.scratch_bytes(),
        };
        let end = scratch.end().ok_or(FormatError::Arena)?;
        let mut apart = end <= self.bytes && scratch.is_apart(&op.output);
        for read in op.reads() {
            apart &= scratch.is_apart(read) && may_be_read(op, read);
        }
        if apart && self.divide(op, end) {
            Ok(())
        } else {
            Err(FormatError::Arena)
        }
    }

    /// Takes note of an operator's scratch memory.
    fn divide(&mut self, op: &Operator, scratch_end: usize) -> bool {
        if !cfg!(feature = "recurrent") {
            return true;
        }
        if !op.kind.carries() {
            self.free = self.free.max(scratch_end);
        } else if self.carried.is_empty() {
            self.carried = op.scratch..scratch_end;
        } else if op.scratch >= self.carried.end {
            self.carried.end = scratch_end;
        } else {
            return false;
        }
        true
    }

    /// Whether nothing that is carried over is used for anything else.
    fn is_divided(&self) -> bool {
        self.carried.is_empty() || self.free <= self.carried.start
    }
}

/// Scratch memory.
struct Place {
    start: usize,
    bytes: usize,
}

impl Place {
    fn end(&self) -> Option<usize> {
        self.start.checked_add(self.bytes)
    }

    fn is_apart(&self, tensor: &Tensor) -> bool {
        let end = self.start.saturating_add(self.bytes);
        self.bytes == 0 || !tensor.overlaps(self.start, end)
    }
}

/// Whether the output leaves a tensor alone until it was read: it lies elsewhere, in the same place if
/// each element depends on its own alone, or far enough before it.
#[inline(never)]
fn may_be_read(op: &Operator, read: &Tensor) -> bool {
    let output = &op.output;
    if !read.overlaps(output.offset, output.end()) {
        return true;
    }
    let same = (read.offset, read.shape, read.wide) == (output.offset, output.shape, output.wide);
    if same && op.kind.in_place() {
        return true;
    }
    let ahead = read.offset.checked_sub(output.offset);
    matches!((ahead, op.clearance()), (Some(ahead), Some(least)) if ahead >= least)
}

fn check_metadata(cursor: &mut Cursor, length: usize) -> Result<(), FormatError> {
    for _ in 0..cursor.varint()? {
        text(cursor)?;
        text(cursor)?;
    }
    if cursor.position() == length {
        Ok(())
    } else {
        Err(FormatError::Trailing)
    }
}

fn text<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, FormatError> {
    let length = cursor.size()?;
    core::str::from_utf8(cursor.take(length)?).map_err(|_| FormatError::Metadata)
}
