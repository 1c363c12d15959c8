//! Streams against a decoder written from `no_std-core/FORMAT.md` alone: it looks at the decoded matrix
//! where the device's keeps marks, computes in 64 bits, and sums what its decisions should cost.
#![allow(clippy::unwrap_used)]

use crate::encode::code::entropy_bits;
use crate::encode::weights::{Coding, Source, write};
use crate::encode::writer::Writer;
use no_std_core::context::Neighbours;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// A probability of a set bit in 65,536ths, and the bits seen, plus two.
#[derive(Clone, Copy)]
struct Learned(u64, u64);

struct Naive<'s> {
    stream: std::slice::Iter<'s, u8>,
    range: u64,
    code: u64,
    /// Σ −log₂ p.
    bits: f64,
}

impl<'s> Naive<'s> {
    fn new(stream: &'s [u8]) -> Self {
        let mut stream = stream.iter();
        let mut next = || u64::from(*stream.next().unwrap_or(&0));
        let code = (0..4).fold(0, |code, _| code << 8 | next());
        Self {
            stream,
            range: (1 << 32) - 1,
            code,
            bits: 0.0,
        }
    }

    fn widen(&mut self) {
        while self.range < 1 << 24 {
            self.range <<= 8;
            self.code = self.code << 8 | u64::from(*self.stream.next().unwrap_or(&0));
        }
    }

    fn bit(&mut self, learned: &mut Learned) -> bool {
        let Learned(p, seen) = *learned;
        let p_4096 = (p / 16) | 1;
        let bound = self.range / 4096 * p_4096;
        let bit = self.code < bound;
        let rate = 1 << seen.ilog2();
        *learned = if bit {
            self.range = bound;
            self.bits -= (p_4096 as f64 / 4096.0).log2();
            Learned(p + (65535 - p) / rate, (seen + 1).min(128))
        } else {
            self.range -= bound;
            self.code -= bound;
            self.bits -= (1.0 - p_4096 as f64 / 4096.0).log2();
            Learned(p - p / rate, (seen + 1).min(128))
        };
        self.widen();
        bit
    }

    fn even(&mut self, count: u32) -> u64 {
        self.range >>= count;
        let value = self.code / self.range;
        self.code -= value * self.range;
        self.bits += f64::from(count);
        self.widen();
        value
    }

    fn tree(&mut self, nodes: &mut [Learned], bits: u32) -> usize {
        let node = (0..bits).fold(1, |node, _| node * 2 + self.bit(&mut nodes[node]) as usize);
        node - (1 << bits)
    }
}

/// Everything that is learned.
struct Model {
    units: [Learned; 12],
    remainder: [Learned; 4],
    sign: [Learned; 5],
    values: [Vec<Learned>; 2],
    kinds: [Learned; 32],
}

fn run(naive: &mut Naive, model: &mut Model, unit_bits: u32) -> u64 {
    let mut units = 0;
    while units < 12 && naive.bit(&mut model.units[units]) {
        units += 1;
    }
    if units == 12 {
        let width = naive.even(5) as u32;
        let high = naive.even(width.saturating_sub(16));
        return (high << 16) + naive.even(width.min(16));
    }
    let learned = unit_bits.min(2);
    let high = naive.tree(&mut model.remainder, learned) as u64;
    let low = naive.even(unit_bits - learned);
    ((units as u64) << unit_bits) + (high << (unit_bits - learned)) + low
}

/// The matrix, and what its decisions should cost in bits.
fn decode(
    stream: &[u8],
    [rows, columns]: [usize; 2],
    codebook: &[i8],
    [unit_bits, near, far]: [usize; 3],
) -> (Vec<i8>, f64) {
    let fresh = Learned(32768, 2);
    let negative: Vec<i8> = codebook.iter().copied().filter(|&w| w < 0).collect();
    let positive: Vec<i8> = codebook.iter().copied().filter(|&w| w > 0).collect();
    let width = |n: usize| n.max(1).next_power_of_two().ilog2();
    let mut model = Model {
        units: [fresh; 12],
        remainder: [fresh; 4],
        sign: [fresh; 5],
        values: [&negative, &positive].map(|of| vec![fresh; 1 << width(of.len())]),
        kinds: [fresh; 32],
    };
    let mut naive = Naive::new(stream);
    let mut zeros = run(&mut naive, &mut model, unit_bits as u32);
    let mut matrix = vec![0i8; rows * columns];
    for at in 0..matrix.len() {
        let column = at % columns;
        let back = |d: usize| {
            if d > 0 && d <= column {
                matrix[at - d]
            } else {
                0
            }
        };
        let above = |d: usize| if far > 0 { back(d) } else { 0 };
        let first = [
            back(near),
            above(far),
            above(far + near),
            above(far.saturating_sub(near)),
        ];
        let second = back(2 * near);
        let kind = (first.iter().chain([&second]).enumerate())
            .map(|(i, &w)| usize::from(w != 0) << i)
            .sum::<usize>();
        let present = if kind > 0 {
            naive.bit(&mut model.kinds[kind])
        } else if zeros > 0 {
            zeros -= 1;
            false
        } else {
            zeros = run(&mut naive, &mut model, unit_bits as u32);
            true
        };
        if !present {
            continue;
        }
        let prevail: i32 = first.iter().map(|w| i32::from(w.signum())).sum();
        let sign = match (negative.len(), positive.len()) {
            (0, _) => true,
            (_, 0) => false,
            _ => naive.bit(&mut model.sign[(prevail.clamp(-2, 2) + 2) as usize]),
        };
        let entries = if sign { &positive } else { &negative };
        let nodes = &mut model.values[sign as usize];
        matrix[at] = entries[naive.tree(nodes, width(entries.len()))];
    }
    (matrix, naive.bits)
}

/// The fields before a stream: form, codebook, model, length.
fn parse(image: &[u8]) -> Option<(Vec<i8>, [usize; 3], &[u8])> {
    let mut bytes = image;
    let mut u8 = || {
        let (&first, rest) = bytes.split_first().unwrap();
        bytes = rest;
        usize::from(first)
    };
    if u8() != 7 {
        return None;
    }
    let entries = u8() + 1;
    let codebook = (0..entries).map(|_| u8() as u8 as i8).collect();
    let mut varint = || {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = u8();
            value |= (byte & 127) << shift;
            shift += 7;
            if byte < 128 {
                return value;
            }
        }
    };
    let (unit_bits, near) = (varint(), varint());
    let far = if near > 0 { varint() } else { 0 };
    let length = varint();
    assert_eq!(bytes.len(), length);
    Some((codebook, [unit_bits, near, far], bytes))
}

/// Rows and columns, weights, neighbours.
type Case = ([usize; 2], Vec<i8>, [usize; 2]);

fn cases() -> Vec<Case> {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let mut cases: Vec<Case> = Vec::new();
    for density in [0.0002, 0.01, 0.1, 0.5, 1.0] {
        for neighbours in [[0, 0], [1, 28], [3, 0], [5, 25], [64, 128]] {
            let mut draw = |entries: i32| match random.random_bool(density) {
                true => {
                    [random.random_range(-entries..=entries).max(1), -3][random.random_range(0..2)]
                }
                false => 0,
            };
            let weights = (0..20 * 300).map(|_| draw(60) as i8).collect();
            cases.push(([20, 300], weights, neighbours));
        }
    }
    // Clusters, as over an image; one sign; one weight; every weight; only the ends.
    let blob = |i: usize| (i / 28 % 28).abs_diff(12) + (i % 28).abs_diff(14) < 5;
    let blobs = (0..784 * 30).map(|i| if blob(i) { (i % 3) as i8 - 1 } else { 0 });
    cases.push(([30, 784], blobs.collect(), [1, 28]));
    cases.push(([8, 8], vec![-128; 64], [1, 4]));
    cases.push(([1, 1], vec![7], [0, 0]));
    cases.push((
        [2, 255],
        (0..510).map(|i| (i % 255 - 127) as i8).collect(),
        [2, 6],
    ));
    let ends = |i: usize| i8::from(i == 0 || i == 299_999);
    cases.push(([30, 10_000], (0..300_000).map(ends).collect(), [2, 0]));
    cases
}

#[test]
fn what_is_written_is_read_by_the_format_and_costs_its_entropy() {
    let mut seen = 0;
    for ([rows, columns], weights, neighbours) in cases() {
        let source = Source {
            weights: &weights,
            columns,
            neighbours: Neighbours::within(neighbours),
            ..Source::default()
        };
        let matrix = super::super::weights::Matrix::new(source);
        for form in matrix.contexts() {
            let mut image = Writer::default();
            form.write(&matrix).append_to(&mut image);
            let (codebook, model, stream) = parse(image.bytes()).unwrap();
            let (decoded, bits) = decode(stream, [rows, columns], &codebook, model);
            assert_eq!(
                decoded, weights,
                "{rows}x{columns} {neighbours:?} {model:?}"
            );
            let actual = 8.0 * stream.len() as f64;
            assert!(
                actual <= 1.02 * bits + 16.0,
                "{actual} bits for {bits}: {rows}x{columns} {neighbours:?}"
            );
            seen += 1;
        }
    }
    assert!(seen > 50);
}

/// Nothing is known of such weights but how often each occurs.
#[test]
fn independent_weights_cost_the_entropy_of_their_counts() {
    let mut random = ChaCha8Rng::seed_from_u64(2);
    for density in [0.02, 0.1, 0.4] {
        let mut draw = || match random.random_bool(density) {
            true => [-9, -4, -2, -2, 2, 2, 2, 5][random.random_range(0..8)],
            false => 0i8,
        };
        let weights: Vec<i8> = (0..100 * 1000).map(|_| draw()).collect();
        let source = Source {
            weights: &weights,
            columns: 1000,
            ..Source::default()
        };
        let mut counts = [0; 256];
        weights.iter().for_each(|&w| counts[w as u8 as usize] += 1);
        let entropy = entropy_bits(&counts) / 8.0;
        let bytes = write(source, Coding::Range).len() as f64;
        assert!(
            bytes <= 1.02 * entropy + 20.0,
            "{bytes} bytes for {entropy} at {density}"
        );
    }
}

#[test]
fn neighbours_are_worth_their_bytes_over_an_image() {
    let blob = |i: usize| (i / 28 % 28).abs_diff(12 + i / 784 % 5) + (i % 28).abs_diff(14) < 5;
    let weights: Vec<i8> = (0..784 * 30).map(|i| i8::from(blob(i))).collect();
    let bytes = |neighbours| {
        let neighbours = Neighbours::within(neighbours);
        let source = Source {
            weights: &weights,
            columns: 784,
            neighbours,
            ..Source::default()
        };
        write(source, Coding::Range).len()
    };
    let [none, beside, above] = [[0, 0], [1, 0], [1, 28]].map(bytes);
    assert!(above < beside && beside < none, "{above} {beside} {none}");
}
