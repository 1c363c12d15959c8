use super::ledger::{Category, Ledger};

/// Bytes on their way to a file, each counted as it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    ledger: Ledger,
}

impl Writer {
    pub(super) fn put(&mut self, category: Category, bytes: &[u8]) {
        self.ledger.add(category, bytes.len());
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn u8(&mut self, category: Category, value: u8) {
        self.put(category, &[value]);
    }

    pub(super) fn i8(&mut self, category: Category, value: i8) {
        self.put(category, &value.to_le_bytes());
    }

    pub(super) fn u32(&mut self, category: Category, value: u32) {
        self.put(category, &value.to_le_bytes());
    }

    /// Unsigned LEB128. Every size was bounded below 2³² before.
    pub(super) fn varint(&mut self, category: Category, value: usize) {
        let mut rest = value;
        loop {
            let low = (rest & 0x7f) as u8;
            rest >>= 7;
            if rest == 0 {
                return self.u8(category, low);
            }
            self.u8(category, low | 0x80);
        }
    }

    /// Zeros up to a multiple of four bytes from the image's start.
    pub(super) fn align(&mut self) {
        while !self.bytes.len().is_multiple_of(4) {
            self.u8(Category::Padding, 0);
        }
    }

    /// What another writer wrote, as it was counted there.
    pub(super) fn append(&mut self, other: &Writer) {
        self.bytes.extend_from_slice(&other.bytes);
        for (category, bytes) in other.ledger.by_category() {
            self.ledger.add(category, bytes);
        }
    }

    /// A stream of positions and values, bit by bit mixed; a byte shared by both counts as values.
    pub(super) fn stream(&mut self, bytes: &[u8], position_bits: usize) {
        self.ledger.add(Category::Positions, position_bits / 8);
        self.ledger
            .add(Category::Values, bytes.len() - position_bits / 8);
        self.bytes.extend_from_slice(bytes);
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn ledger(&self) -> Ledger {
        self.ledger
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Overwrites four bytes that were counted before.
    pub(super) fn patch_u32(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
