//! Weights in vectors of codebooks, from the graph to the device: what the image's reader makes of
//! indices is what stands in the network at every place.
#![allow(clippy::unwrap_used)]

mod common;

use common::network::{assert_runs_as, graph, image};
use common::{
    ConvShape, Style, check, conv_program, dense_program, execute, naive, only_linear,
    random_input, rng, with_checksum,
};
use compress::encode::{Coding, decode, encode, recount};
use compress::program::{Linear, Program, Vectors};
use no_std_core::{FormatError, Model};
use rand::RngExt;
use trainer::graph::{Cut, Parametrization, VectorWeights};

const STYLE: Style = Style {
    density: 1.0,
    entries: 0,
};

/// Replaces a matrix by vectors of random codebooks; each entry is used, the first ones more often the
/// greater `skew`.
fn vectors(linear: &mut Linear, vectors: Vectors, entries: usize, skew: i32) {
    let (mut rng, Vectors { dimension, span }) = (rng(entries as u64), vectors);
    let per_row = linear.columns.div_ceil(dimension);
    let count = per_row.div_ceil(span) * entries * dimension;
    let books: Vec<i8> = (0..count).map(|_| rng.random_range(-127..=127)).collect();
    for (r, row) in linear.weights.chunks_mut(linear.columns).enumerate() {
        for (v, weights) in row.chunks_mut(dimension).enumerate() {
            let drawn = rng.random::<f64>().powi(skew) * entries as f64;
            let place = r * span.min(per_row) + v % span;
            let index = if place < entries {
                place
            } else {
                drawn as usize
            };
            let entry = &books[(v / span * entries + index) * dimension..];
            weights.copy_from_slice(&entry[..weights.len()]);
        }
    }
    linear.vectors = Some(vectors);
}

fn dense(rows: usize, columns: usize, cut: [usize; 2], entries: usize, skew: i32) -> Program {
    let mut program = dense_program(5, rows, columns, STYLE);
    let [dimension, span] = cut;
    let of = Vectors { dimension, span };
    vectors(only_linear(&mut program), of, entries, skew);
    program
}

/// Codebooks of 2 to 256 entries, vectors of every length, rows that end within one, and several
/// codebooks a row, also where the last serves fewer vectors: integers are those of plain loops over the
/// weights, through every coder.
#[test]
fn dense_layers_are_read_as_they_are() {
    for (entries, [dimension, span], columns) in [
        (2, [2, 50], 100),
        (3, [3, 34], 100),
        (16, [4, 25], 100),
        (16, [4, 7], 100),
        (16, [7, 5], 100),
        (200, [5, 20], 100),
        (256, [4, 25], 100),
        (16, [97, 1], 100),
        (16, [100, 1], 100),
        (256, [4, 2], 7),
    ] {
        let program = dense(400, columns, [dimension, span], entries, 1);
        let forms = check(&program, 5);
        let seen = forms.iter().any(|f| f.starts_with("vector"));
        assert!(seen, "{dimension} {span} {entries}: {forms:?}");
    }
}

/// m·d bytes for each codebook, ⌈log₂ m⌉ bits for each vector, and a descriptor of a few bytes.
#[test]
fn bytes_are_those_of_codebooks_and_indices() {
    for (entries, bits, dimension, books) in [
        (2, 1, 8, 1),
        (16, 4, 4, 1),
        (16, 4, 4, 4),
        (33, 6, 2, 1),
        (256, 8, 8, 2),
    ] {
        let span = 160 / dimension / books;
        let program = dense(200, 160, [dimension, span], entries, 1);
        let encoded = encode(&program, Coding::Packed).unwrap();
        let layer = &encoded.layers[0];
        assert_eq!(layer.encoding, format!("vector-{dimension}+int{bits}"));
        assert_eq!(layer.ledger.codebooks, books * entries * dimension);
        assert_eq!(
            layer.ledger.values,
            (200 * 160 / dimension * bits).div_ceil(8)
        );
        let rest = layer.bytes - layer.ledger.codebooks - layer.ledger.values;
        assert!((7..=8).contains(&rest), "{rest} bytes describe it");
    }
}

/// Codes come within a few percent of the entropy of the indices, which is below their width.
#[test]
fn indices_are_coded_where_that_is_smaller() {
    let program = dense(400, 400, [4, 100], 64, 4);
    let [packed, coded] =
        [Coding::Packed, Coding::Huffman].map(|c| encode(&program, c).unwrap().layers[0].clone());
    assert_eq!(packed.encoding, "vector-4+int6");
    assert_eq!(coded.encoding, "vector-4+huffman");
    assert!(coded.bytes < packed.bytes);
    let bits = (coded.ledger.values * 8) as f64;
    assert!((1.0..1.02).contains(&(bits / coded.entropy_bits)));
}

#[test]
fn convolutions_are_read_as_they_are() {
    let shape = ConvShape {
        size: [9, 8],
        channels: 6,
        filters: 40,
        kernel: [3, 3],
        stride: [1, 2],
        padding: [1, 0, 1, 0],
        dilation: [1, 1],
        groups: 2,
    };
    // Rows of 27, in sevens of four weights of which the last has three.
    for [dimension, span] in [[3, 9], [4, 7], [4, 3]] {
        let mut program = conv_program(7, shape, STYLE);
        vectors(only_linear(&mut program), Vectors { dimension, span }, 4, 1);
        let forms = check(&program, 7);
        assert!(forms.iter().any(|f| f.starts_with("vector")), "{forms:?}");
    }
}

/// More vectors than an index says: another form is used.
#[test]
fn a_cut_that_does_not_explain_the_weights_is_left_out() {
    let mut program = dense(400, 100, [4, 25], 256, 1);
    only_linear(&mut program).weights[777] ^= 1;
    let forms = check(&program, 5);
    assert!(forms.iter().all(|f| !f.starts_with("vector")), "{forms:?}");
}

#[test]
fn an_image_of_vectors_is_read_back_and_accounted_for() {
    for coding in [Coding::Packed, Coding::Huffman] {
        let mut program = dense(400, 99, [4, 7], 50, 3);
        let encoded = encode(&program, coding).unwrap();
        assert!(encoded.layers[0].encoding.starts_with("vector-4"));
        let model = Model::parse(&encoded.bytes).unwrap();
        let mut read = decode(&model);
        let (read, written) = (only_linear(&mut read), only_linear(&mut program));
        assert_eq!(read.vectors, written.vectors);
        assert_eq!(read.weights, written.weights);
        let recount = recount(&model).expect("written by this encoder");
        assert_eq!(recount.ledger, encoded.ledger);
        let features = model
            .operators()
            .flat_map(|op| op.features().collect::<Vec<_>>());
        assert!(features.collect::<Vec<_>>().contains(&"vector"));
    }
}

/// An image of 20 × 24 weights in fours, with three entries, and where its descriptor stands.
fn small() -> (Program, Vec<u8>, usize) {
    let program = dense(20, 24, [4, 6], 3, 1);
    let image = encode(&program, Coding::Packed).unwrap().bytes;
    // Form vectors + integer, two bits, dimension, span, entries less one, and behind twelve weights the
    // length.
    let at = image.windows(5).position(|w| w == [17, 2, 4, 6, 2]);
    (program, image, at.unwrap())
}

/// Each field of the descriptor made wrong, in an image whose checksum is right.
#[test]
fn hostile_descriptors_are_refused() {
    let (_, image, at) = small();
    assert_eq!(image[at + 17], 30, "120 indices of two bits");
    let changed = |field: usize, to: u8| {
        let mut image = image.clone();
        image[at + field] = to;
        with_checksum(image)
    };
    let wrong = [
        ("an index wider than the entries need", 1, 3),
        ("an index narrower than the entries need", 1, 1),
        ("no dimension", 2, 0),
        ("a dimension beyond the row", 2, 25),
        ("no span", 3, 0),
        ("a span beyond the row", 3, 7),
        ("entries that need more bits", 4, 4),
        ("fewer indices", 17, 29),
        ("indices by a codebook", 0, 17 | 4),
    ];
    for (what, field, to) in wrong {
        let error = Model::parse(&changed(field, to)).err();
        assert_eq!(error, Some(FormatError::Encoding), "{what}");
    }
    // Whatever else stands there, all of it is survived.
    let input = random_input(1, 24);
    for (field, to) in (0..60).flat_map(|f| (0..=255).map(move |to| (f, to))) {
        let image = changed(field, to);
        if Model::parse(&image).is_ok_and(|m| m.input().bytes() == 24) {
            execute(&image, &input);
        }
    }
}

/// Three entries leave an index of two bits unused: it means zeros.
#[test]
fn an_index_beyond_the_codebook_is_a_vector_of_zeros() {
    let (mut program, mut image, at) = small();
    image[at + 18] |= 0b11 << 4;
    only_linear(&mut program).weights[4..8].fill(0);
    let input = random_input(3, 24);
    let image = with_checksum(image);
    assert_eq!(execute(&image, &input), naive(&program, &input));
    let mut read = decode(&Model::parse(&image).unwrap());
    assert_eq!(
        only_linear(&mut read).weights,
        only_linear(&mut program).weights
    );
}

/// A code with a meaning that is no entry, and every change of its description.
#[test]
fn hostile_codes_are_refused() {
    let program = dense(300, 24, [4, 6], 9, 5);
    let image = encode(&program, Coding::Huffman).unwrap().bytes;
    let layer = &encode(&program, Coding::Huffman).unwrap().layers[0];
    assert_eq!(layer.encoding, "vector-4+huffman");
    let at = image.windows(5).position(|w| w[..2] == [4, 6] && w[2] == 8);
    // Nine meanings stand before the dimension.
    let at = at.unwrap();
    let mut meanings = image[at - 9..at].to_vec();
    meanings.sort_unstable();
    assert_eq!(meanings, (0..9).collect::<Vec<u8>>());
    let changed = |at: usize, to: u8| {
        let mut image = image.clone();
        image[at] = to;
        with_checksum(image)
    };
    let error = Model::parse(&changed(at - 1, 9)).err();
    assert_eq!(error, Some(FormatError::Encoding));
    let input = random_input(1, 24);
    for (at, to) in (at - 16..at + 50).flat_map(|f| (0..=255).map(move |to| (f, to))) {
        let image = changed(at, to);
        if Model::parse(&image).is_ok_and(|m| m.input().bytes() == 24) {
            execute(&image, &input);
        }
    }
}

/// Filters are cut along their channels and a flattened image along its own: the device reads both that
/// way.
#[test]
fn a_network_of_vectors_is_the_float_one_in_place() {
    let channels = [2, 6, 1];
    let dimensions = [2, 4, 3];
    let graph = graph(|place, parameter| {
        // Weights and biases take turns, but the second layer has no bias.
        let layer = [0, 0, 1, 2][place];
        let rows = parameter.shape[0];
        let columns = parameter.len() / rows;
        let cut = Cut {
            dimension: dimensions[layer],
            span: columns.div_ceil(dimensions[layer]).div_ceil(layer.max(1)),
            channels: channels[layer],
        };
        let count = cut.codebooks(columns) * 4 * cut.dimension;
        let books = parameter
            .free()
            .iter()
            .cycle()
            .take(count)
            .copied()
            .collect();
        let indices = (0..rows * cut.vectors(columns)).map(|i| (i * i % 7 % 4) as u32);
        let weights = VectorWeights::new(books, indices.collect(), cut, [rows, columns]);
        parameter.parametrization = Parametrization::Vectors(weights.unwrap());
    });
    let compressed = image(&graph);
    let encodings: Vec<&str> = compressed
        .encoded
        .layers
        .iter()
        .map(|l| l.encoding.as_str())
        .collect();
    assert!(
        encodings.iter().all(|e| e.starts_with("vector-")),
        "{encodings:?}"
    );
    assert_runs_as(&compressed);
}
