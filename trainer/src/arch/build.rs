//! From a description to a graph with its first weights.

use super::layer::{Init, Layer, Padding, Units};
use super::{ArchError, Architecture, MAX_UNITS};
use crate::graph::{Graph, Op, ParamId, Parameter, ValueId, Window};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::StandardNormal;
use std::collections::HashMap;

impl Architecture {
    /// A graph for inputs of this shape (per example) and so many classes, with seeded weights.
    ///
    /// # Errors
    /// When a layer does not fit what comes before it.
    pub fn build(
        &self,
        input_shape: &[usize],
        classes: usize,
        seed: u64,
    ) -> Result<Graph, ArchError> {
        let graph = Graph::new(&self.name, "input", input_shape);
        let rng = ChaCha8Rng::seed_from_u64(seed);
        let mut builder = Builder {
            graph,
            rng,
            init: self.init,
            classes,
            counts: HashMap::new(),
            named: HashMap::new(),
        };
        for (place, layer) in self.layers.iter().enumerate() {
            builder.layer(place, layer)?;
        }
        Ok(builder.graph)
    }
}

/// Most weights of a layer, 1 GB of floats: no typing error shall ask for all memory.
const MAX_WEIGHTS: usize = 1 << 28;

struct Builder {
    graph: Graph,
    rng: ChaCha8Rng,
    init: Init,
    classes: usize,
    /// Layers of each kind so far.
    counts: HashMap<&'static str, usize>,
    /// Outputs that were given a name.
    named: HashMap<String, ValueId>,
}

impl Builder {
    fn layer(&mut self, place: usize, layer: &Layer) -> Result<(), ArchError> {
        let wrong = |reason: String| ArchError::Layer {
            layer: place + 1,
            op: layer.op(),
            reason,
        };
        if let Some(large) = layer.numbers().into_iter().find(|&n| n > MAX_UNITS) {
            return Err(wrong(format!(
                "{large} is above the largest size, {MAX_UNITS}"
            )));
        }
        match layer {
            Layer::Conv {
                channels,
                kernel,
                stride,
                padding,
                dilation,
                groups,
                bias,
            } => {
                let [inputs, _, _] = *self.shape() else {
                    let shape = self.shape();
                    return Err(wrong(format!(
                        "needs an image [channels, height, width], not {shape:?}"
                    )));
                };
                if *groups == 0 || inputs % groups != 0 {
                    let reason = format!("cannot split {inputs} channels in {groups} groups");
                    return Err(wrong(reason));
                }
                let name = self.name("conv");
                let weight = self.weight(&name, &[*channels, inputs / groups, *kernel, *kernel]);
                let weight = weight.map_err(wrong)?;
                let bias = bias.then(|| self.vector(&name, "bias", *channels, 0.0));
                let window = self.window(*kernel, *stride, *dilation, padding);
                let op = Op::Conv {
                    weight,
                    bias,
                    window,
                    dilation: [*dilation; 2],
                    groups: *groups,
                };
                self.push(name, op)
            }
            Layer::Dense { units, bias } => {
                if self.shape().len() > 1 {
                    self.simple("flatten", Op::Flatten)?;
                }
                let outputs = if let Units::Count(n) = units {
                    *n
                } else {
                    self.classes
                };
                let (name, inputs) = (self.name("fc"), self.shape()[0]);
                let weight = self.weight(&name, &[outputs, inputs]).map_err(wrong)?;
                let bias = bias.then(|| self.vector(&name, "bias", outputs, 0.0));
                self.push(name, Op::Gemm { weight, bias })
            }
            Layer::Relu { name } => {
                self.simple("relu", Op::Relu)?;
                if let Some(name) = name {
                    self.named.insert(name.clone(), self.graph.output);
                }
                Ok(())
            }
            &Layer::Clip { min, max } if min <= max => self.simple("clip", Op::Clip { min, max }),
            Layer::Clip { min, max } => Err(wrong(format!(
                "the range {min} to {max} holds no number; min must be at most max"
            ))),
            Layer::MaxPool {
                kernel,
                stride,
                padding,
            } => {
                let window = self.window(*kernel, stride.unwrap_or(*kernel), 1, padding);
                self.simple(
                    "pool",
                    Op::MaxPool {
                        window,
                        dilation: [1, 1],
                    },
                )
            }
            Layer::AveragePool {
                kernel,
                stride,
                padding,
            } => {
                let window = self.window(*kernel, stride.unwrap_or(*kernel), 1, padding);
                self.simple(
                    "pool",
                    Op::AveragePool {
                        dilation: [1, 1],
                        window,
                        count_include_pad: false,
                    },
                )
            }
            Layer::GlobalAveragePool => self.simple("pool", Op::GlobalAveragePool),
            Layer::BatchNorm => self.batch_norm(),
            Layer::Dropout { probability } if (0.0..1.0).contains(probability) => self.simple(
                "dropout",
                Op::Dropout {
                    probability: *probability,
                },
            ),
            Layer::Dropout { probability } => Err(wrong(format!("a probability of {probability}"))),
            Layer::Flatten => self.simple("flatten", Op::Flatten),
            Layer::Softmax => self.simple("softmax", Op::Softmax { axis: 0 }),
            Layer::Add { with } => {
                let other = *self
                    .named
                    .get(with)
                    .ok_or_else(|| wrong(format!("no layer before is named '{with}'")))?;
                let (name, output) = (self.name("add"), self.graph.output);
                self.graph.push(name, Op::Add, &[output, other])?;
                Ok(())
            }
        }
    }

    fn shape(&self) -> &[usize] {
        &self.graph.value(self.graph.output).shape
    }

    fn name(&mut self, kind: &'static str) -> String {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        format!("{kind}{count}")
    }

    fn simple(&mut self, kind: &'static str, op: Op) -> Result<(), ArchError> {
        let name = self.name(kind);
        self.push(name, op)
    }

    fn push(&mut self, name: String, op: Op) -> Result<(), ArchError> {
        let input = self.graph.output;
        self.graph.push(name, op, &[input])?;
        Ok(())
    }

    fn batch_norm(&mut self) -> Result<(), ArchError> {
        let (name, channels) = (self.name("norm"), self.shape()[0]);
        let op = Op::BatchNormalization {
            scale: self.vector(&name, "scale", channels, 1.0),
            bias: self.vector(&name, "bias", channels, 0.0),
            mean: self.vector(&name, "mean", channels, 0.0),
            variance: self.vector(&name, "variance", channels, 1.0),
            epsilon: 1e-5,
        };
        self.push(name, op)
    }

    fn vector(&mut self, layer: &str, part: &str, length: usize, value: f32) -> ParamId {
        self.graph.add_parameter(Parameter::dense(
            format!("{layer}.{part}"),
            &[length],
            vec![value; length],
        ))
    }

    /// `[out, in, …]`
    fn weight(&mut self, layer: &str, shape: &[usize]) -> Result<ParamId, String> {
        let count = shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
        let count = count
            .filter(|&n| (1..=MAX_WEIGHTS).contains(&n))
            .ok_or_else(|| format!("needs 1 to {MAX_WEIGHTS} weights, not those of {shape:?}"))?;
        let receptive: usize = shape[2..].iter().product();
        let (fan_in, fan_out) = (
            (shape[1] * receptive).max(1) as f32,
            (shape[0] * receptive) as f32,
        );
        let spread = match self.init {
            Init::He => (2.0 / fan_in).sqrt(),
            Init::Xavier => (2.0 / (fan_in + fan_out)).sqrt(),
            Init::Lecun | Init::Uniform => (1.0 / fan_in).sqrt(),
        };
        let values = (0..count)
            .map(|_| match self.init {
                Init::Uniform => self.rng.random_range(-spread..=spread),
                _ => spread * self.rng.sample::<f32, _>(StandardNormal),
            })
            .collect();
        let weight = Parameter::dense(format!("{layer}.weight"), shape, values);
        Ok(self.graph.add_parameter(weight))
    }

    fn window(&self, kernel: usize, stride: usize, dilation: usize, padding: &Padding) -> Window {
        let sides = |axis: usize| match padding {
            Padding::Sides(n) => [*n, *n],
            Padding::Same(_) => {
                let size = self.shape().get(axis + 1).copied().unwrap_or(1);
                let reach = size.div_ceil(stride.max(1)).saturating_sub(1) * stride;
                let total = (reach + dilation * kernel.saturating_sub(1) + 1).saturating_sub(size);
                [total / 2, total - total / 2]
            }
        };
        let ([top, bottom], [left, right]) = (sides(0), sides(1));
        let padding = [top, left, bottom, right];
        Window {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding,
            ceil_mode: false,
        }
    }
}
