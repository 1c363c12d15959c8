//! Seeded programs and a naive interpreter of them: plain loops over 64-bit sums, written from the
//! definitions and not from the kernels.
#![allow(dead_code, unreachable_pub, unused_imports, clippy::unwrap_used)]

mod naive;
pub mod network;
mod recurrent;

use compress::encode::{Coding, encode};
use compress::program::{Kind, Linear, Operator, Program, Tensor};
pub use naive::{Interpreter, naive};
use no_std_core::numerics::{Multiplier, Output};
use no_std_core::operator::Window;
use no_std_core::tensor::Shape;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use std::collections::BTreeSet;

pub fn rng(seed: u64) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed)
}

/// What values the weights take and how many are zero.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub density: f64,
    /// Distinct values; 0 for any int8.
    pub entries: usize,
}

pub fn weights(rng: &mut ChaCha8Rng, count: usize, style: Style) -> Vec<i8> {
    let book: Vec<i8> = (0..style.entries)
        .map(|_| rng.random_range(-127..=127))
        .collect();
    (0..count)
        .map(|_| {
            let value = if book.is_empty() {
                rng.random_range(-127..=127)
            } else {
                // Skewed, so that codewords differ in length.
                let r: f64 = rng.random();
                book[(r * r * book.len() as f64) as usize]
            };
            if rng.random::<f64>() < style.density {
                value
            } else {
                0
            }
        })
        .collect()
}

pub fn linear(
    rng: &mut ChaCha8Rng,
    rows: usize,
    columns: usize,
    style: Style,
    per_channel: bool,
) -> Linear {
    let weights = weights(rng, rows * columns, style);
    let spread = (columns as f64 * style.density).sqrt().max(1.0) * 60.0 * 60.0;
    let count = if per_channel { rows } else { 1 };
    let mut multipliers: Vec<Multiplier> = (0..count)
        .map(|_| multiplier(60.0 / spread * rng.random_range(0.5..1.5)))
        .collect();
    if rows.is_multiple_of(2) && per_channel {
        multipliers = with_gains(&multipliers);
    }
    let bias_shift = rng.random_range(0..6u8);
    let biases = (0..rows)
        .map(|_| rng.random_range(-3000..3000) << bias_shift)
        .collect();
    let zero_point = rng.random_range(-20..20);
    let (min, max) = if rng.random() {
        (zero_point, 127)
    } else {
        (-128, 127)
    };
    let range = Output {
        zero_point,
        min,
        max,
    };
    Linear {
        name: "w".into(),
        shape: vec![rows, columns],
        rows,
        hashed: None,
        vectors: None,
        columns,
        weights,
        multipliers,
        biases,
        range,
    }
}

pub fn tensor(
    rng: &mut ChaCha8Rng,
    height: usize,
    width: usize,
    channels: usize,
    zero_point: i8,
) -> Tensor {
    let shape = Shape::new(height, width, channels).unwrap();
    Tensor {
        name: "t".into(),
        shape,
        scale: rng.random_range(0.01..1.0),
        zero_point,
        wide: false,
    }
}

pub fn chain(tensors: Vec<Tensor>, kinds: Vec<Kind>) -> Program {
    let operator = |(i, kind)| Operator {
        name: format!("op{i}"),
        input: i,
        output: i + 1,
        kind,
    };
    let operators: Vec<Operator> = kinds.into_iter().enumerate().map(operator).collect();
    let output = operators.len();
    let mut program = Program {
        tensors,
        operators,
        input: 0,
        output,
        macs: 0,
        metadata: vec![("labels".into(), "a,b".into())],
    };
    program.macs = program.dense_macs();
    program
}

/// A program of operators by the places of what they read and write; the last one's output is handed
/// out.
pub fn network(tensors: Vec<Tensor>, operators: Vec<(usize, usize, Kind)>) -> Program {
    let output = operators.last().unwrap().1;
    let mut program = chain(tensors, Vec::new());
    program.operators = operators
        .into_iter()
        .map(|(input, output, kind)| Operator {
            name: "op".into(),
            input,
            output,
            kind,
        })
        .collect();
    program.output = output;
    program
}

/// A real factor as a multiplier.
pub fn multiplier(real: f64) -> Multiplier {
    let shift = (30 - real.log2().floor() as i32).clamp(1, 62);
    Multiplier::new((real * 2f64.powi(shift)) as i32, shift as u8).unwrap()
}

/// Of the first multiplier, gains in their stead: between a sixteenth and twice the largest, in no order.
pub fn with_gains(multipliers: &[Multiplier]) -> Vec<Multiplier> {
    let common = multipliers[0];
    let gains = multipliers
        .iter()
        .map(|m| (m.mantissa as u32 >> 3) as u8 % 24);
    gains.map(|gain| common.with_gain(gain).unwrap()).collect()
}

/// The range of an output with this zero point.
pub fn range(zero_point: i8) -> Output {
    Output {
        zero_point,
        min: -128,
        max: 127,
    }
}

pub fn dense_program(seed: u64, rows: usize, columns: usize, style: Style) -> Program {
    let mut rng = rng(seed);
    let per_channel = rng.random();
    let linear = linear(&mut rng, rows, columns, style, per_channel);
    let input = tensor(&mut rng, 1, 1, columns, -7);
    let output = tensor(&mut rng, 1, 1, rows, linear.range.zero_point);
    chain(vec![input, output], vec![Kind::Dense(linear)])
}

#[derive(Clone, Copy, Debug)]
pub struct ConvShape {
    pub size: [usize; 2],
    pub channels: usize,
    pub filters: usize,
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub padding: [usize; 4],
    pub dilation: [usize; 2],
    pub groups: usize,
}

pub fn conv_program(seed: u64, shape: ConvShape, style: Style) -> Program {
    let mut rng = rng(seed);
    let per_channel = rng.random();
    let columns = shape.kernel[0] * shape.kernel[1] * shape.channels / shape.groups;
    let linear = linear(&mut rng, shape.filters, columns, style, per_channel);
    let out = |axis: usize| {
        let extent = (shape.kernel[axis] - 1) * shape.dilation[axis] + 1;
        (shape.size[axis] + shape.padding[axis] + shape.padding[axis + 2] - extent)
            / shape.stride[axis]
            + 1
    };
    let input = tensor(&mut rng, shape.size[0], shape.size[1], shape.channels, -9);
    let output = tensor(
        &mut rng,
        out(0),
        out(1),
        shape.filters,
        linear.range.zero_point,
    );
    let window = Window {
        kernel: shape.kernel,
        stride: shape.stride,
        padding: [shape.padding[0], shape.padding[1]],
        dilation: shape.dilation,
    };
    let kind = Kind::Conv {
        window,
        groups: shape.groups,
        linear,
    };
    chain(vec![input, output], vec![kind])
}

/// A convolution, a pooling and a dense layer: one of each thing an image can hold coded.
pub fn small_network(seed: u64) -> Program {
    let mut rng = rng(seed);
    let style = Style {
        density: 0.3,
        entries: 5,
    };
    let conv = linear(&mut rng, 4, 9, style, false);
    let dense = linear(&mut rng, 6, 64, style, true);
    let middle = conv.range.zero_point;
    let tensors = vec![
        tensor(&mut rng, 10, 10, 1, -128),
        tensor(&mut rng, 8, 8, 4, middle),
        tensor(&mut rng, 4, 4, 4, middle),
        tensor(&mut rng, 1, 1, 6, dense.range.zero_point),
        tensor(&mut rng, 1, 1, 6, -128),
    ];
    let window = |side: usize, stride: usize| Window {
        kernel: [side; 2],
        stride: [stride; 2],
        padding: [0; 2],
        dilation: [1; 2],
    };
    let exponentials = (0..40)
        .map(|d| (65535.0 * (-0.2 * d as f64).exp()) as u16)
        .collect();
    let kinds = vec![
        Kind::Conv {
            window: window(3, 1),
            groups: 1,
            linear: conv,
        },
        Kind::MaxPool(window(2, 2)),
        Kind::Dense(dense),
        Kind::Softmax(exponentials),
    ];
    chain(tensors, kinds)
}

pub fn random_input(seed: u64, count: usize) -> Vec<i8> {
    let mut rng = rng(seed);
    (0..count).map(|_| rng.random()).collect()
}

pub const CODINGS: [Coding; 5] = [
    Coding::Plain,
    Coding::Packed,
    Coding::Huffman,
    Coding::Range,
    Coding::Smallest,
];

/// Runs the program in every coding; returns the forms that were chosen.
pub fn check(program: &Program, seed: u64) -> BTreeSet<String> {
    let input = random_input(seed, program.tensors[program.input].shape.len());
    let expected = naive(program, &input);
    let mut forms = BTreeSet::new();
    for coding in CODINGS {
        let encoded = encode(program, coding).unwrap();
        assert_eq!(
            encoded.ledger.total(),
            encoded.bytes.len(),
            "the ledger accounts for every byte"
        );
        let encodings: Vec<&str> = encoded.layers.iter().map(|l| l.encoding.as_str()).collect();
        assert_eq!(
            execute(&encoded.bytes, &input),
            expected,
            "{coding:?} {encodings:?} seed {seed}"
        );
        forms.extend(encodings.iter().map(|e| {
            e.split(['-', '1', '2', '3', '4', '5', '6', '7', '8'])
                .next()
                .unwrap()
                .to_owned()
        }));
    }
    forms
}

/// Runs an image on the host twin with an arena of just the bytes it asks for.
pub fn execute(image: &[u8], input: &[i8]) -> Vec<i8> {
    let model = no_std_core::Model::parse(image).unwrap();
    let mut arena = vec![0x55; model.arena_bytes()];
    let mut session = edge_runtime::Session::new(&model, &mut arena).unwrap();
    session.input_mut().copy_from_slice(input);
    session.run();
    session.output().to_vec()
}

/// The weights of the first operator.
pub fn only_linear(program: &mut Program) -> &mut Linear {
    match &mut program.operators[0].kind {
        Kind::Dense(linear) | Kind::Conv { linear, .. } => linear,
        _ => panic!("no weights"),
    }
}

/// A changed image, its checksum right again.
pub fn with_checksum(mut image: Vec<u8>) -> Vec<u8> {
    let checksum = no_std_core::crc32(&image[no_std_core::PREFIX_BYTES..]);
    image[no_std_core::PREFIX_BYTES - 4..no_std_core::PREFIX_BYTES]
        .copy_from_slice(&checksum.to_le_bytes());
    image
}
