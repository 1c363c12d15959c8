//! The host twin: runs an image with the kernels and integers of the device.
//!
//! Arrays are in the order of the float model: `[channels, height, width]`, unless the image says that
//! its input or output stands in rows as the model has it ([`ROW_MAJOR`]).

use crate::lower::ROW_MAJOR;
use edge_runtime::Session;
use no_std_core::Model;
use no_std_core::tensor::{Shape, Tensor};
use rayon::prelude::*;

/// Why inputs cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Inputs of another size than the model's.
    #[error("inputs have {given} elements each, the model takes {needed}")]
    InputLength {
        /// Elements of one input of the model.
        needed: usize,
        /// Elements given.
        given: usize,
    },
    /// Another number of inputs than of labels.
    #[error("there are {labels} labels for {inputs} inputs of the model's size")]
    Labels {
        /// Inputs given.
        inputs: usize,
        /// Labels given.
        labels: usize,
    },
    /// An input that is not a number.
    #[error("input {0} holds a value that is not a number")]
    NotANumber(usize),
}

/// Runs float inputs `[n, …]` in the model's order, one after the other in memory; returns the integers
/// of the outputs, in the model's order.
///
/// # Errors
/// When the inputs do not fit the model.
pub fn run(model: &Model, inputs: &[f32]) -> Result<Vec<i16>, HostError> {
    check(model, inputs)?;
    let length = model.input_len();
    let output_len = model.output_len();
    let mut outputs = vec![0; inputs.len() / length * output_len];
    if carries(model) {
        let each = outputs.chunks_mut(output_len).zip(inputs.chunks(length));
        let mut arena = vec![0; model.arena_bytes()];
        // The arena has just the bytes that the model asks for.
        if let Ok(mut session) = Session::new(model, &mut arena) {
            each.for_each(|(output, input)| step(&mut session, model, input, output));
        }
        return Ok(outputs);
    }
    outputs
        .par_chunks_mut(output_len)
        .zip(inputs.par_chunks(length))
        .for_each_init(
            || vec![0; model.arena_bytes()],
            |arena, (output, input)| {
                if let Ok(mut session) = Session::new(model, arena) {
                    step(&mut session, model, input, output);
                }
            },
        );
    Ok(outputs)
}

/// Whether a model's state goes from one inference to the next: its inputs are steps of one sequence.
pub fn carries(model: &Model) -> bool {
    model.operators().any(|op| op.kind.carries())
}

/// Whether inputs fit a model.
///
/// # Errors
/// When they do not.
pub fn check(model: &Model, inputs: &[f32]) -> Result<(), HostError> {
    let length = model.input_len();
    if !inputs.len().is_multiple_of(length) {
        return Err(HostError::InputLength {
            needed: length,
            given: inputs.len(),
        });
    }
    match inputs.iter().position(|x| x.is_nan()) {
        Some(place) => Err(HostError::NotANumber(place / length)),
        None => Ok(()),
    }
}

/// Which end of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// What is fed.
    Input,
    /// What is handed out.
    Output,
}

impl End {
    fn tensor(self, model: &Model) -> Tensor {
        match self {
            End::Input => model.input(),
            End::Output => model.output(),
        }
    }

    fn in_rows(self, model: &Model) -> bool {
        let name = match self {
            End::Input => "input",
            End::Output => "output",
        };
        let mut rows = model.metadata().filter(|(key, _)| *key == ROW_MAJOR);
        rows.any(|(_, ends)| ends.split(' ').any(|end| end == name))
    }

    /// For each element in the float model's order its place in the tensor.
    fn places(self, model: &Model) -> Vec<usize> {
        let Shape {
            height,
            width,
            channels,
        } = self.tensor(model).shape;
        let plane = height * width;
        if self.in_rows(model) {
            return (0..plane * channels).collect();
        }
        (0..channels)
            .flat_map(|c| (0..plane).map(move |p| p * channels + c))
            .collect()
    }

    /// The shape as the float model has it, as far as the image knows.
    pub fn shape(self, model: &Model) -> Vec<usize> {
        let Shape {
            height,
            width,
            channels,
        } = self.tensor(model).shape;
        match (height, width) {
            (1, 1) => vec![channels],
            (1, _) if self.in_rows(model) => vec![width, channels],
            _ if self.in_rows(model) => vec![height, width, channels],
            _ => vec![channels, height, width],
        }
    }
}

/// One inference; the output's integers are in the float model's order.
fn step(session: &mut Session, model: &Model, input: &[f32], output: &mut [i16]) {
    session.input_mut().copy_from_slice(&quantize(model, input));
    session.run();
    let stored = integers(&model.output(), session.output());
    for (output, place) in output.iter_mut().zip(End::Output.places(model)) {
        *output = stored.get(place).copied().unwrap_or(0);
    }
}

/// The elements of a tensor whose memory is at hand.
pub fn integers(tensor: &Tensor, memory: &[i8]) -> Vec<i16> {
    if tensor.wide {
        let pairs = memory.as_chunks::<2>().0.iter();
        let element = |pair: &[i8; 2]| i16::from_le_bytes(pair.map(|byte| byte as u8));
        pairs.map(element).collect()
    } else {
        memory.iter().map(|&byte| byte.into()).collect()
    }
}

/// A float input as it stands in the image's memory: `round(x/scale) + zero_point`, ties to even as in
/// ONNX's `QuantizeLinear`, saturated.
pub fn quantize(model: &Model, input: &[f32]) -> Vec<i8> {
    let tensor = model.input();
    let scale = f32::from_bits(tensor.scale_bits);
    let zero_point = tensor.zero_point as f32;
    let [low, high] = ends(&tensor).map(f32::from);
    let integer = |x: f32| ((x / scale).round_ties_even() + zero_point).clamp(low, high) as i16;
    let width = 1 << usize::from(tensor.wide);
    let mut memory = vec![0; tensor.bytes()];
    for (&x, place) in input.iter().zip(End::Input.places(model)) {
        let bytes = integer(x).to_le_bytes();
        let element = memory[place * width..][..width].iter_mut();
        element.zip(bytes).for_each(|(to, byte)| *to = byte as i8);
    }
    memory
}

/// Least and largest integer of a tensor.
pub fn ends(tensor: &Tensor) -> [i16; 2] {
    if tensor.wide {
        [i16::MIN, i16::MAX]
    } else {
        [i8::MIN.into(), i8::MAX.into()]
    }
}

/// Real values of a tensor's integers.
pub fn dequantize(tensor: &Tensor, integers: &[i16]) -> Vec<f32> {
    let scale = f32::from_bits(tensor.scale_bits);
    integers
        .iter()
        .map(|&q| (i32::from(q) - i32::from(tensor.zero_point)) as f32 * scale)
        .collect()
}

/// Percentage of examples whose largest output is not at the label; of equals the first counts.
///
/// # Errors
/// When the inputs do not fit the model.
pub fn error_percent(model: &Model, inputs: &[f32], labels: &[u32]) -> Result<f64, HostError> {
    let said = classes(model, inputs, labels.len())?;
    let wrong = said
        .iter()
        .zip(labels)
        .filter(|(said, label)| said != label);
    Ok(100.0 * wrong.count() as f64 / labels.len().max(1) as f64)
}

/// The place of the largest output for each of `examples` examples; of equals the first. A model that
/// carries its state takes an example in steps: what it says at the last one counts.
///
/// # Errors
/// When the inputs do not fit the model.
pub fn classes(model: &Model, inputs: &[f32], examples: usize) -> Result<Vec<u32>, HostError> {
    let steps = if carries(model) {
        inputs.len() / model.input_len() / examples.max(1)
    } else {
        1
    };
    let length = steps.max(1) * model.input_len();
    if inputs.len() / length != examples {
        return Err(HostError::Labels {
            inputs: inputs.len() / length,
            labels: examples,
        });
    }
    let apart = if steps > 1 {
        length
    } else {
        inputs.len().max(1)
    };
    let mut said = Vec::with_capacity(examples);
    for example in inputs.chunks(apart) {
        let outputs = run(model, example)?;
        let last = outputs.chunks(model.output_len()).skip(steps - 1);
        said.extend(last.map(|output| edge_runtime::argmax(output) as u32));
    }
    Ok(said)
}
