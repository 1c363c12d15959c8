use serde::{Deserialize, Serialize};

/// What a byte of an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Magic, version, length, checksum, arena size, counts.
    Header,
    /// Operator descriptors: numbers, geometry, clamps, lengths.
    Operators,
    /// Tensor descriptors.
    Tensors,
    /// Weight values, coded.
    Values,
    /// Weight positions, coded.
    Positions,
    /// Meanings of codebook indices.
    Codebooks,
    /// Huffman code lengths and the meanings of run symbols.
    CodeTables,
    /// Biases with their width and shift.
    Biases,
    /// Requantization multipliers.
    Scales,
    /// Labels and the input's meaning.
    Metadata,
    /// Alignment.
    Padding,
}

/// Bytes of an image by what they are for; the sum is the length of the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// See [`Category::Header`].
    pub header: usize,
    /// See [`Category::Operators`].
    pub operators: usize,
    /// See [`Category::Tensors`].
    pub tensors: usize,
    /// See [`Category::Values`].
    #[serde(rename = "weights.values")]
    pub values: usize,
    /// See [`Category::Positions`].
    #[serde(rename = "weights.positions")]
    pub positions: usize,
    /// See [`Category::Codebooks`].
    pub codebooks: usize,
    /// See [`Category::CodeTables`].
    pub code_tables: usize,
    /// See [`Category::Biases`].
    pub biases: usize,
    /// See [`Category::Scales`].
    pub scales: usize,
    /// See [`Category::Metadata`].
    pub metadata: usize,
    /// See [`Category::Padding`].
    pub padding: usize,
}

impl Ledger {
    fn entry(&mut self, category: Category) -> &mut usize {
        match category {
            Category::Header => &mut self.header,
            Category::Operators => &mut self.operators,
            Category::Tensors => &mut self.tensors,
            Category::Values => &mut self.values,
            Category::Positions => &mut self.positions,
            Category::Codebooks => &mut self.codebooks,
            Category::CodeTables => &mut self.code_tables,
            Category::Biases => &mut self.biases,
            Category::Scales => &mut self.scales,
            Category::Metadata => &mut self.metadata,
            Category::Padding => &mut self.padding,
        }
    }

    /// Counts bytes.
    pub fn add(&mut self, category: Category, bytes: usize) {
        *self.entry(category) += bytes;
    }

    /// Every category with its bytes.
    pub fn by_category(&self) -> [(Category, usize); 11] {
        CATEGORIES.map(|(category, _)| (category, *self.clone().entry(category)))
    }

    /// Names, as in the report, with their bytes.
    pub fn entries(&self) -> [(&'static str, usize); 11] {
        CATEGORIES.map(|(category, name)| (name, *self.clone().entry(category)))
    }

    /// All bytes.
    pub fn total(&self) -> usize {
        self.entries().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Bytes that are not weights, their codebooks or their codes: what a network pays before its
    /// first weight.
    pub fn fixed(&self) -> usize {
        self.total() - self.values - self.positions - self.codebooks - self.code_tables
    }
}

const CATEGORIES: [(Category, &str); 11] = [
    (Category::Header, "header"),
    (Category::Operators, "operators"),
    (Category::Tensors, "tensors"),
    (Category::Values, "weights.values"),
    (Category::Positions, "weights.positions"),
    (Category::Codebooks, "codebooks"),
    (Category::CodeTables, "code_tables"),
    (Category::Biases, "biases"),
    (Category::Scales, "scales"),
    (Category::Metadata, "metadata"),
    (Category::Padding, "padding"),
];
