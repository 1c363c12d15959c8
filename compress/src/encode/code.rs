//! Huffman codes: built by `huffman-compress`, made canonical and bounded here.

use super::bits::BitWriter;
use super::ledger::Category;
use super::writer::Writer;
use huffman_compress::CodeBuilder;
use no_std_core::huffman::MAX_LENGTH;

/// A canonical code over symbols that mean bytes.
#[derive(Clone, Debug)]
pub(super) struct Code {
    /// Meanings in order of codewords.
    meanings: Vec<u8>,
    /// Codeword lengths in the same order, not decreasing.
    lengths: Vec<usize>,
    table_bits: u8,
    /// Codeword and length of each meaning.
    words: [Option<(u32, usize)>; 256],
}

/// Times each byte occurs.
pub(super) type Counts = [u64; 256];

impl Code {
    /// The code of least length for the symbols that occur.
    pub(super) fn new(counts: &Counts, table_bits: u8) -> Self {
        let used: Vec<(u8, u64)> = (0..=255)
            .zip(counts.iter().copied())
            .filter(|&(_, n)| n > 0)
            .collect();
        let lengths = bounded_lengths(&used.iter().map(|&(_, n)| n).collect::<Vec<_>>());
        let mut order: Vec<(usize, u8)> = lengths
            .into_iter()
            .zip(used.iter().map(|&(symbol, _)| symbol))
            .collect();
        order.sort_unstable();
        let mut words = [None; 256];
        let (mut next, mut previous) = (0u32, 0);
        for &(length, meaning) in &order {
            next <<= length - previous;
            words[meaning as usize] = Some((next, length));
            next += 1;
            previous = length;
        }
        let (lengths, meanings): (Vec<usize>, Vec<u8>) = order.into_iter().unzip();
        Self {
            meanings,
            lengths,
            table_bits,
            words,
        }
    }

    /// Appends a symbol; one without a codeword is a mistake of the caller and writes nothing.
    pub(super) fn put(&self, symbol: u8, bits: &mut BitWriter) {
        debug_assert!(
            self.words[symbol as usize].is_some(),
            "symbol {symbol} has no codeword"
        );
        if let Some((word, length)) = self.words[symbol as usize] {
            bits.put(word, length);
        }
    }

    /// Whether every symbol that occurs has a codeword.
    pub(super) fn holds(&self, counts: &Counts) -> bool {
        let mut symbols = self.words.iter().zip(counts);
        symbols.all(|(word, &count)| count == 0 || word.is_some())
    }

    /// Bits of so many symbols.
    pub(super) fn bits(&self, counts: &Counts) -> usize {
        let of = |meaning: usize| match self.words[meaning] {
            Some((_, length)) => counts[meaning] as usize * length,
            None => 0,
        };
        (0..256).map(of).sum()
    }

    /// Scratch bytes of the look-up table.
    pub(super) fn table_bytes(&self) -> usize {
        if self.table_bits == 0 {
            0
        } else {
            2 << self.table_bits
        }
    }

    /// Writes the description that `no_std_core::huffman::Code` reads.
    pub(super) fn write(&self, writer: &mut Writer, meanings: Category) {
        let longest = self.lengths.last().copied().unwrap_or(0);
        writer.u8(Category::CodeTables, longest as u8);
        writer.u8(Category::CodeTables, self.table_bits);
        for length in 1..=longest {
            let count = self.lengths.iter().filter(|&&l| l == length).count();
            writer.varint(Category::CodeTables, count);
        }
        writer.put(meanings, &self.meanings);
    }
}

/// Codeword lengths of a Huffman code, at most [`MAX_LENGTH`]: while the longest is too long, the
/// counts are halved, which flattens the tree.
fn bounded_lengths(counts: &[u64]) -> Vec<usize> {
    if counts.len() == 1 {
        return vec![0];
    }
    let mut counts: Vec<u64> = counts.iter().map(|&n| n.max(1)).collect();
    loop {
        let (book, _) = counts
            .iter()
            .copied()
            .enumerate()
            .collect::<CodeBuilder<usize, u64>>()
            .finish();
        let lengths: Vec<usize> = (0..counts.len())
            .map(|i| book.get(&i).map_or(0, |word| word.len()))
            .collect();
        if lengths.iter().all(|&length| length <= MAX_LENGTH) {
            return lengths;
        }
        counts.iter_mut().for_each(|n| *n = (*n / 2).max(1));
    }
}

/// Shannon entropy of the counted symbols, in bits altogether.
pub(super) fn entropy_bits(counts: &[u64]) -> f64 {
    let total: u64 = counts.iter().sum();
    let bits = |&n: &u64| n as f64 * (total as f64 / n as f64).log2();
    counts.iter().filter(|&&n| n > 0).map(bits).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pairs: &[(u8, u64)]) -> Counts {
        let mut counts = [0; 256];
        pairs
            .iter()
            .for_each(|&(symbol, n)| counts[symbol as usize] = n);
        counts
    }

    #[test]
    fn a_dyadic_source_costs_exactly_its_entropy() {
        let counts = counts(&[(7, 8), (9, 4), (200, 2), (3, 2)]);
        let code = Code::new(&counts, 8);
        let bits: u64 = (0..=255u8)
            .map(|s| {
                counts[s as usize] * code.words[s as usize].map_or(0, |(_, length)| length as u64)
            })
            .sum();
        assert_eq!(bits as f64, entropy_bits(&counts));
    }

    #[test]
    fn lengths_stay_bounded_and_complete_for_fibonacci_counts() {
        let mut pair = (1u64, 1u64);
        let fibonacci: Vec<u64> = (0..60)
            .map(|_| {
                pair = (pair.1, pair.0 + pair.1);
                pair.0
            })
            .collect();
        let lengths = bounded_lengths(&fibonacci);
        assert!(lengths.iter().all(|&l| l <= MAX_LENGTH));
        assert_eq!(
            lengths
                .iter()
                .map(|&l| 1u64 << (MAX_LENGTH - l))
                .sum::<u64>(),
            1 << MAX_LENGTH
        );
    }
}
