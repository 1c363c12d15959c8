//! The kernels, on images in every form of weights, against the naive interpreter: to the unit.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use compress::encode::{Coding, Encoded, encode};
use compress::program::{Kind, Linear};
use no_std_core::operator::{MULTIPLIER_BYTES, Window};
use std::collections::BTreeSet;

const STYLES: [Style; 9] = [
    Style {
        density: 1.0,
        entries: 0,
    },
    Style {
        density: 1.0,
        entries: 16,
    },
    Style {
        density: 1.0,
        entries: 2,
    },
    Style {
        density: 0.5,
        entries: 3,
    },
    Style {
        density: 0.4,
        entries: 0,
    },
    Style {
        density: 0.2,
        entries: 16,
    },
    Style {
        density: 0.05,
        entries: 8,
    },
    Style {
        density: 0.01,
        entries: 1,
    },
    Style {
        density: 0.0,
        entries: 4,
    },
];

#[test]
fn dense_layers_in_every_form() {
    let mut forms = BTreeSet::new();
    for (s, style) in STYLES.into_iter().enumerate() {
        for (i, (rows, columns)) in [(1, 1), (7, 3), (10, 100), (33, 300)]
            .into_iter()
            .enumerate()
        {
            let seed = (s * 10 + i) as u64;
            forms.extend(check(&dense_program(seed, rows, columns, style), seed));
        }
    }
    for form in [
        "int",
        "huffman",
        "codebook",
        "bitmap+codebook",
        "bitmap+int",
        "runs+huffman",
    ] {
        assert!(forms.contains(form), "no {form} among {forms:?}");
    }
}

/// Runs beyond a row, beyond a look-up and to the matrix's end.
#[test]
fn long_runs() {
    for (seed, density) in [(1, 0.0002), (2, 0.001), (3, 0.01)] {
        let style = Style {
            density,
            entries: 60,
        };
        let forms = check(&dense_program(seed, 61, 2_999, style), seed);
        assert!(forms.contains("runs+huffman"), "{forms:?}");
    }
}

#[test]
fn convolutions_in_every_form_and_geometry() {
    let plain = ConvShape {
        size: [9, 8],
        channels: 4,
        filters: 6,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [0; 4],
        dilation: [1, 1],
        groups: 1,
    };
    let shapes = [
        plain,
        ConvShape {
            channels: 1,
            filters: 5,
            kernel: [5, 5],
            ..plain
        },
        ConvShape {
            padding: [1, 1, 1, 1],
            ..plain
        },
        ConvShape {
            padding: [0, 0, 1, 1],
            stride: [2, 2],
            ..plain
        },
        ConvShape {
            padding: [2, 1, 2, 1],
            dilation: [2, 1],
            kernel: [3, 2],
            ..plain
        },
        ConvShape {
            groups: 2,
            padding: [1, 0, 1, 0],
            ..plain
        },
        ConvShape {
            groups: 4,
            filters: 4,
            padding: [1, 1, 1, 1],
            ..plain
        },
        ConvShape {
            kernel: [1, 1],
            ..plain
        },
        // Rows too short for several positions at once, in columns that are not.
        ConvShape {
            size: [13, 3],
            padding: [1, 1, 1, 1],
            ..plain
        },
        // More taps than a word has bits, and nowhere a window within the input.
        ConvShape {
            size: [5, 6],
            channels: 2,
            kernel: [7, 7],
            padding: [3, 3, 3, 3],
            ..plain
        },
        ConvShape {
            kernel: [9, 8],
            filters: 3,
            ..plain
        },
        ConvShape {
            size: [2, 2],
            kernel: [5, 5],
            padding: [2, 2, 2, 2],
            ..plain
        },
    ];
    for (i, shape) in shapes.into_iter().enumerate() {
        for (s, style) in STYLES.into_iter().enumerate() {
            let seed = (100 + i * 10 + s) as u64;
            check(&conv_program(seed, shape, style), seed);
        }
    }
}

#[test]
fn poolings_clamps_and_a_whole_network() {
    for (i, (kernel, stride, padding)) in [
        ([2, 2], [2, 2], [0, 0]),
        ([3, 3], [2, 2], [1, 1]),
        ([3, 2], [1, 1], [0, 1]),
        ([7, 6], [1, 1], [0, 0]),
    ]
    .into_iter()
    .enumerate()
    {
        let mut rng = rng(i as u64);
        let window = Window {
            kernel,
            stride,
            padding,
            dilation: [1, 1],
        };
        let positions =
            |axis: usize, size: usize| (size + 2 * padding[axis] - kernel[axis]) / stride[axis] + 1;
        let tensors = |rng: &mut _| {
            let input = tensor(rng, 7, 6, 3, 5);
            let mut output = tensor(rng, positions(0, 7), positions(1, 6), 3, 5);
            output.scale = input.scale;
            vec![input, output]
        };
        let average = |count_include_pad| Kind::AveragePool {
            window,
            count_include_pad,
        };
        for kind in [Kind::MaxPool(window), average(true), average(false)] {
            check(&chain(tensors(&mut rng), vec![kind]), i as u64);
        }
    }
    let mut random = rng(1);
    let table = random_input(4, 256);
    let tensors = vec![
        tensor(&mut random, 4, 4, 16, 0),
        tensor(&mut random, 4, 4, 16, 0),
    ];
    check(&chain(tensors, vec![Kind::Table(table)]), 3);
    let range = no_std_core::numerics::Output {
        zero_point: -3,
        min: -3,
        max: 40,
    };
    let tensors = vec![
        tensor(&mut random, 2, 3, 4, -3),
        tensor(&mut random, 2, 3, 4, -3),
    ];
    check(&chain(tensors, vec![Kind::Clamp(range)]), 9);
    for seed in 0..20 {
        check(&small_network(seed), seed);
    }
}

#[test]
fn softmax_is_within_a_unit_of_the_real_one() {
    let scale = 0.1f64;
    let table: Vec<u16> = (0..256)
        .map(|d| (65535.0 * (-scale * d as f64).exp()).round() as u16)
        .take_while(|&e| e > 0)
        .collect();
    for (seed, n) in [(1, 2), (2, 10), (3, 100), (4, 128)] {
        let mut random = rng(seed);
        let tensors = vec![
            tensor(&mut random, 1, 1, n, 0),
            tensor(&mut random, 1, 1, n, -128),
        ];
        let program = chain(tensors, vec![Kind::Softmax(table.clone())]);
        let input = random_input(seed, n);
        let output = execute(&encode(&program, Coding::Smallest).unwrap().bytes, &input);
        let e: Vec<f64> = input.iter().map(|&q| (scale * q as f64).exp()).collect();
        let sum: f64 = e.iter().sum();
        for (y, e) in output.iter().zip(e) {
            let real = (256.0 * e / sum - 128.0).min(127.0);
            assert!((*y as f64 - real).abs() <= 1.0, "{y} for {real}");
        }
    }
}

#[test]
fn addition_rounds_once() {
    for seed in 0..5 {
        let mut random = rng(seed);
        let tensors = vec![
            tensor(&mut random, 3, 3, 2, 4),
            tensor(&mut random, 3, 3, 2, -6),
        ];
        let mut program = chain(
            tensors,
            vec![Kind::Clamp(no_std_core::numerics::Output {
                zero_point: -6,
                min: -10,
                max: 127,
            })],
        );
        program.tensors.push(tensor(&mut random, 3, 3, 2, 9));
        let range = no_std_core::numerics::Output {
            zero_point: 9,
            min: -128,
            max: 100,
        };
        let kind = Kind::Add {
            other: 1,
            mantissas: [700_000_001, -300_000_007],
            shift: 29,
            range,
        };
        program.operators.push(compress::program::Operator {
            name: "add".into(),
            input: 0,
            output: 2,
            kind,
        });
        program.output = 2;
        check(&program, seed);
    }
}

/// Of 40 rows: one multiplier; one and a byte each; one each, as soon as one of them is no gain.
#[test]
fn gains_take_a_byte_each() {
    let mut rng = rng(3);
    let any = linear(&mut rng, 40, 30, STYLES[1], true);
    let gained = with_gains(&any.multipliers);
    let mut other = gained.clone();
    other[7].mantissa += 1;
    let images = [gained[..1].to_vec(), gained, other].map(|multipliers| {
        let linear = Linear {
            multipliers,
            ..any.clone()
        };
        let input = tensor(&mut rng, 1, 1, 30, -7);
        let output = tensor(&mut rng, 1, 1, 40, linear.range.zero_point);
        let program = chain(vec![input, output], vec![Kind::Dense(linear)]);
        check(&program, 3);
        encode(&program, Coding::Huffman).unwrap()
    });
    let scales = images.map(|image| image.ledger.scales);
    assert_eq!(scales[1] - scales[0], 40);
    assert_eq!(scales[2] - scales[0], 39 * MULTIPLIER_BYTES);
}

/// The same rows a second and a third time: their runs take a byte in place of a code, those of another kind
/// a code of their own.
#[test]
fn layers_share_a_code_of_runs_where_that_is_cheaper() {
    let style = |density| Style {
        density,
        entries: 12,
    };
    let mut rng = rng(8);
    let sparse = linear(&mut rng, 60, 60, style(0.04), false);
    let dense = linear(&mut rng, 60, 60, style(0.2), false);
    let tensors = || vec![tensor(&mut crate::rng(2), 1, 1, 60, 5); 4];
    let image = |layers: [&Linear; 3]| {
        let kinds = layers.map(|linear| {
            let mut linear = linear.clone();
            linear.range = range(5);
            Kind::Dense(linear)
        });
        let program = chain(tensors(), kinds.to_vec());
        check(&program, 8);
        encode(&program, Coding::Huffman).unwrap()
    };
    let tables = |image: &Encoded| {
        image
            .layers
            .iter()
            .map(|l| l.ledger.code_tables)
            .collect::<Vec<_>>()
    };
    let [first, second, third] = tables(&image([&sparse; 3])).try_into().unwrap();
    assert_eq!(second, third);
    // Behind them, the lengths of the values' codewords stay.
    let alone = tables(&image([&sparse, &dense, &sparse]));
    assert!(first > second + 6, "{first} {second}");
    assert!(alone[1] > second + 6, "{alone:?} {second}");
    assert_eq!(alone[2], first);
}

#[test]
fn coded_bytes_come_close_to_the_entropy_of_their_symbols() {
    for style in [
        Style {
            density: 0.05,
            entries: 15,
        },
        Style {
            density: 0.1,
            entries: 31,
        },
        Style {
            density: 1.0,
            entries: 32,
        },
    ] {
        let encoded = encode(&dense_program(5, 100, 784, style), Coding::Smallest).unwrap();
        let ledger = encoded.ledger;
        let bits = 8.0 * (ledger.values + ledger.positions) as f64;
        let entropy: f64 = encoded.layers.iter().map(|l| l.entropy_bits).sum();
        assert!(
            bits >= entropy.floor() && bits <= 1.02 * entropy + 8.0,
            "{bits} bits for {entropy} ({style:?})"
        );
    }
}

#[test]
fn an_image_is_accounted_for_from_its_bytes_alone() {
    for seed in 0..5 {
        for coding in CODINGS {
            let encoded = encode(&small_network(seed), coding).unwrap();
            let model = no_std_core::Model::parse(&encoded.bytes).unwrap();
            let recount = compress::encode::recount(&model).expect("written by this encoder");
            assert_eq!(recount.ledger, encoded.ledger);
            let sizes = |layers: &[compress::encode::Layer]| -> Vec<(usize, usize)> {
                layers.iter().map(|l| (l.nonzero, l.bytes)).collect()
            };
            assert_eq!(sizes(&recount.layers), sizes(&encoded.layers));
        }
    }
}
