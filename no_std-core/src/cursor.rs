//! Reading an image's descriptors: bounded, never past the end.

use crate::FormatError;
use crate::huffman::{Code, SAME};
use core::num::NonZeroUsize;

/// A position in the bytes of an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the last code of runs was read.
    runs: Option<NonZeroUsize>,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8], at: usize) -> Self {
        let runs = None;
        Self { bytes, at, runs }
    }

    /// A matrix's code of runs, or that of the last one before it.
    #[inline(always)]
    pub(crate) fn runs(&mut self) -> Result<Code<'a>, FormatError> {
        let mut behind = 0;
        if self.bytes.get(self.at) == Some(&SAME) {
            behind = self.at + 1;
            self.at = self.runs.ok_or(FormatError::Code)?.get();
        } else {
            self.runs = NonZeroUsize::new(self.at);
        }
        let code = Code::parse(self)?;
        self.at = self.at.max(behind);
        Ok(code)
    }

    pub(crate) const fn position(&self) -> usize {
        self.at
    }

    /// Everything from here on.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or(&[])
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], FormatError> {
        let end = self.at.checked_add(count).ok_or(FormatError::Truncated)?;
        let taken = self.bytes.get(self.at..end).ok_or(FormatError::Truncated)?;
        self.at = end;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        self.take(N)?.try_into().map_err(|_| FormatError::Truncated)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, FormatError> {
        let byte = self.bytes.get(self.at).ok_or(FormatError::Truncated)?;
        self.at += 1;
        Ok(*byte)
    }

    pub(crate) fn i8(&mut self) -> Result<i8, FormatError> {
        Ok(self.u8()? as i8)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// Unsigned LEB128 of at most five bytes, below 2³².
    pub(crate) fn varint(&mut self) -> Result<u32, FormatError> {
        let (mut value, mut shift) = (0u32, 0);
        loop {
            let byte = self.u8()?;
            if shift == 28 && byte > 0x0f {
                return Err(FormatError::Number);
            }
            value |= ((byte & 0x7f) as u32) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
            shift += 7;
        }
    }

    pub(crate) fn size(&mut self) -> Result<usize, FormatError> {
        usize::try_from(self.varint()?).map_err(|_| FormatError::Number)
    }

    /// Skips to a multiple of four bytes from the image's start; the bytes between are zero.
    pub(crate) fn align(&mut self) -> Result<(), FormatError> {
        while !self.at.is_multiple_of(4) {
            if self.u8()? != 0 {
                return Err(FormatError::Padding);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0, 10 and 11, meaning 7, 8 and 9.
    const CODE: [u8; 7] = [2, 0, 1, 2, 7, 8, 9];

    #[test]
    fn a_code_of_runs_is_that_of_the_last_before() {
        let other = [1, 0, 2, 5, 6];
        let bytes = [&[0][..], &CODE, &[SAME], &other, &[SAME, SAME]].concat();
        let mut cursor = Cursor::new(&bytes, 1);
        for symbols in [&[7, 8, 9][..], &[7, 8, 9], &[5, 6], &[5, 6], &[5, 6]] {
            assert_eq!(cursor.runs().expect("a code").symbols(), symbols);
        }
        assert_eq!(cursor.position(), bytes.len());
    }

    #[test]
    fn the_first_code_of_runs_must_be_there() {
        let bytes = [&[0, SAME][..], &CODE].concat();
        assert_eq!(Cursor::new(&bytes, 1).runs().err(), Some(FormatError::Code));
    }
}
