//! Images that are damaged or meant to harm: an error or a clean run, never a panic.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use compress::encode::{Coding, encode};
use no_std_core::{FormatError, Model, PREFIX_BYTES, crc32};

fn images() -> Vec<Vec<u8>> {
    let program = small_network(3);
    [Coding::Plain, Coding::Packed, Coding::Smallest]
        .map(|coding| encode(&program, coding).unwrap().bytes)
        .to_vec()
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

/// Parses and, if that succeeds, runs.
fn survive(image: &[u8]) {
    if let Ok(model) = Model::parse(image)
        && model.arena_bytes() <= 1 << 20
        && work(&model) <= 1 << 24
    {
        let mut arena = vec![0x7f; model.arena_bytes()];
        let mut session = edge_runtime::Session::new(&model, &mut arena).unwrap();
        session.input_mut().fill(-128);
        session.run();
        assert_eq!(session.output().len(), model.output_len());
        assert_eq!(model.operators().count(), model.operator_count());
        assert_eq!(model.tensors().count(), model.tensor_count());
        let _ = model.metadata().count();
    }
}

#[test]
fn every_truncation_is_an_error_and_says_so() {
    for image in images() {
        for length in 0..image.len() {
            let error = Model::parse(&image[..length]).unwrap_err();
            assert_eq!(
                error,
                FormatError::Truncated,
                "at {length} of {}",
                image.len()
            );
            survive(&with_checksum(image[..length].to_vec()));
        }
    }
}

#[test]
fn every_flipped_byte_is_an_error() {
    for image in images() {
        for place in 0..image.len() {
            for flip in [0x01, 0x80, 0xff, 0x55] {
                let mut damaged = image.clone();
                damaged[place] ^= flip;
                assert!(
                    Model::parse(&damaged).is_err(),
                    "byte {place} flipped by {flip:#x}"
                );
            }
        }
    }
}

#[test]
fn every_changed_byte_with_a_right_checksum_is_survived() {
    for image in images() {
        for place in PREFIX_BYTES..image.len() {
            for value in 0..=255 {
                let mut changed = image.clone();
                changed[place] = value;
                survive(&with_checksum(changed));
            }
        }
    }
}

#[test]
fn pairs_of_changed_bytes_with_a_right_checksum_are_survived() {
    use rand::RngExt;
    let mut random = rng(11);
    for image in images() {
        for _ in 0..20_000 {
            let mut changed = image.clone();
            for _ in 0..random.random_range(2..6) {
                let place = random.random_range(PREFIX_BYTES..image.len());
                changed[place] = random.random();
            }
            survive(&with_checksum(changed));
        }
    }
}

#[test]
fn bytes_after_the_end_are_an_error() {
    for mut image in images() {
        image.push(0);
        assert_eq!(Model::parse(&image).unwrap_err(), FormatError::Trailing);
    }
}
