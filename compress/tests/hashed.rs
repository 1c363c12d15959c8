//! Hashed weights from training to the device: what the image's hash makes of the values is what the
//! float network has at every place, whatever order the layers' inputs stand in.
#![allow(clippy::unwrap_used)]

mod common;

use common::network::{assert_runs_as, graph, image};
use common::{
    ConvShape, Style, check, conv_program, dense_program, only_linear, rng, with_checksum,
};
use compress::encode::{Coding, decode, encode, recount};
use compress::program::Linear;
use no_std_core::hash::Hash;
use no_std_core::hashed::Hashed;
use no_std_core::weights::{Positions, Values};
use no_std_core::{FormatError, Model};
use rand::RngExt;
use trainer::graph::{HashedWeights, Parametrization, SignWeights};

const STYLE: Style = Style {
    density: 1.0,
    entries: 0,
};

/// Replaces a matrix by one of values that a hash chooses.
fn hashed(linear: &mut Linear, hash: Hash, channels: usize, values: &[i8]) {
    let taps = linear.columns / channels;
    for (r, row) in linear.weights.chunks_mut(linear.columns).enumerate() {
        for (i, weight) in row.iter_mut().enumerate() {
            let (tap, channel) = (i / channels, i % channels);
            let (group, negative) = hash.row(r as u32).at((channel * taps + tap) as u32);
            let value = values[group as usize];
            *weight = if negative {
                value.wrapping_neg()
            } else {
                value
            };
        }
    }
    let channels = channels as u32;
    linear.hashed = Some(Hashed { hash, channels });
}

fn values(seed: u64, groups: u32, largest: i8) -> Vec<i8> {
    let mut rng = rng(seed);
    (0..groups)
        .map(|_| rng.random_range(-largest..=largest))
        .collect()
}

const WHOLE: Hash = Hash {
    seed: 3,
    groups: 250,
    signed: true,
};

#[test]
fn dense_layers_are_hashed_in_every_width() {
    let books = [
        (values(9, 250, 127), "hashed+int8"),
        (values(9, 250, 7), "hashed+int4"),
        (values(9, 250, 1), "hashed+int2"),
        (
            values(9, 250, 1).iter().map(|v| 50 * v + 7).collect(),
            "hashed+codebook-3",
        ),
    ];
    for (values, form) in books {
        for signed in [false, true] {
            let mut program = dense_program(5, 20, 100, STYLE);
            let hash = Hash { signed, ..WHOLE };
            hashed(only_linear(&mut program), hash, 1, &values);
            check(&program, 5);
            let encoded = encode(&program, Coding::Smallest).unwrap();
            assert_eq!(encoded.layers[0].encoding, form);
        }
    }
}

/// Values of a plain layer are half of its bytes, and so on down: what is stored is the values, a
/// byte each, and a descriptor of a few bytes.
#[test]
fn nothing_but_the_values_is_stored() {
    let mut program = dense_program(5, 100, 100, STYLE);
    let hash = Hash {
        groups: 1000,
        ..WHOLE
    };
    hashed(only_linear(&mut program), hash, 1, &values(9, 1000, 127));
    let encoded = encode(&program, Coding::Smallest).unwrap();
    assert_eq!(encoded.layers[0].encoding, "hashed+int8");
    assert!((1000..1010).contains(&encoded.layers[0].bytes));
    assert_eq!(encoded.ledger.values, 1000);
}

#[test]
fn convolutions_are_hashed_in_the_order_of_the_graph() {
    let shape = ConvShape {
        size: [9, 8],
        channels: 4,
        filters: 6,
        kernel: [3, 3],
        stride: [1, 2],
        padding: [1, 0, 1, 0],
        dilation: [1, 1],
        groups: 2,
    };
    let mut program = conv_program(7, shape, STYLE);
    let hash = Hash {
        groups: 20,
        ..WHOLE
    };
    hashed(only_linear(&mut program), hash, 2, &values(1, 20, 127));
    let forms = check(&program, 7);
    assert!(forms.contains("hashed+int"), "{forms:?}");
}

/// A weight that its group does not explain: the hash is not used.
#[test]
fn a_hash_that_does_not_explain_the_weights_is_left_out() {
    let mut program = dense_program(5, 20, 100, STYLE);
    hashed(only_linear(&mut program), WHOLE, 1, &values(9, 250, 100));
    only_linear(&mut program).weights[777] ^= 1;
    let forms = check(&program, 5);
    assert!(forms.iter().all(|f| !f.starts_with("hashed")), "{forms:?}");
}

#[test]
fn a_hashed_image_is_read_back_and_accounted_for() {
    let mut program = dense_program(5, 20, 100, STYLE);
    hashed(only_linear(&mut program), WHOLE, 1, &values(9, 250, 127));
    let encoded = encode(&program, Coding::Smallest).unwrap();
    let model = Model::parse(&encoded.bytes).unwrap();
    let mut read = decode(&model);
    assert_eq!(
        only_linear(&mut read).hashed,
        only_linear(&mut program).hashed
    );
    assert_eq!(
        only_linear(&mut read).weights,
        only_linear(&mut program).weights
    );
    let recount = recount(&model).expect("written by this encoder");
    assert_eq!(recount.ledger, encoded.ledger);
}

/// Each field of the descriptor made wrong, in an image whose checksum is right.
#[test]
fn hostile_descriptors_are_refused() {
    let mut program = dense_program(5, 20, 100, STYLE);
    let hash = Hash {
        seed: 0x55,
        groups: 61,
        signed: true,
    };
    hashed(only_linear(&mut program), hash, 1, &values(9, 61, 127));
    let image = encode(&program, Coding::Smallest).unwrap().bytes;
    // Form hashed + integer, eight bits, seed, groups and sign, channels, length.
    let descriptor = [16, 8, 0x55, 61 << 1 | 1, 1, 61];
    let at = image.windows(6).position(|w| w == descriptor).unwrap();
    let changed = |field: usize, to: u8| {
        let mut image = image.clone();
        image[at + field] = to;
        with_checksum(image)
    };
    assert!(Model::parse(&changed(2, 0x54)).is_ok(), "another seed");
    let wrong = [
        ("no groups", 3, 1),
        ("more groups than values", 3, 62 << 1 | 1),
        ("fewer groups than values", 3, 60 << 1 | 1),
        ("no channels", 4, 0),
        ("channels that do not divide the columns", 4, 3),
        ("values wider than the stream has", 1, 0),
        ("values narrower than the stream has", 1, 7),
    ];
    for (what, field, to) in wrong {
        let error = Model::parse(&changed(field, to)).err();
        assert_eq!(error, Some(FormatError::Encoding), "{what}");
    }
    // All changes of the descriptor are survived.
    let input = common::random_input(1, 100);
    for (field, to) in (0..6).flat_map(|f| (0..=255).map(move |to| (f, to))) {
        let image = changed(field, to);
        if Model::parse(&image).is_ok_and(|m| m.input().bytes() == 100) {
            common::execute(&image, &input);
        }
    }
}

/// A codebook of one entry has indices of no bits: any number of groups in no bytes.
#[test]
fn values_of_no_bits_are_refused() {
    let mut program = dense_program(5, 20, 100, STYLE);
    let hash = Hash {
        seed: 0x55,
        groups: 8,
        signed: false,
    };
    hashed(
        only_linear(&mut program),
        hash,
        1,
        &[90, -100, 90, 90, -100, 90, 90, 90],
    );
    let image = encode(&program, Coding::Smallest).unwrap().bytes;
    let model = Model::parse(&image).unwrap();
    let linear = model.operators().next().unwrap();
    let linear = linear.kind.linears().next().unwrap();
    assert!(matches!(linear.weights.positions, Positions::Hashed(_)));
    assert!(matches!(
        linear.weights.values,
        Values::Indexed { bits: 1, .. }
    ));
    let at = |w: &[u8]| image.windows(w.len()).position(|seen| seen == w);
    let place = at(&[20, 1, 0x9c, 0x5a, 0x55, 16, 1, 1]).expect("a codebook of −100 and 90");
    let mut changed = image[..place + 1].to_vec();
    // One entry; the length of the file stays because the stream takes up the byte that went.
    changed.extend([0, 1, 0x55, 16, 1, 0]);
    changed.extend(&image[place + 8..]);
    changed.extend([0, 0]);
    changed.truncate(image.len());
    let error = Model::parse(&with_checksum(changed)).err();
    assert_eq!(error, Some(FormatError::Encoding));
}

#[test]
fn a_hashed_network_is_the_float_one_in_place() {
    let graph = graph(|place, parameter| {
        let columns = parameter.len() / parameter.shape[0];
        let sizes = [parameter.shape[0], columns];
        let count = parameter.len() / 8;
        let values = parameter.free()[..count].to_vec();
        let weights = HashedWeights::new(values, place as u32, true, sizes).unwrap();
        parameter.parametrization = Parametrization::Hashed(weights);
    });
    let compressed = image(&graph);
    let encodings = compressed
        .encoded
        .layers
        .iter()
        .map(|l| l.encoding.as_str());
    assert_eq!(encodings.collect::<Vec<_>>(), ["hashed+int8"; 3]);
    assert_runs_as(&compressed);
}

#[test]
fn binary_weights_take_a_bit_and_ternary_ones_less_than_two() {
    for (ternary, most) in [(false, 1.0), (true, 1.7)] {
        let graph = graph(|_, parameter| {
            let weights = SignWeights {
                values: parameter.free().to_vec(),
                ternary,
                channels: parameter.shape[0],
            };
            parameter.grid = Some(weights.grid());
            parameter.parametrization = Parametrization::Signs(weights);
        });
        let compressed = image(&graph);
        let hidden = &compressed.encoded.layers[1];
        let bits = 8.0 * (hidden.bytes as f64 - 8.0) / (24.0 * 216.0);
        assert!(bits <= most, "{bits} {}", hidden.encoding);
        assert_runs_as(&compressed);
    }
}
