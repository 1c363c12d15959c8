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
