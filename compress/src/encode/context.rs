//! Writes weights under an adaptive range code whose probabilities depend on the neighbours: the mirror
//! of `no_std_core::context`.

use super::code::entropy_bits;
use super::ledger::Category;
use super::range::RangeEncoder;
use no_std_core::context::{
    Context, LEARNED_BITS, MAX_UNIT_BITS, MAX_UNITS, Neighbours, Signs, WIDTH_BITS, neighbour,
    place, prevailing,
};
use no_std_core::range::{MAX_EVEN_BITS, Probability};

/// A matrix in this form.
#[derive(Debug)]
pub(super) struct Coded {
    /// The model.
    context: Context,
    /// What a reader needs of the arena.
    pub(super) scratch_bytes: usize,
    pub(super) stream: Vec<u8>,
    /// What the decisions should cost by their probabilities.
    pub(super) bits: f64,
    /// Those about where weights stand.
    pub(super) position_bits: f64,
}

impl Coded {
    /// The description of the model, behind that of the codebook, and the stream's length.
    pub(super) fn write(&self, head: &mut super::writer::Writer) {
        let Context {
            neighbours,
            unit_bits,
        } = self.context;
        head.u8(Category::CodeTables, unit_bits);
        head.varint(Category::CodeTables, neighbours.near.into());
        if neighbours.near > 0 {
            head.varint(Category::CodeTables, neighbours.far.into());
        }
        head.varint(Category::Operators, self.stream.len());
    }
}

/// Codes rows of `columns` weights of a codebook, ascending, without 0. `None` where a run is too long.
pub(super) fn encode(
    weights: &[i8],
    columns: usize,
    codebook: &[i8],
    neighbours: Neighbours,
) -> Option<Coded> {
    let runs = runs(weights, columns, neighbours);
    if runs.iter().any(|&run| run >> 31 > 0) {
        return None;
    }
    let context = Context {
        neighbours,
        unit_bits: best_unit_bits(&runs),
    };
    let mut writer = Writer::new(context, codebook);
    let mut runs = runs.into_iter();
    writer.run(runs.next()?);
    scan(weights, columns, neighbours, |kind, weight| {
        if kind != 0 {
            writer.presence(kind, weight != 0);
        } else if weight != 0 {
            writer.run(runs.next().unwrap_or(0));
        }
        if weight != 0 {
            writer.weight(kind, weight);
        }
    });
    let bits = writer.encoder.bits();
    Some(Coded {
        scratch_bytes: context.scratch_bytes(&writer.signs),
        context,
        position_bits: bits - writer.value_bits,
        bits,
        stream: writer.encoder.into_bytes(),
    })
}

/// Shows each weight with the kind of its position.
fn scan(weights: &[i8], columns: usize, neighbours: Neighbours, mut visit: impl FnMut(u8, i8)) {
    let marks = neighbours.marks();
    let reach = marks.iter().map(|&(distance, _)| distance).max();
    let mut kinds = vec![0u8; columns + reach.unwrap_or(0)];
    for row in weights.chunks(columns.max(1)) {
        kinds.fill(0);
        for (column, &weight) in row.iter().enumerate() {
            visit(kinds[column], weight);
            if weight != 0 {
                for (distance, bit) in marks.into_iter().filter(|&(distance, _)| distance > 0) {
                    let counts = weight > 0 && bit != neighbour::SECOND;
                    kinds[column + distance] += bit + counts as u8 * neighbour::POSITIVE;
                }
            }
        }
    }
}

/// Positions without neighbours that are zero before each such weight, and after the last one.
fn runs(weights: &[i8], columns: usize, neighbours: Neighbours) -> Vec<u64> {
    let (mut runs, mut run) = (Vec::new(), 0);
    scan(weights, columns, neighbours, |kind, weight| {
        if kind == 0 && weight == 0 {
            run += 1;
        } else if kind == 0 {
            runs.push(std::mem::take(&mut run));
        }
    });
    runs.push(run);
    runs
}

/// The unit under which the runs have the least entropy.
fn best_unit_bits(runs: &[u64]) -> u8 {
    let cost = |&unit_bits: &u8| (run_bits(runs, unit_bits) * 16.0) as u64;
    (0..=MAX_UNIT_BITS).min_by_key(cost).unwrap_or(0)
}

/// Entropy of all decisions about runs, each in its own context.
fn run_bits(runs: &[u64], unit_bits: u8) -> f64 {
    let learned = LEARNED_BITS.min(unit_bits.into());
    let even = u32::from(unit_bits) - learned;
    let (mut units, mut remainders, mut long) =
        ([0u64; MAX_UNITS + 1], [0u64; 1 << LEARNED_BITS], 0);
    for &run in runs {
        let count = (run >> unit_bits).min(MAX_UNITS as u64) as usize;
        units[count] += 1;
        if count < MAX_UNITS {
            remainders[(run >> even) as usize & ((1 << learned) - 1)] += 1;
        } else {
            long += u64::from(WIDTH_BITS + width(run));
        }
    }
    let short: u64 = units[..MAX_UNITS].iter().sum();
    let symbols = entropy_bits(&units) + entropy_bits(&remainders);
    symbols + (short * u64::from(even) + long) as f64
}

fn width(run: u64) -> u32 {
    64 - run.leading_zeros()
}

struct Writer {
    encoder: RangeEncoder,
    probabilities: Vec<Probability>,
    context: Context,
    signs: Signs,
    /// Place of each weight (as u8) among those of its sign.
    index: [u8; 256],
    value_bits: f64,
    kinds: usize,
}

impl Writer {
    fn new(context: Context, codebook: &[i8]) -> Self {
        let bytes: Vec<u8> = codebook.iter().map(|&w| w as u8).collect();
        let signs = Signs::of(&bytes);
        let mut index = [0; 256];
        for (i, &weight) in bytes.iter().enumerate() {
            index[weight as usize] = i.checked_sub(signs.counts[0]).unwrap_or(i) as u8;
        }
        Self {
            encoder: RangeEncoder::default(),
            probabilities: vec![Probability::EVEN; signs.end() + place::KINDS],
            context,
            signs,
            index,
            value_bits: 0.0,
            kinds: signs.end(),
        }
    }

    fn presence(&mut self, kind: u8, present: bool) {
        let place = self.kinds + kind as usize % place::KINDS;
        self.encoder.bit(&mut self.probabilities[place], present);
    }

    fn run(&mut self, run: u64) {
        let unit_bits = self.context.unit_bits;
        let units = (run >> unit_bits).min(MAX_UNITS as u64) as usize;
        for place in 0..units {
            self.encoder
                .bit(&mut self.probabilities[place::UNITS + place], true);
        }
        if units == MAX_UNITS {
            return self.long(run);
        }
        self.encoder
            .bit(&mut self.probabilities[place::UNITS + units], false);
        let learned = LEARNED_BITS.min(unit_bits.into());
        let even = u32::from(unit_bits) - learned;
        let remainder = run as u32 & ((1 << unit_bits) - 1);
        self.tree(place::REMAINDER, remainder >> even, learned);
        self.encoder.even(remainder & ((1 << even) - 1), even);
    }

    fn long(&mut self, run: u64) {
        let width = width(run);
        self.encoder.even(width, WIDTH_BITS);
        let high = width.saturating_sub(MAX_EVEN_BITS);
        self.encoder.even((run >> MAX_EVEN_BITS) as u32, high);
        self.encoder
            .even(run as u32 & 0xffff, width.min(MAX_EVEN_BITS));
    }

    fn weight(&mut self, kind: u8, weight: i8) {
        let before = self.encoder.bits();
        let positive = weight > 0;
        if self.signs.differ() {
            self.tree(place::SIGN + prevailing(kind), positive as u32, 1);
        }
        let sign = positive as usize;
        let index = self.index[weight as u8 as usize];
        self.tree(
            self.signs.trees()[sign],
            index.into(),
            self.signs.bits[sign],
        );
        self.value_bits += self.encoder.bits() - before;
    }

    fn tree(&mut self, place: usize, value: u32, bits: u32) {
        let mut node = 1;
        for shift in (0..bits).rev() {
            let bit = value >> shift & 1;
            self.encoder
                .bit(&mut self.probabilities[place + node], bit == 1);
            node = node << 1 | bit as usize;
        }
    }
}

#[cfg(test)]
mod tests;
