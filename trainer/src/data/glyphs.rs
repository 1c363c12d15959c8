//! Synthetic digits: strokes drawn by a hand that is never twice the same. They need no files and
//! make a first network learn something that can go wrong.

use super::{Dataset, Splits};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Height and width of a glyph.
const SIDE: usize = 28;

/// Seeds of the two splits: the same glyphs for everyone.
const TRAIN_SEED: u64 = 0x617f;
const TEST_SEED: u64 = 0x617e;

type Point = [f32; 2];

/// Each digit as polylines in a unit square, x to the right and y down.
fn strokes(digit: usize) -> Vec<Vec<Point>> {
    let arc = |cx: f32, cy: f32, rx: f32, ry: f32, from: f32, to: f32| -> Vec<Point> {
        (0..=10)
            .map(|i| {
                let angle = (from + (to - from) * i as f32 / 10.0).to_radians();
                [cx + rx * angle.cos(), cy + ry * angle.sin()]
            })
            .collect()
    };
    match digit {
        0 => vec![arc(0.5, 0.5, 0.3, 0.45, 0.0, 360.0)],
        1 => vec![vec![[0.35, 0.2], [0.55, 0.05], [0.55, 0.95]]],
        2 => vec![
            [
                arc(0.5, 0.3, 0.28, 0.25, -170.0, 40.0),
                vec![[0.2, 0.95], [0.8, 0.95]],
            ]
            .concat(),
        ],
        3 => vec![
            arc(0.45, 0.28, 0.3, 0.23, -150.0, 90.0),
            arc(0.45, 0.73, 0.33, 0.23, -90.0, 150.0),
        ],
        4 => vec![
            vec![[0.6, 0.05], [0.15, 0.65], [0.85, 0.65]],
            vec![[0.62, 0.35], [0.62, 0.95]],
        ],
        5 => vec![
            vec![[0.78, 0.06], [0.3, 0.06], [0.26, 0.45]],
            arc(0.46, 0.68, 0.3, 0.27, -130.0, 150.0),
        ],
        6 => vec![
            vec![[0.65, 0.05], [0.4, 0.3], [0.24, 0.65]],
            arc(0.5, 0.7, 0.26, 0.25, 180.0, 540.0),
        ],
        7 => vec![vec![[0.2, 0.07], [0.8, 0.07], [0.42, 0.95]]],
        8 => vec![
            arc(0.5, 0.28, 0.24, 0.22, 0.0, 360.0),
            arc(0.5, 0.73, 0.29, 0.23, 0.0, 360.0),
        ],
        _ => vec![
            arc(0.5, 0.3, 0.26, 0.25, 0.0, 360.0),
            vec![[0.76, 0.32], [0.72, 0.6], [0.6, 0.95]],
        ],
    }
}

/// `count` training and a fifth as many test glyphs, balanced over the digits; pixels are 0…255
/// divided by `unit`.
pub(super) fn generate(count: usize, unit: f32) -> Splits {
    Splits {
        train: split(count, TRAIN_SEED, unit),
        test: split(count.div_ceil(5), TEST_SEED, unit),
    }
}

fn split(count: usize, seed: u64, unit: f32) -> Dataset {
    let inputs = (0..count)
        .into_par_iter()
        .flat_map_iter(|i| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(i as u64);
            draw(i % 10, &mut rng)
                .into_iter()
                .map(move |ink| (ink * 255.0).round() / unit)
        })
        .collect();
    let labels = (0..count).map(|i| (i % 10) as u32).collect();
    Dataset {
        input_shape: vec![1, SIDE, SIDE],
        inputs,
        labels,
        classes: 10,
        ..Dataset::default()
    }
}

/// Ink from 0 to 1, row-major.
fn draw(digit: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
    let hand = Hand::new(rng);
    let segments: Vec<[Point; 2]> = strokes(digit)
        .into_iter()
        .flat_map(|stroke| {
            let shaken: Vec<Point> = stroke.into_iter().map(|p| hand.place(p, rng)).collect();
            shaken
                .windows(2)
                .map(|pair| [pair[0], pair[1]])
                .collect::<Vec<_>>()
        })
        .collect();
    let width = rng.random_range(0.9..1.9);
    let (paper, noise) = (rng.random_range(0.85..1.0), rng.random_range(0.0..0.12));
    (0..SIDE * SIDE)
        .map(|i| {
            let pixel = [(i % SIDE) as f32, (i / SIDE) as f32];
            let distance = segments
                .iter()
                .map(|s| distance(pixel, *s))
                .fold(f32::MAX, f32::min);
            let ink = (width + 0.5 - distance).clamp(0.0, 1.0) * paper;
            (ink + noise * rng.random_range(-1.0f32..1.0)).clamp(0.0, 1.0)
        })
        .collect()
}

/// An affine hand: slant, rotation, size, place; and how much it shakes.
struct Hand {
    matrix: [f32; 4],
    center: Point,
    shake: f32,
}

impl Hand {
    fn new(rng: &mut ChaCha8Rng) -> Self {
        let (sin, cos) = rng.random_range(-0.3f32..0.3).sin_cos();
        let slant = rng.random_range(-0.35f32..0.35);
        let (sx, sy) = (
            rng.random_range(12.0f32..19.0),
            rng.random_range(16.0f32..22.0),
        );
        let middle = (SIDE as f32 - 1.0) / 2.0;
        Self {
            matrix: [cos * sx, (slant - sin) * sy, sin * sx, cos * sy],
            center: [
                middle + rng.random_range(-2.5f32..2.5),
                middle + rng.random_range(-2.5f32..2.5),
            ],
            shake: rng.random_range(0.0f32..0.9),
        }
    }

    /// From the unit square to pixels.
    fn place(&self, [x, y]: Point, rng: &mut ChaCha8Rng) -> Point {
        let ([a, b, c, d], x, y) = (self.matrix, x - 0.5, y - 0.5);
        let mut shaken = |v: f32| v + self.shake * rng.random_range(-1.0f32..1.0);
        [
            shaken(self.center[0] + a * x + b * y),
            shaken(self.center[1] + c * x + d * y),
        ]
    }
}

/// From a point to a segment.
fn distance([x, y]: Point, [[ax, ay], [bx, by]]: [Point; 2]) -> f32 {
    let (dx, dy) = (bx - ax, by - ay);
    let along = (((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy).max(1e-9)).clamp(0.0, 1.0);
    (ax + along * dx - x).hypot(ay + along * dy - y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glyphs_are_seeded_balanced_and_their_splits_apart() {
        let (a, b) = (generate(100, 255.0), generate(100, 255.0));
        assert_eq!(a, b);
        assert_eq!(
            (a.train.len(), a.test.len(), a.train.classes),
            (100, 20, 10)
        );
        assert!((0..10).all(|digit| a.train.labels.iter().filter(|&&l| l == digit).count() == 10));
        assert!((0..20).all(|i| (0..100).all(|j| a.test.input(i) != a.train.input(j))));
        assert!(a.train.inputs.iter().all(|p| (0.0..=1.0).contains(p)));
        assert_eq!(
            generate(10, 1.0)
                .train
                .inputs
                .iter()
                .copied()
                .fold(0.0f32, f32::max)
                .fract(),
            0.0
        );
    }

    #[test]
    fn every_glyph_shows_ink_and_paper() {
        let data = generate(200, 255.0).train;
        for i in 0..data.len() {
            let ink = data.input(i).iter().filter(|&&p| p > 0.5).count();
            assert!((30..400).contains(&ink), "glyph {i} has {ink} dark pixels");
        }
    }
}
