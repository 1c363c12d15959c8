//! Every level against the portable kernels, which are the definition.
#![allow(clippy::unwrap_used)]

use super::*;
use no_std_core::numerics::{Multiplier, rounded};
use no_std_core::panels::{PLACE_BYTES, ROWS, TILE_BYTES};
use std::vec::Vec;

/// What this processor has; what it lacks is not tested here, and said.
fn levels() -> Vec<Level> {
    let here = [
        (Level::Avx2, detected!("avx2")),
        (Level::Avx512, Level::detect() == Some(Level::Avx512)),
    ];
    for (level, _) in here.iter().filter(|(_, here)| !here) {
        std::eprintln!("SKIPPED: this processor lacks {level:?}, its kernels are not tested");
    }
    here.iter()
        .filter(|(_, here)| *here)
        .map(|(level, _)| *level)
        .collect()
}

/// Numbers of a linear congruential generator (Knuth's).
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.below(256) as u8
    }

    /// All random, or the same extreme everywhere, or extremes.
    fn bytes(&mut self, count: usize) -> Vec<u8> {
        const EXTREMES: [u8; 5] = [0x80, 0x7f, 0xff, 0, 0x81];
        let (kind, extreme) = (self.below(4), EXTREMES[self.below(EXTREMES.len())]);
        let mut byte = || match kind {
            0 => extreme,
            1 => EXTREMES[self.below(EXTREMES.len())],
            _ => self.byte(),
        };
        (0..count).map(|_| byte()).collect()
    }

    fn cells(&mut self, count: usize) -> Vec<Cell<i8>> {
        self.bytes(count)
            .into_iter()
            .map(|byte| Cell::new(byte as i8))
            .collect()
    }

    fn range(&mut self) -> Output {
        let [zero_point, a, b] = [0; 3].map(|_| self.byte() as i8);
        let (min, max) = match self.below(3) {
            0 => (i8::MIN, i8::MAX),
            _ => (a.min(b), a.max(b)),
        };
        Output {
            zero_point,
            min,
            max,
        }
    }

    /// Panels of anything, but that columns beyond the last are zeros, and numbers hold two weights: above 0x7f7f
    /// an odd one would be 128.
    fn panels(&mut self, layout: Layout, [rows, columns]: [usize; 2]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for _ in 0..rows.div_ceil(ROWS) {
            bytes.extend(self.bytes(4 * ROWS));
            let mut weights = self.bytes(layout.panel_bytes(columns) - 9 * ROWS);
            if layout == Layout::Shared {
                for number in weights.as_chunks_mut().0 {
                    *number = i16::from_le_bytes(*number).min(0x7f7f).to_le_bytes();
                }
                let last = weights.len() - TILE_BYTES;
                for number in 0..TILE_BYTES / 2 {
                    let column =
                        columns.div_ceil(COLUMNS) * COLUMNS - COLUMNS + [0, 2, 1, 3][number % 4];
                    if column >= columns {
                        weights[last + 2 * number..][..2].fill(0);
                    }
                }
            }
            bytes.extend(weights);
            for _ in 0..ROWS {
                bytes.extend((self.below(1 << 31) as u32).to_le_bytes());
            }
            bytes.extend((0..ROWS).map(|_| 1 + self.below(30) as u8));
        }
        bytes
    }
}

/// What a kernel writes to so many cells, and how many more it touches.
fn written(count: usize, kernel: impl FnOnce(&[Cell<i8>])) -> Vec<i8> {
    const GUARD: usize = 64;
    let cells: Vec<_> = (0..count + GUARD).map(|_| Cell::new(77)).collect();
    kernel(&cells[..count]);
    assert!(
        cells[count..].iter().all(|cell| cell.get() == 77),
        "written behind the end"
    );
    cells[..count].iter().map(Cell::get).collect()
}

#[test]
fn dense_layers_are_the_portable_ones() {
    let mut random = Random(1);
    let levels = levels();
    for turn in 0..2000 {
        let [rows, columns] = [1 + random.below(70), 1 + random.below([20, 300][turn % 2])];
        let bytes = random.panels(Layout::Shared, [rows, columns]);
        let panels = Panels::from_bytes(Layout::Shared, [rows, columns], &bytes).unwrap();
        // Fewer, as many, or more than the panels have.
        let fours = columns.div_ceil(COLUMNS) + random.below(4);
        let x = random.cells(COLUMNS * (fours - 1));
        let (x, range) = (x.as_chunks().0, random.range());
        let expected = written(rows, |y| dense_at(None, x, y, panels, &range));
        for &level in &levels {
            let found = written(rows, |y| dense_at(Some(level), x, y, panels, &range));
            assert_eq!(found, expected, "{level:?}, {rows} rows of {columns}");
        }
    }
}

/// A grid of windows and what it slides over.
fn grid(random: &mut Random, layout: Layout) -> (Windows<'static>, Vec<u8>) {
    let mut side = |most: usize| 1 + random.below(most);
    let (positions, taps) = ([side(4), side(12)], [side(4), side(4)]);
    let (strides, dilation) = ([side(3), side(3)], [side(2), side(2)]);
    let channels = match layout {
        Layout::Shared => side(20),
        Layout::Channels => ROWS * side(12),
    };
    let dilation = if layout == Layout::Shared {
        [dilation[0], 1]
    } else {
        dilation
    };
    let needed =
        |axis: usize| (positions[axis] - 1) * strides[axis] + (taps[axis] - 1) * dilation[axis] + 1;
    let columns = needed(1);
    let elements = |[down, across]: [usize; 2]| [down * columns * channels, across * channels];
    let windows = Windows {
        x: &[],
        positions,
        steps: elements(strides),
        taps,
        apart: elements(dilation),
        channels,
    };
    let x = random.bytes(needed(0) * columns * channels + SLACK);
    (windows, x)
}

/// Position by position, by the portable kernels.
fn portably(at: &Windows, rows: usize, panels: Panels, range: &Output) -> Vec<i8> {
    let arena: Vec<_> = at.x.iter().map(|x| Cell::new((x ^ 0x80) as i8)).collect();
    let taps =
        || (0..at.taps[0]).flat_map(|down| (0..at.taps[1]).map(move |across| [down, across]));
    let places: Vec<usize> = taps()
        .map(|[down, across]| down * at.apart[0] + across * at.apart[1])
        .collect();
    let mut outputs = Vec::new();
    for position in 0..at.count() {
        let (down, across) = (position / at.positions[1], position % at.positions[1]);
        let corner = down * at.steps[0] + across * at.steps[1];
        outputs.extend(written(rows, |y| match panels.layout {
            Layout::Shared => {
                let elements = places
                    .iter()
                    .flat_map(|place| &arena[corner + place..][..at.channels]);
                let mut patch: Vec<_> = elements.cloned().collect();
                patch.resize(patch.len().next_multiple_of(COLUMNS), Cell::new(0));
                portable::dense(patch.as_chunks().0, y, panels, range);
            }
            Layout::Channels => {
                let words = places.iter().map(|place| (*place as u32).to_le_bytes());
                let words: Vec<[Cell<i8>; PLACE_BYTES]> = words
                    .map(|word| word.map(|byte| Cell::new(byte as i8)))
                    .collect();
                let taps = crate::arch::Taps {
                    places: &words,
                    further: corner,
                    last: *places.last().unwrap(),
                };
                portable::by_channel(&arena, taps, y, panels, range);
            }
        }));
    }
    outputs
}

#[test]
fn convolutions_are_the_portable_ones() {
    let mut random = Random(2);
    let levels = levels();
    for turn in 0..1000 {
        let layout = [Layout::Shared, Layout::Channels][turn % 2];
        let (windows, x) = grid(&mut random, layout);
        let windows = Windows { x: &x, ..windows };
        let taps = windows.taps[0] * windows.taps[1];
        let [rows, columns] = match layout {
            Layout::Shared => [1 + random.below(40), taps * windows.channels],
            Layout::Channels => [windows.channels, taps],
        };
        let bytes = random.panels(layout, [rows, columns]);
        let panels = Panels::from_bytes(layout, [rows, columns], &bytes).unwrap();
        let range = random.range();
        let expected = portably(&windows, rows, panels, &range);
        for &level in &levels {
            let found = written(rows * windows.count(), |y| {
                assert!(windows_at(Some(level), &windows, y, panels, &range));
            });
            assert_eq!(found, expected, "{level:?}, {rows} rows, {layout:?}");
        }
    }
}

#[test]
fn windows_that_are_not_inside_are_refused() {
    let mut random = Random(3);
    for layout in [Layout::Shared, Layout::Channels] {
        let (windows, x) = grid(&mut random, layout);
        let windows = Windows {
            x: &x[1..],
            ..windows
        };
        let taps = windows.taps[0] * windows.taps[1];
        let [rows, columns] = match layout {
            Layout::Shared => [8, taps * windows.channels],
            Layout::Channels => [windows.channels, taps],
        };
        let bytes = random.panels(layout, [rows, columns]);
        let panels = Panels::from_bytes(layout, [rows, columns], &bytes).unwrap();
        let range = random.range();
        for level in levels() {
            written(rows * windows.count(), |y| {
                assert!(!windows_at(Some(level), &windows, y, panels, &range));
            });
        }
    }
}

#[test]
fn sums_are_those_of_numbers() {
    let mut random = Random(4);
    let levels = levels();
    for turn in 0..2000 {
        let count = random.below(70);
        let [a, b] = [0; 2].map(|_| random.cells(count));
        let range = random.range();
        let sign = [-1, 1];
        let mantissas = [0; 2].map(|_| random.below(1 << 30) as i32 * sign[random.below(2)]);
        let sum = Sum {
            zero_points: [0; 2].map(|_| random.byte() as i8),
            mantissas,
            up: (turn % 3 * 11) as u8,
            shift: 33 + random.below(30) as u8,
            range: &range,
        };
        let term = |x: i8, which: usize| {
            let difference = i32::from(x) - i32::from(sum.zero_points[which]);
            i64::from(difference << sum.up) * i64::from(sum.mantissas[which])
        };
        let each = a
            .iter()
            .zip(&b)
            .map(|(a, b)| range.shifted(rounded(term(a.get(), 0) + term(b.get(), 1), sum.shift)));
        let expected: Vec<i8> = each.collect();
        for &level in &levels {
            let found = written(count, |y| assert!(add_at(Some(level), &sum, &a, &b, y)));
            assert_eq!(found, expected, "{level:?}, {sum:?}");
            let place = a.clone();
            assert!(add_at(Some(level), &sum, &place, &b, &place));
            assert_eq!(
                place.iter().map(Cell::get).collect::<Vec<_>>(),
                expected,
                "in place"
            );
        }
    }
}

#[test]
fn plain_rows_are_summed_exactly() {
    let mut random = Random(5);
    let levels = levels();
    for turn in 0..1000 {
        let [rows, columns] = [1 + random.below(70), 1 + random.below([70, 700][turn % 2])];
        let weights = random.bytes(rows * columns);
        let x: Vec<i8> = random
            .bytes(columns)
            .into_iter()
            .map(|byte| byte as i8)
            .collect();
        let row = |weights: &[u8]| -> i32 {
            weights
                .iter()
                .zip(&x)
                .map(|(w, x)| i32::from(*w as i8) * i32::from(*x))
                .sum()
        };
        let expected: Vec<i32> = weights.chunks(columns).map(row).collect();
        for &level in &levels {
            let mut sums = std::vec![0; rows];
            assert!(dots_at(Some(level), &x, &weights, &mut sums));
            assert_eq!(sums, expected, "{level:?}, {rows} rows of {columns}");
        }
        assert!(!dots_at(
            levels.first().copied(),
            &x,
            &weights[1..],
            &mut std::vec![0; rows]
        ));
    }
}

/// What kernels make of a factor is what numbers do: shifts less 32 are those of panels.
#[test]
fn every_shift_rounds_as_numbers_do() {
    let levels = levels();
    for shift in 1..=30u8 {
        for start in [i32::MIN, -3, -2, -1, 0, 1, 2, 3, i32::MAX, 1 << 30, 77_777] {
            let mantissa = 0x5555_5555_u32;
            let mut bytes = Vec::new();
            // Even rows begin with it, odd ones' share is nothing.
            (0..ROWS).for_each(|_| bytes.extend(start.to_le_bytes()));
            bytes.extend([0; TILE_BYTES]);
            (0..ROWS).for_each(|_| bytes.extend(mantissa.to_le_bytes()));
            bytes.extend([shift; ROWS]);
            let panels = Panels::from_bytes(Layout::Shared, [ROWS, COLUMNS], &bytes).unwrap();
            let range = Output {
                zero_point: 3,
                min: -100,
                max: 100,
            };
            let multiplier = Multiplier::new(mantissa as i32, shift + 32).unwrap();
            let (even, odd) = (
                range.requantize(start, multiplier),
                range.requantize(0, multiplier),
            );
            let x = [const { [const { Cell::new(9) }; COLUMNS] }];
            for &level in &levels {
                let found = written(ROWS, |y| dense_at(Some(level), &x, y, panels, &range));
                assert_eq!(
                    found,
                    [even, odd, even, odd],
                    "{level:?}, {start} >> {shift}"
                );
            }
        }
    }
}

#[test]
fn prepared_layers_are_the_portable_ones() {
    let mut random = Random(6);
    let levels = levels();
    for turn in 0..1000 {
        let [rows, columns] = [1 + random.below(150), 1 + random.below([20, 300][turn % 2])];
        let bytes = random.panels(Layout::Shared, [rows, columns]);
        let panels = Panels::from_bytes(Layout::Shared, [rows, columns], &bytes).unwrap();
        let x = random.cells(columns.next_multiple_of(COLUMNS));
        let (x, range) = (x.as_chunks().0, random.range());
        let expected = written(rows, |y| dense_at(None, x, y, panels, &range));
        for &level in &levels {
            let prepared = Prepared::of_panels_at(level, panels, rows, &range).unwrap();
            let found = written(rows, |y| assert!(prepared.dense(x, y)));
            assert_eq!(found, expected, "{level:?}, {rows} rows of {columns}");
            written(rows, |y| assert!(!prepared.dense(&x[1..], y)));
        }
    }
}

#[test]
fn prepared_plain_rows_are_those_of_numbers() {
    let mut random = Random(7);
    let levels = levels();
    for turn in 0..1000 {
        let [rows, fours] = [1 + random.below(150), 1 + random.below([5, 70][turn % 2])];
        let columns = COLUMNS * fours;
        let weights = random.bytes(rows * columns);
        let mut factor = || {
            let start = random.below(1 << 30) as i32 - (1 << 29);
            [
                start,
                random.below(1 << 31) as i32,
                33 + random.below(30) as i32,
            ]
        };
        let factors: Vec<_> = (0..rows).map(|_| factor()).collect();
        let (x, range) = (random.cells(columns), random.range());
        let row = |(weights, [start, mantissa, shift]): (&[u8], &[i32; 3])| {
            let products = weights.iter().zip(&x);
            let products = products.map(|(w, x)| i32::from(*w as i8) * i32::from(x.get()));
            let multiplier = Multiplier::new(*mantissa, *shift as u8).unwrap();
            range.requantize(start + products.sum::<i32>(), multiplier)
        };
        let expected: Vec<i8> = weights.chunks(columns).zip(&factors).map(row).collect();
        let mut plain = Plain {
            weights: &weights,
            factors: &factors,
            range,
        };
        for &level in &levels {
            let prepared = Prepared::of_rows_at(level, &plain).unwrap();
            let found = written(rows, |y| assert!(prepared.dense(x.as_chunks().0, y)));
            assert_eq!(found, expected, "{level:?}, {rows} rows of {columns}");
        }
        let slow = std::vec![[0, 1, 32]; rows];
        plain.factors = &slow;
        for &level in &levels {
            assert!(
                Prepared::of_rows_at(level, &plain).is_none(),
                "a shift that is not fast"
            );
        }
    }
}
