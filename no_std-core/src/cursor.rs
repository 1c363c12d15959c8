//! Reading an image's descriptors: bounded, never past the end.

use crate::FormatError;

/// A position in the bytes of an image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
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
