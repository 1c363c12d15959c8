//! What a linked firmware takes of the memories.

use object::read::elf::ElfFile32;
use object::{Object, ObjectSection, SectionKind};

/// Bytes of a linked program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Code, constants, and what initializes statics.
    pub flash: u64,
    /// Statics.
    pub statics: u64,
}

impl Sizes {
    /// Adds up an ELF file's sections.
    ///
    /// # Errors
    /// When the bytes are not a 32-bit ELF file.
    pub fn of(file: &[u8]) -> Result<Self, object::read::Error> {
        let file: ElfFile32 = ElfFile32::parse(file)?;
        let mut sizes = Self::default();
        for section in file.sections() {
            match section.kind() {
                // A linker calls all constants strings where only some are.
                SectionKind::Text | SectionKind::ReadOnlyData | SectionKind::ReadOnlyString => {
                    sizes.flash += section.size();
                }
                SectionKind::Data => {
                    sizes.flash += section.size();
                    sizes.statics += section.size();
                }
                SectionKind::UninitializedData => sizes.statics += section.size(),
                _ => {}
            }
        }
        Ok(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: u32 = 1;
    const NAMES: u32 = 3;
    const NO_BITS: u32 = 8;
    const WRITE: u32 = 1;
    const ALLOCATE: u32 = 2;
    const EXECUTE: u32 = 4;
    const MERGE: u32 = 0x10;
    const STRINGS: u32 = 0x20;

    /// An ELF file of sections of these types, flags and sizes, without their contents.
    fn file(sections: &[(u32, u32, u32)]) -> Vec<u8> {
        let half = u16::to_le_bytes;
        let word = u32::to_le_bytes;
        let mut bytes = b"\x7fELF\x01\x01\x01".to_vec();
        bytes.resize(16, 0);
        // An executable for Arm of version 1; entry, program headers; section headers at 52; flags.
        bytes.extend([half(2), half(40)].concat());
        bytes.extend([word(1), word(0), word(0), word(52), word(0)].concat());
        // Before them an empty one, behind them the names of all, of which there are none.
        let count = sections.len() as u16 + 2;
        bytes.extend(
            [
                half(52),
                half(32),
                half(0),
                half(40),
                half(count),
                half(count - 1),
            ]
            .concat(),
        );
        bytes.extend([0; 40]);
        for &(kind, flags, size) in sections.iter().chain(&[(NAMES, 0, 0)]) {
            let fields = [0, kind, flags, 0, 0, size, 0, 0, 1, 0];
            fields.iter().for_each(|&field| bytes.extend(word(field)));
        }
        bytes
    }

    #[test]
    fn every_kind_of_constant_is_flash_and_debugging_is_nothing() {
        let sections = [
            (PROGRAM, ALLOCATE | EXECUTE, 1),
            (PROGRAM, ALLOCATE, 20),
            (PROGRAM, ALLOCATE | MERGE | STRINGS, 300),
            (PROGRAM, ALLOCATE | WRITE, 4_000),
            (NO_BITS, ALLOCATE | WRITE, 50_000),
            (PROGRAM, 0, 600_000),
        ];
        let sizes = Sizes::of(&file(&sections)).expect("an ELF file");
        let expected = Sizes {
            flash: 4_321,
            statics: 54_000,
        };
        assert_eq!(sizes, expected);
    }
}
