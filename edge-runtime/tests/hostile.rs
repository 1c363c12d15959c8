//! Images that are damaged or meant to harm: an error or a clean run, never a panic. Without
//! `--release` sums and indices are checked for overflow too.
#![allow(clippy::unwrap_used)]

use no_std_core::operator::{Axis, Kind, Operator};
use no_std_core::tensor::Tensor;
use no_std_core::{FormatError, Model, PREFIX_BYTES, crc32};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::ops::Range;

/// Every operator, every form of weights, and panels.
const IMAGES: [&[u8]; 3] = [
    include_bytes!("../../no_std-core/golden/v1.pith"),
    include_bytes!("../../no_std-core/golden/v1-coded.pith"),
    include_bytes!("../../no_std-core/golden/v1-panels.pith"),
];

fn with_checksum(mut image: Vec<u8>) -> Vec<u8> {
    if image.len() > PREFIX_BYTES {
        let checksum = crc32(&image[PREFIX_BYTES..]);
        image[PREFIX_BYTES - 4..PREFIX_BYTES].copy_from_slice(&checksum.to_le_bytes());
    }
    image
}

/// Products of an inference: a hostile image can ask for any number.
fn work(model: &Model) -> u64 {
    let of = |op: Operator| {
        let product = |f: [usize; 2]| f.iter().fold(1u64, |n, &f| n.saturating_mul(f as u64));
        let (from, to) = (op.input.shape, op.output.shape);
        let each = match &op.kind {
            Kind::MatMul { .. } => from.channels,
            Kind::Lrn { size, .. } => *size,
            Kind::Recurrent(layer) => (layer.rows() * (from.channels + layer.hidden)).max(1),
            kind => kind.linears().map(|l| l.weights.columns).sum(),
        };
        product([each, to.len()])
    };
    model.operators().map(of).fold(0, u64::saturating_add)
}

/// What the reader must have checked, checked again: memory within the arena, nothing written where
/// something else is read or kept, windows that begin on the input, blocks within their tensors.
fn check(model: &Model) {
    let range = |t: &Tensor| t.offset..t.offset + t.bytes();
    let apart = |a: &Range<usize>, b: &Range<usize>| {
        a.is_empty() || b.is_empty() || a.end <= b.start || b.end <= a.start
    };
    for (i, op) in model.operators().enumerate() {
        let scratch = op.scratch..op.scratch + op.kind.scratch_bytes();
        let output = range(&op.output);
        for read in op.reads() {
            let same = op.kind.in_place()
                && *read
                    == Tensor {
                        shape: op.output.shape,
                        offset: op.output.offset,
                        ..*read
                    };
            let follows = op
                .clearance()
                .is_some_and(|c| read.offset >= op.output.offset + c);
            assert!(same || follows || apart(&range(read), &output));
        }
        for memory in op.reads().map(range).chain([output]) {
            assert!(memory.end <= model.arena_bytes());
            assert!(apart(&memory, &scratch));
        }
        assert!(scratch.is_empty() || scratch.end <= model.arena_bytes());
        if op.kind.carries() {
            assert!(model.tensors().all(|t| apart(&range(&t), &scratch)));
            for (_, other) in model.operators().enumerate().filter(|&(j, _)| i != j) {
                let bytes = other.kind.scratch_bytes();
                assert!(apart(&(other.scratch..other.scratch + bytes), &scratch));
            }
        }
        check_places(&op);
    }
}

fn check_places(op: &Operator) {
    let (from, to) = (op.input.shape, op.output.shape);
    let window = match &op.kind {
        Kind::Copy(block) => {
            let axes = block.axes();
            let steps = |f: fn(&Axis) -> i128| {
                let steps = axes.iter().map(move |a| (a.count as i128 - 1) * f(a));
                steps.sum::<i128>()
            };
            let low = block.from as i128 + steps(|a| a.from_step.min(0) as i128);
            let high = block.from as i128 + steps(|a| a.from_step.max(0) as i128);
            let last = block.to as i128 + steps(|a| a.to_step as i128);
            assert!(low >= 0 && high < from.len() as i128 && last < to.len() as i128);
            return;
        }
        Kind::Conv { window, .. } | Kind::MaxPool(window) | Kind::AveragePool { window, .. } => {
            window
        }
        _ => return,
    };
    let axes = [(from.height, to.height), (from.width, to.width)];
    for (axis, (size, positions)) in axes.into_iter().enumerate() {
        let last = (positions - 1) * window.stride[axis];
        assert!(window.kernel[axis] > 0 && last < size + window.padding[axis]);
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
    session.reset();
    assert_eq!(session.output().len(), model.output().bytes());
    assert_eq!(model.operators().count(), model.operator_count());
    assert_eq!(model.tensors().count(), model.tensor_count());
    let _ = model.metadata().count();
}

/// Every byte of every image from that place on.
fn places(from: usize) -> impl Iterator<Item = (&'static [u8], usize)> {
    let of = move |image: &'static [u8]| (from..image.len()).map(move |place| (image, place));
    IMAGES.into_iter().flat_map(of)
}

#[test]
fn every_truncation_is_an_error_and_says_so() {
    let parts = |image: &'static [u8]| (0..image.len()).map(|length| &image[..length]);
    for part in IMAGES.into_iter().flat_map(parts) {
        let error = Model::parse(part).unwrap_err();
        assert_eq!(error, FormatError::Truncated, "at {}", part.len());
        survive(&with_checksum(part.to_vec()));
    }
}

#[test]
fn every_flipped_byte_is_an_error() {
    for (image, place) in places(0) {
        for flip in [0x01, 0x80, 0xff, 0x55] {
            let mut damaged = image.to_vec();
            damaged[place] ^= flip;
            assert!(Model::parse(&damaged).is_err(), "byte {place}: {flip:#x}");
        }
    }
}

#[test]
fn every_changed_byte_with_a_right_checksum_is_survived() {
    for (image, place) in places(PREFIX_BYTES) {
        for value in 0..=255 {
            let mut changed = image.to_vec();
            changed[place] = value;
            let changed = with_checksum(changed);
            // All are checked; running a quarter of them takes long enough.
            match Model::parse(&changed) {
                Ok(model) if value as usize % 4 != place % 4 => check(&model),
                _ => survive(&changed),
            }
        }
    }
}

#[test]
fn several_changed_bytes_with_a_right_checksum_are_survived() {
    for trial in 0..30_000u32 {
        let image = IMAGES[trial as usize % IMAGES.len()];
        let mut changed = image.to_vec();
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
    for image in IMAGES {
        let longer = [image, &[0]].concat();
        assert_eq!(Model::parse(&longer).unwrap_err(), FormatError::Trailing);
    }
}
