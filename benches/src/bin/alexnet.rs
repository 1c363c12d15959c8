//! Deep Compression's AlexNet by size (Han 2016, table 4), without its data: seeded heavy-tailed weights
//! in its shapes, pruned to its densities and shared among as many centroids, then written as an image and
//! read back.
//!
//! Its 62,367,776 parameters are the weights of AlexNet without groups and without the 10,568 biases, which
//! the file holds as well; with conv2, conv4 and conv5 in two groups there would be 60,954,656.

use clap::Parser;
use compress::calibrate::{Method, calibrate};
use compress::encode::{Coding, decode, encode, sorted};
use compress::lower::{Biases, lower};
use compress::passes::codebook::{Start, per_tensor_grid, share};
use compress::passes::prune::{Amounts, prune, weights};
use no_std_core::Model;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::{Distribution, StudentT};
use std::error::Error;
use std::time::Instant;
use trainer::graph::{Graph, Op, ParamId, Parameter, ValueId, Window};

/// Compresses an AlexNet-sized network and reports ratio, time and memory.
#[derive(Parser)]
struct Arguments {
    /// Of the weights.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Degrees of freedom of the weights' distribution: the fewer, the heavier its tails.
    #[arg(long, default_value_t = 4.0)]
    freedom: f64,
    /// Keep to codes that a small device reads fast.
    #[arg(long)]
    huffman: bool,
    /// One JSON object.
    #[arg(long)]
    json: bool,
}

/// A layer of AlexNet.
struct Layer {
    name: &'static str,
    /// `[out, in, height, width]` of a convolution, `[out, in]` of a dense layer.
    shape: &'static [usize],
    /// Share of the weights that stays.
    density: f64,
    /// Centroids.
    entries: usize,
}

/// An int8 grid has 254 places for 8-bit codebooks, beside zero.
const CONV_ENTRIES: usize = 254;
const DENSE_ENTRIES: usize = 32;

const LAYERS: [Layer; 8] = [
    conv("conv1", &[96, 3, 11, 11], 0.84),
    conv("conv2", &[256, 96, 5, 5], 0.38),
    conv("conv3", &[384, 256, 3, 3], 0.35),
    conv("conv4", &[384, 384, 3, 3], 0.37),
    conv("conv5", &[256, 384, 3, 3], 0.37),
    dense("fc6", &[4096, 9216], 0.09),
    dense("fc7", &[4096, 4096], 0.09),
    dense("fc8", &[1000, 4096], 0.25),
];

const fn conv(name: &'static str, shape: &'static [usize], density: f64) -> Layer {
    Layer {
        name,
        shape,
        density,
        entries: CONV_ENTRIES,
    }
}

const fn dense(name: &'static str, shape: &'static [usize], density: f64) -> Layer {
    Layer {
        name,
        shape,
        density,
        entries: DENSE_ENTRIES,
    }
}

/// Deep Compression's AlexNet has so many.
const PARAMETERS: usize = 62_367_776;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let started = Instant::now();
    let mut graph = network(arguments.seed, arguments.freedom)?;
    let parameters: usize = weights(&graph)
        .iter()
        .map(|&id| graph.parameter(id).len())
        .sum();
    assert_eq!(parameters, PARAMETERS, "the shapes above");
    let generated = started.elapsed();
    let sparsities = LAYERS.iter().map(|layer| 1.0 - layer.density).collect();
    prune(&mut graph, &Amounts::PerLayer(sparsities), 1.0);
    for (id, layer) in weights(&graph).into_iter().zip(&LAYERS) {
        share(&mut graph, id, layer.entries, Start::Linear, arguments.seed)?;
        per_tensor_grid(&mut graph, id, 127);
    }
    let shared = started.elapsed();
    let mut random = ChaCha8Rng::seed_from_u64(arguments.seed);
    let input = graph.value(graph.input).len();
    let input: Vec<f32> = (0..input).map(|_| random.random()).collect();
    calibrate(&mut graph, &input, Method::default())?;
    let program = sorted(&lower(&graph, Biases::Rounded)?);
    drop(graph);
    let lowered = started.elapsed();
    let coding = if arguments.huffman {
        Coding::Huffman
    } else {
        Coding::Smallest
    };
    let encoded = encode(&program, coding)?;
    let written = started.elapsed();
    let model = Model::parse(&encoded.bytes)?;
    let back = decode(&model);
    let pairs = program.operators.iter().zip(&back.operators);
    let equal = pairs.flat_map(|(a, b)| a.kind.linears().into_iter().zip(b.kind.linears()));
    for (a, b) in equal {
        if a.weights != b.weights || a.biases != b.biases {
            return Err(format!("layer '{}' was not read back as it was", a.name).into());
        }
    }
    let read = started.elapsed();
    let ratio = (4 * PARAMETERS) as f64 / encoded.bytes.len() as f64;
    let peak = peak_bytes().unwrap_or(0);
    if arguments.json {
        let report = serde_json::json!({
            "parameters": PARAMETERS, "bytes": encoded.bytes.len(), "ratio": ratio,
            "seconds": read.as_secs_f64(), "peak_bytes": peak, "layers": encoded.layers,
        });
        println!("{report:#}");
        return Ok(());
    }
    for layer in &encoded.layers {
        println!(
            "{:16} {:8} weights left, {:9} bytes, entropy {:9.0}, {}",
            layer.name,
            layer.nonzero,
            layer.bytes,
            layer.entropy_bits / 8.0,
            layer.encoding
        );
    }
    println!(
        "weights {:.1} s, pruned and shared {:.1} s, lowered {:.1} s, written {:.1} s, read back and equal {:.1} s",
        generated.as_secs_f64(),
        (shared - generated).as_secs_f64(),
        (lowered - shared).as_secs_f64(),
        (written - lowered).as_secs_f64(),
        (read - written).as_secs_f64(),
    );
    println!(
        "{} parameters, {} bytes: {ratio:.2} times smaller than at 4 bytes each, in {:.0} s and at most {:.2} GB of memory",
        PARAMETERS,
        encoded.bytes.len(),
        read.as_secs_f64(),
        peak as f64 / 1e9
    );
    Ok(())
}

/// AlexNet over 227 × 227 pixels, in one tower.
fn network(seed: u64, freedom: f64) -> Result<Graph, Box<dyn Error>> {
    let mut graph = Graph::new("alexnet", "pixels", &[3, 227, 227]);
    let mut x = graph.input;
    for (place, layer) in LAYERS.iter().enumerate() {
        let (weight, bias) = parameters(&mut graph, layer, seed + place as u64, freedom)?;
        let op = match layer.shape {
            [_, _, kernel, _] => Op::Conv {
                weight,
                bias,
                window: window(*kernel),
                dilation: [1, 1],
                groups: 1,
            },
            _ => Op::Gemm { weight, bias },
        };
        if layer.name == "fc6" {
            x = graph.push("flatten", Op::Flatten, &[x])?;
        }
        x = graph.push(layer.name, op, &[x])?;
        if layer.name == "fc8" {
            break;
        }
        x = graph.push(format!("{}.relu", layer.name), Op::Relu, &[x])?;
        if matches!(layer.name, "conv1" | "conv2" | "conv5") {
            x = pool(&mut graph, layer.name, x)?;
        }
    }
    graph.output = x;
    Ok(graph)
}

fn window(kernel: usize) -> Window {
    match kernel {
        11 => Window::square(11, 4),
        kernel => Window {
            padding: [kernel / 2; 4],
            ..Window::square(kernel, 1)
        },
    }
}

fn pool(graph: &mut Graph, name: &str, x: ValueId) -> Result<ValueId, Box<dyn Error>> {
    let op = Op::MaxPool {
        window: Window::square(3, 2),
        dilation: [1, 1],
    };
    Ok(graph.push(format!("{name}.pool"), op, &[x])?)
}

/// Weights by Student's distribution, scaled as He (2015) would, and small biases.
fn parameters(
    graph: &mut Graph,
    layer: &Layer,
    seed: u64,
    freedom: f64,
) -> Result<(ParamId, Option<ParamId>), Box<dyn Error>> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let columns: usize = layer.shape[1..].iter().product();
    let deviation = (2.0 / columns as f64).sqrt();
    let distribution = StudentT::new(freedom)?;
    let values = (0..layer.shape[0] * columns)
        .map(|_| (distribution.sample(&mut random) * deviation) as f32)
        .collect();
    let biases = (0..layer.shape[0])
        .map(|_| random.random_range(-0.1..0.1))
        .collect();
    let weight = graph.add_parameter(Parameter::dense(layer.name, layer.shape, values));
    let name = format!("{}.bias", layer.name);
    let bias = graph.add_parameter(Parameter::dense(&name, &layer.shape[..1], biases));
    Ok((weight, Some(bias)))
}

/// Most memory that the process has held, where the system says it (Linux).
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}
