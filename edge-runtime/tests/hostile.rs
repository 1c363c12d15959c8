//! Images that are damaged or meant to harm: an error or a clean run, never a panic. Without
//! `--release` sums and indices are checked for overflow too.
#![allow(clippy::unwrap_used)]

use no_std_core::operator::Kind;
use no_std_core::{FormatError, Model, PREFIX_BYTES, crc32};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::Range;

/// Every operator, and weights of five forms.
fn image() -> Vec<u8> {
    std::fs::read(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../no_std-core/golden/v1.pith"
    ))
    .unwrap()
}

fn with_checksum(mut image: Vec<u8>) -> Vec<u8> {
    if image.len() > PREFIX_BYTES {
        let checksum = crc32(&image[PREFIX_BYTES..]);
        image[PREFIX_BYTES - 4..PREFIX_BYTES].copy_from_slice(&checksum.to_le_bytes());
    }
    image
}

/// Multiply-accumulates of an inference: a hostile image can ask for any number.
fn work(model: &Model) -> u64 {
    let of = |op: no_std_core::operator::Operator| {
        let weights = op.kind.linear().map(|l| &l.weights);
        let factors = weights.map(|w| [w.rows, w.columns, op.output.shape.len()]);
        let product = |f: [usize; 3]| f.iter().fold(1u64, |n, &f| n.saturating_mul(f as u64));
        factors.map_or(0, product)
    };
    model.operators().map(of).fold(0, u64::saturating_add)
}

/// What the reader must have checked, checked again: memory within the arena, nothing written where
/// something else is read, windows that begin on the input.
fn check(model: &Model) {
    for op in model.operators() {
        let scratch = op.scratch..op.scratch + op.kind.scratch_bytes();
        let ranges = [&op.input, &op.output].map(|t| t.offset..t.offset + t.shape.len());
        let other = match &op.kind {
            Kind::Add { other, .. } => other.offset..other.offset + other.shape.len(),
            _ => ranges[0].clone(),
        };
        let [input, output] = ranges;
        let apart = |a: &Range<usize>, b: &Range<usize>| {
            a.is_empty() || b.is_empty() || a.end <= b.start || b.end <= a.start
        };
        let same =
            matches!(op.kind, Kind::Clamp(_) | Kind::Table(_)) && input.start == output.start;
        assert!(same || apart(&input, &output));
        assert!(apart(&other, &output) || same);
        for range in [&input, &other, &output] {
            assert!(range.end <= model.arena_bytes());
            assert!(apart(range, &scratch));
        }
        assert!(scratch.is_empty() || scratch.end <= model.arena_bytes());
        let window = match op.kind {
            Kind::Conv { window, .. }
            | Kind::MaxPool(window)
            | Kind::AveragePool { window, .. } => window,
            _ => continue,
        };
        let (from, to) = (op.input.shape, op.output.shape);
        let axes = [(from.height, to.height), (from.width, to.width)];
        for (axis, (size, positions)) in axes.into_iter().enumerate() {
            let last = (positions - 1) * window.stride[axis];
            assert!(window.kernel[axis] > 0 && last < size + window.padding[axis]);
        }
    }
}

/// Parses and, if that succeeds, checks and runs.
fn survive(image: &[u8]) {
    let Ok(model) = Model::parse(image) else {
        return;
    };
    check(&model);
    if model.arena_bytes() <= 1 << 20 && work(&model) <= 1 << 24 {
        run(&model);
    }
}

fn run(model: &Model) {
    let mut arena = vec![0x7f; model.arena_bytes()];
    let mut session = edge_runtime::Session::new(model, &mut arena).unwrap();
    session.input_mut().fill(-128);
    session.run();
    assert_eq!(session.output().len(), model.output_len());
    assert_eq!(model.operators().count(), model.operator_count());
    assert_eq!(model.tensors().count(), model.tensor_count());
    let _ = model.metadata().count();
}

#[test]
fn every_truncation_is_an_error_and_says_so() {
    let image = image();
    for length in 0..image.len() {
        let error = Model::parse(&image[..length]).unwrap_err();
        assert_eq!(error, FormatError::Truncated, "at {length}");
        survive(&with_checksum(image[..length].to_vec()));
    }
}

#[test]
fn every_flipped_byte_is_an_error() {
    let image = image();
    for place in 0..image.len() {
        for flip in [0x01, 0x80, 0xff, 0x55] {
            let mut damaged = image.clone();
            damaged[place] ^= flip;
            assert!(Model::parse(&damaged).is_err(), "byte {place}: {flip:#x}");
        }
    }
}

#[test]
fn every_changed_byte_with_a_right_checksum_is_survived() {
    let image = image();
    for place in PREFIX_BYTES..image.len() {
        for value in 0..=255 {
            let mut changed = image.clone();
            changed[place] = value;
            survive(&with_checksum(changed));
        }
    }
}

#[test]
fn several_changed_bytes_with_a_right_checksum_are_survived() {
    let image = image();
    for trial in 0..20_000u32 {
        let mut changed = image.clone();
        for change in 0..2 + trial % 4 {
            let random = random(trial, change);
            let place = PREFIX_BYTES + (random >> 8) as usize % (image.len() - PREFIX_BYTES);
            changed[place] = random as u8;
        }
        survive(&with_checksum(changed));
    }
}

/// The same on every run.
fn random(trial: u32, change: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (trial, change).hash(&mut hasher);
    hasher.finish()
}

#[test]
fn bytes_after_the_end_are_an_error() {
    let mut image = image();
    image.push(0);
    assert_eq!(Model::parse(&image).unwrap_err(), FormatError::Trailing);
}
