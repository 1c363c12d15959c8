//! Matrices of weights with what turns their sums into activations.

use super::range;
use crate::FormatError;
use crate::bits::BitReader;
use crate::cursor::Cursor;
#[cfg(doc)]
use crate::numerics::MAX_BIAS;
use crate::numerics::{MAX_ROW, Multiplier, Output};
use crate::weights::Weights;

/// What dense layers and convolutions share, and each matrix of a recurrent layer.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    /// Output zero point and clamp.
    pub range: Output,
    /// The weights.
    pub weights: Weights<'a>,
    multipliers: &'a [u8],
    biases: Integers<'a>,
}

/// Bytes of one multiplier.
pub const MULTIPLIER_BYTES: usize = 5;

impl<'a> Linear<'a> {
    /// Reads the matrix and, behind its flags, the output's range.
    #[inline(always)]
    pub(super) fn parse(
        cursor: &mut Cursor<'a>,
        zero_point: i8,
        rows: usize,
        columns: usize,
    ) -> Result<Self, FormatError> {
        let flags = cursor.u8()?;
        let range = range(cursor, zero_point)?;
        let linear = Self::body(cursor, flags, range, [rows, columns])?;
        linear.check()?;
        Ok(linear)
    }

    /// Whether all multipliers are within range.
    #[inline(never)]
    pub(super) fn check(&self) -> Result<(), FormatError> {
        let (chunks, _) = self.multipliers.as_chunks();
        if chunks.iter().all(|bytes| multiplier_of(bytes).is_some()) {
            Ok(())
        } else {
            Err(FormatError::Operator)
        }
    }

    /// Reads the matrix alone, its multipliers unchecked.
    pub(super) fn matrix(
        cursor: &mut Cursor<'a>,
        range: Output,
        rows: usize,
        columns: usize,
    ) -> Result<Self, FormatError> {
        let flags = cursor.u8()?;
        Self::body(cursor, flags, range, [rows, columns])
    }

    // Once, not in each reader of an operator.
    #[inline(never)]
    fn body(
        cursor: &mut Cursor<'a>,
        flags: u8,
        range: Output,
        [rows, columns]: [usize; 2],
    ) -> Result<Self, FormatError> {
        if flags > 1 || columns > MAX_ROW {
            return Err(FormatError::Operator);
        }
        let count = if flags & 1 == 1 { rows } else { 1 };
        let multipliers = cursor.take(
            count
                .checked_mul(MULTIPLIER_BYTES)
                .ok_or(FormatError::Number)?,
        )?;
        let biases = Integers::parse(cursor, rows)?;
        let weights = Weights::parse(cursor, rows, columns)?;
        Ok(Self {
            range,
            weights,
            multipliers,
            biases,
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
        self.biases.shift()
    }

    /// Biases in order of output channels, at the accumulators' scale, −2³⁰ … [`MAX_BIAS`].
    pub fn biases(&self) -> Integers<'a> {
        self.biases
    }
}

fn multiplier_of(&[a, b, c, d, shift]: &[u8; MULTIPLIER_BYTES]) -> Option<Multiplier> {
    Multiplier::new(i32::from_le_bytes([a, b, c, d]), shift)
}

/// Reads one multiplier.
pub(super) fn multiplier(cursor: &mut Cursor) -> Result<Multiplier, FormatError> {
    multiplier_of(&cursor.array()?).ok_or(FormatError::Operator)
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
            self.next = multiplier_of(bytes).unwrap_or(Multiplier::ZERO);
            self.rest = rest;
        }
        taken
    }
}

/// Integers of one width, packed; a copy starts at the first.
#[derive(Clone, Copy, Debug)]
pub struct Integers<'a> {
    bits: BitReader<'a>,
    width: u8,
    shift: u8,
}

impl<'a> Integers<'a> {
    pub(super) fn parse(cursor: &mut Cursor<'a>, count: usize) -> Result<Self, FormatError> {
        let (width, mut shift, mut bytes) = (cursor.u8()?, 0, &[][..]);
        if width > 0 {
            shift = cursor.u8()?;
            // width + shift ≤ 31 keeps every integer within −2³⁰ … 2³⁰ − 1.
            if width > 25 || width + shift.min(31) > 31 {
                return Err(FormatError::Operator);
            }
            let bits = count.checked_mul(width as usize);
            bytes = cursor.take(bits.ok_or(FormatError::Number)?.div_ceil(8))?;
        }
        Ok(Self {
            bits: BitReader::new(bytes),
            width,
            shift,
        })
    }

    /// The next one.
    #[inline(always)]
    pub fn take(&mut self) -> i32 {
        if self.width == 0 {
            return 0;
        }
        self.bits.read_signed(self.width as u32) << (self.shift & 31)
    }

    /// Low bits that are zero in all and are not stored.
    pub const fn shift(&self) -> u8 {
        self.shift
    }
}
