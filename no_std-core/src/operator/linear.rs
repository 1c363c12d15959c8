//! Matrices of weights with what turns their sums into activations.

use super::range;
use crate::FormatError;
use crate::bits::BitReader;
use crate::cursor::Cursor;
#[cfg(doc)]
use crate::numerics::MAX_BIAS;
use crate::numerics::{MAX_ROW, Multiplier, Output};
#[cfg(feature = "panels")]
use crate::panels::Layout;
use crate::panels::Panels;
use crate::weights::Weights;

/// What dense layers and convolutions share, and each matrix of a recurrent layer.
#[derive(Clone, Copy, Debug)]
pub struct Linear<'a> {
    /// Output zero point and clamp.
    pub range: Output,
    /// The weights.
    pub weights: Weights<'a>,
    #[cfg(feature = "context")]
    centred: bool,
    /// One, one and a gain of each row, or one of each row: told apart by their length.
    multipliers: &'a [u8],
    biases: Integers<'a>,
}

/// What a number beyond those known means: in a build that leaves a coder or a layout out, it may be theirs.
const UNKNOWN: FormatError = if cfg!(all(feature = "context", feature = "panels")) {
    FormatError::Operator
} else {
    FormatError::LeftOut
};

/// Bits of the flags before a matrix.
pub mod linear_flag {
    /// A multiplier for each row.
    pub const PER_CHANNEL: u8 = 1;
    /// See [`Linear::is_centred`](super::Linear::is_centred).
    pub const CENTRED: u8 = 2;
    /// A multiplier for each row, given as one for all and a gain of each.
    pub const GAINS: u8 = 4;
    /// Weights, biases and multipliers together in [`panels`](crate::panels), without other flags but the next.
    pub const PANELS: u8 = 8;
    /// Of panels: each row has a channel of its own.
    pub const CHANNELS: u8 = 16;
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
        #[cfg(feature = "panels")]
        if flags & !linear_flag::CHANNELS == linear_flag::PANELS {
            let layout = match flags & linear_flag::CHANNELS {
                0 => Layout::Shared,
                _ => Layout::Channels,
            };
            return Self::in_panels(cursor, layout, range, [rows, columns]);
        }
        #[cfg(feature = "context")]
        if flags & linear_flag::CENTRED != 0 {
            let flags = flags & !linear_flag::CENTRED;
            let mut linear = Self::body(cursor, flags, range, [rows, columns])?;
            linear.check()?;
            linear.centred = true;
            return match linear.weights.is_plain() {
                true => Err(FormatError::Operator),
                false => Ok(linear),
            };
        }
        let linear = Self::body(cursor, flags, range, [rows, columns])?;
        linear.check()?;
        Ok(linear)
    }

    #[cfg(feature = "panels")]
    #[inline(never)]
    fn in_panels(
        cursor: &mut Cursor<'a>,
        layout: Layout,
        range: Output,
        [rows, columns]: [usize; 2],
    ) -> Result<Self, FormatError> {
        if columns > MAX_ROW {
            return Err(FormatError::Operator);
        }
        Ok(Self {
            range,
            weights: Weights::in_panels(cursor, layout, [rows, columns])?,
            #[cfg(feature = "context")]
            centred: false,
            multipliers: &[],
            biases: Integers::NONE,
        })
    }

    /// Whether all multipliers are within range.
    #[inline(always)]
    pub(super) fn check(&self) -> Result<(), FormatError> {
        // Not of `self`: what a function may look at as a whole stands on the stack once more.
        match are_within(self.multipliers, self.has_gains()) {
            true => Ok(()),
            false => Err(FormatError::Operator),
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
        let bytes = match flags {
            0 => Some(MULTIPLIER_BYTES),
            linear_flag::PER_CHANNEL => rows.checked_mul(MULTIPLIER_BYTES),
            linear_flag::GAINS => rows.checked_add(MULTIPLIER_BYTES),
            _ => return Err(UNKNOWN),
        };
        if columns > MAX_ROW {
            return Err(FormatError::Operator);
        }
        let multipliers = cursor.take(bytes.ok_or(FormatError::Number)?)?;
        let biases = Integers::parse(cursor, rows)?;
        let weights = Weights::parse(cursor, rows, columns)?;
        Ok(Self {
            range,
            weights,
            #[cfg(feature = "context")]
            centred: false,
            multipliers,
            biases,
        })
    }

    /// Whether reading it takes the feature `context`.
    pub const fn needs_context(&self) -> bool {
        self.weights.is_context() || self.is_centred() || self.biases.is_coded()
    }

    /// Whether products are of inputs less their zero point: the biases are then without its share.
    #[inline(always)]
    pub const fn is_centred(&self) -> bool {
        #[cfg(feature = "context")]
        return self.centred;
        #[cfg(not(feature = "context"))]
        false
    }

    /// Rows with their biases and multipliers, where they stand in panels; [`multipliers`](Self::multipliers)
    /// and [`biases`](Self::biases) then have nothing to say.
    #[inline(always)]
    pub fn panels(&self) -> Option<Panels<'a>> {
        self.weights.panels()
    }

    /// Whether each output channel has its own multiplier.
    pub fn per_channel(&self) -> bool {
        self.multipliers.len() != MULTIPLIER_BYTES
    }

    /// Whether these are one for all times a gain of each channel.
    pub fn has_gains(&self) -> bool {
        // Of whole multipliers there are one, or as many as rows.
        self.multipliers.len() == MULTIPLIER_BYTES + self.weights.rows
    }

    /// Multipliers in order of output channels; a single one is that of all.
    pub fn multipliers(&self) -> Multipliers<'a> {
        let are_gains = self.has_gains();
        let mut all = Multipliers {
            common: Multiplier::ZERO,
            rest: self.multipliers,
            are_gains: false,
        };
        if are_gains || !self.per_channel() {
            all.common = all.read();
        }
        all.are_gains = are_gains;
        all
    }

    /// Biases in order of output channels, at the accumulators' scale, −2³⁰ … [`MAX_BIAS`].
    pub fn biases(&self) -> Integers<'a> {
        self.biases
    }
}

#[inline(never)]
fn are_within(multipliers: &[u8], gained: bool) -> bool {
    match multipliers.split_first_chunk() {
        // Of all gains the one with the greatest shift is the first to leave the range.
        Some((common, gains)) if gained => {
            let most = gains.iter().fold(0, |most: u8, &gain| most.max(gain));
            multiplier_of(common)
                .and_then(|m| m.with_gain(most))
                .is_some()
        }
        _ => {
            let (all, _) = multipliers.as_chunks();
            all.iter().all(|bytes| multiplier_of(bytes).is_some())
        }
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
    /// That of all, or what gains belong to.
    common: Multiplier,
    /// Those of channels to come, or their gains.
    rest: &'a [u8],
    are_gains: bool,
}

impl Multipliers<'_> {
    /// The next output channel's multiplier.
    #[inline(always)]
    pub fn take(&mut self) -> Multiplier {
        match self.rest {
            [] => self.common,
            _ => self.read(),
        }
    }

    // Once, not in each kernel. All were checked when the image was parsed.
    #[inline(never)]
    fn read(&mut self) -> Multiplier {
        let mut read = None;
        if !self.are_gains {
            if let Some((bytes, rest)) = self.rest.split_first_chunk() {
                (read, self.rest) = (multiplier_of(bytes), rest);
            }
        } else if let Some((&gain, rest)) = self.rest.split_first() {
            (read, self.rest) = (self.common.with_gain(gain), rest);
        }
        read.unwrap_or(Multiplier::ZERO)
    }
}

/// Integers of one width, or coded; a copy starts at the first.
#[derive(Clone, Copy, Debug)]
pub struct Integers<'a> {
    bits: BitReader<'a>,
    width: u8,
    shift: u8,
    /// The next one, of those that ascend.
    #[cfg(feature = "context")]
    next: i32,
}

/// What a width beyond those of packed integers means: the parameter of a Rice code is in its low bits.
pub mod integers {
    /// Each is coded.
    pub const RICE: u8 = 32;
    /// The first is given and the differences are coded, of which none is negative.
    pub const ASCENDING: u8 = 64;
    /// Largest parameter of the code.
    pub const MAX_RICE: u8 = 24;
    /// Most units that a coded integer has; reading stops there.
    pub const MAX_UNITS: u32 = 24;
}

impl<'a> Integers<'a> {
    /// All zeros.
    #[cfg(feature = "panels")]
    const NONE: Self = Self {
        bits: BitReader::new(&[]),
        width: 0,
        shift: 0,
        #[cfg(feature = "context")]
        next: 0,
    };

    pub(super) fn parse(cursor: &mut Cursor<'a>, count: usize) -> Result<Self, FormatError> {
        let width = cursor.u8()?;
        #[cfg(feature = "context")]
        if width >= integers::RICE {
            return Self::parse_coded(cursor, width);
        }
        let (mut shift, mut bytes) = (0, &[][..]);
        if width > 0 {
            shift = cursor.u8()?;
            // width + shift ≤ 31 keeps every integer within −2³⁰ … 2³⁰ − 1.
            if width > 25 || width + shift.min(31) > 31 {
                return Err(UNKNOWN);
            }
            let bits = count.checked_mul(width as usize);
            bytes = cursor.take(bits.ok_or(FormatError::Number)?.div_ceil(8))?;
        }
        Ok(Self {
            bits: BitReader::new(bytes),
            width,
            shift,
            #[cfg(feature = "context")]
            next: 0,
        })
    }

    #[cfg(feature = "context")]
    #[inline(never)]
    fn parse_coded(cursor: &mut Cursor<'a>, width: u8) -> Result<Self, FormatError> {
        let shift = cursor.u8()?;
        let is_known = width < 2 * integers::ASCENDING - integers::RICE;
        if !is_known || width & 31 > integers::MAX_RICE || shift > 30 {
            return Err(FormatError::Operator);
        }
        let first = if width >= integers::ASCENDING {
            cursor.varint()?
        } else {
            0
        };
        let length = cursor.size()?;
        Ok(Self {
            bits: BitReader::new(cursor.take(length)?),
            width,
            shift,
            next: within(signed(first), shift),
        })
    }

    /// The next one, −2³⁰ … [`MAX_BIAS`].
    #[inline(always)]
    pub fn take(&mut self) -> i32 {
        #[cfg(feature = "context")]
        if self.is_coded() {
            return self.take_coded();
        }
        if self.width == 0 {
            return 0;
        }
        self.bits.read_signed(self.width as u32) << (self.shift & 31)
    }

    #[cfg(feature = "context")]
    #[inline(never)]
    fn take_coded(&mut self) -> i32 {
        let units = (!self.bits.peek()).leading_zeros().min(integers::MAX_UNITS);
        self.bits.skip(units + 1);
        let parameter = self.width as u32 & 31;
        // Below 25 · 2²⁴.
        let number = (units << parameter) + self.bits.read(parameter);
        if self.width < integers::ASCENDING {
            return within(signed(number), self.shift) << self.shift;
        }
        let taken = self.next;
        self.next = within(taken + number as i32, self.shift);
        taken << self.shift
    }

    /// Whether they stand under a Rice code.
    pub const fn is_coded(&self) -> bool {
        self.width >= integers::RICE
    }

    /// Whether they are known to ascend.
    pub const fn is_ascending(&self) -> bool {
        self.width >= integers::ASCENDING
    }
}

/// Of a number whose lowest bit is the sign: 0, −1, 1, −2, …
#[cfg(feature = "context")]
const fn signed(number: u32) -> i32 {
    (number >> 1) as i32 ^ -((number & 1) as i32)
}

/// As near as an integer to be shifted by `shift`, 0 … 30, can be: −2³⁰ … 2³⁰ − 1 after it.
#[cfg(feature = "context")]
fn within(integer: i32, shift: u8) -> i32 {
    let bound = 1 << 30 >> shift;
    integer.max(-bound).min(bound - 1)
}

#[cfg(all(test, feature = "context"))]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn integers(bytes: &[u8], count: usize) -> Result<Vec<i32>, FormatError> {
        let mut integers = Integers::parse(&mut Cursor::new(bytes, 0), count)?;
        Ok((0..count).map(|_| integers.take()).collect())
    }

    #[test]
    fn coded_integers_are_units_and_a_remainder() {
        // Parameter 1, shift 2: 0|0, 0|1, 10|1, 110|0 are 0, 1, 3, 4 and mean 0, −1, −2, 2.
        let coded = [32 + 1, 2, 2, 0b0001_1011, 0b1000_0000];
        assert_eq!(integers(&coded, 4), Ok([0, -4, -8, 8].to_vec()));
        // From −3 on by the same steps, then by zeros past the end.
        let ascending = [64 + 1, 2, 5, 2, 0b0001_1011, 0b1000_0000];
        let expected = [-12, -12, -8, 4, 20, 20];
        assert_eq!(integers(&ascending, 6), Ok(expected.to_vec()));
    }

    #[test]
    fn coded_integers_stay_within_range() {
        for (width, shift) in [(32 + 24, 30), (64 + 24, 0), (64, 30), (32, 0)] {
            let mut bytes = [0xff; 100].to_vec();
            bytes[..3].copy_from_slice(&[width, shift, 90]);
            if width >= 64 {
                bytes[2..9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f, 90, 0xff]);
            }
            let range = -(1 << 30)..1 << 30;
            for integer in integers(&bytes, 1000).expect("a known form") {
                assert!(range.contains(&integer));
            }
        }
        assert_eq!(integers(&[32 + 25, 0, 0], 1), Err(FormatError::Operator));
        assert_eq!(integers(&[96, 0, 0, 0], 1), Err(FormatError::Operator));
        assert_eq!(integers(&[32, 31, 0], 1), Err(FormatError::Operator));
    }
}
