//! From a description to a graph with its first weights.

mod recurrent;
mod sequence;
mod weights;
mod windows;

use super::layer::Layer;
use super::settings::{Init, Units};
use super::{ArchError, Architecture, MAX_UNITS};
use crate::graph::{Graph, Op, ShapeError, ValueId};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
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
        // What was marked and led nowhere.
        builder.graph.remove_unused();
        Ok(builder.graph)
    }
}

/// Why a layer cannot stand where it does.
enum Misfit {
    /// In words.
    Reason(String),
    /// Its operator says so.
    Shape(ShapeError),
}

impl From<String> for Misfit {
    fn from(reason: String) -> Self {
        Misfit::Reason(reason)
    }
}

impl From<ShapeError> for Misfit {
    fn from(error: ShapeError) -> Self {
        Misfit::Shape(error)
    }
}

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
        let large = layer.numbers().into_iter().find(|&n| n > MAX_UNITS);
        let added = match large {
            Some(n) => Err(format!("{n} is above the largest size, {MAX_UNITS}").into()),
            None => self.add(layer),
        };
        added.map_err(|misfit| match misfit {
            Misfit::Shape(error) => ArchError::Shape(error),
            Misfit::Reason(reason) => ArchError::Layer {
                layer: place + 1,
                op: layer.op(),
                reason,
            },
        })
    }

    fn add(&mut self, layer: &Layer) -> Result<(), Misfit> {
        if let Some(function) = layer.unary() {
            return self.simple(layer.op(), Op::Unary(function));
        }
        match layer {
            Layer::Conv { .. } | Layer::Depthwise { .. } => self.conv(layer),
            Layer::Conv1d { .. } => self.conv1d(layer),
            Layer::MaxPool { .. } | Layer::AveragePool { .. } => self.pool(layer),
            Layer::Rnn { .. } | Layer::Lstm { .. } | Layer::Gru { .. } => self.recurrent(layer),
            Layer::Dense {
                units,
                bias,
                each_step,
            } => self.dense(*units, *bias, *each_step),
            Layer::Embedding { rows, units } => {
                let name = self.name("embedding");
                let table = self.weight(&name, &[*rows, *units])?;
                self.push(name, Op::Embedding { table })
            }
            Layer::Relu { name } => {
                self.simple("relu", Op::Relu)?;
                if let Some(name) = name {
                    self.named.insert(name.clone(), self.graph.output);
                }
                Ok(())
            }
            &Layer::Clip { min, max } if min <= max => self.simple("clip", Op::Clip { min, max }),
            Layer::Clip { min, max } => {
                let reason = "holds no number; min must be at most max";
                Err(format!("the range {min} to {max} {reason}").into())
            }
            Layer::Prelu => self.prelu(),
            Layer::GlobalAveragePool if self.shape().len() == 2 => {
                self.simple("mean", Op::ReduceMean { axes: vec![0] })?;
                self.simple("flatten", Op::Flatten)
            }
            Layer::GlobalAveragePool => self.simple("pool", Op::GlobalAveragePool),
            Layer::BatchNorm => self.batch_norm(),
            Layer::LayerNorm => self.layer_norm(),
            &Layer::Dropout { probability } if (0.0..1.0).contains(&probability) => {
                self.simple("dropout", Op::Dropout { probability })
            }
            Layer::Dropout { probability } => Err(format!("a probability of {probability}").into()),
            Layer::Flatten => self.simple("flatten", Op::Flatten),
            Layer::Softmax => {
                let axis = self.last_axis();
                self.simple("softmax", Op::Softmax { axis })
            }
            Layer::Mark { name } => {
                self.named.insert(name.clone(), self.graph.output);
                Ok(())
            }
            Layer::From { name } => {
                self.graph.output = self.named(name)?;
                Ok(())
            }
            Layer::Add { with } => self.join("add", Op::Add, with),
            Layer::Concat { with } => {
                let axis = if self.shape().len() == 2 { 1 } else { 0 };
                self.join("concat", Op::Concat { axis }, with)
            }
            // Functions of one element, above.
            _ => Ok(()),
        }
    }

    fn shape(&self) -> &[usize] {
        &self.graph.value(self.graph.output).shape
    }

    fn last_axis(&self) -> usize {
        self.shape().len().saturating_sub(1)
    }

    fn named(&self, name: &str) -> Result<ValueId, String> {
        let value = self.named.get(name).copied();
        value.ok_or_else(|| format!("no layer before is named '{name}'"))
    }

    fn name(&mut self, kind: &'static str) -> String {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        format!("{kind}{count}")
    }

    fn simple(&mut self, kind: &'static str, op: Op) -> Result<(), Misfit> {
        let name = self.name(kind);
        self.push(name, op)
    }

    fn push(&mut self, name: String, op: Op) -> Result<(), Misfit> {
        let input = self.graph.output;
        self.graph.push(name, op, &[input])?;
        Ok(())
    }

    /// Of what is here and what has that name.
    fn join(&mut self, kind: &'static str, op: Op, with: &str) -> Result<(), Misfit> {
        let (other, output) = (self.named(with)?, self.graph.output);
        let name = self.name(kind);
        self.graph.push(name, op, &[output, other])?;
        Ok(())
    }

    fn dense(&mut self, units: Units, bias: bool, each_step: bool) -> Result<(), Misfit> {
        if each_step {
            self.make_sequence()?;
        } else if self.shape().len() > 1 {
            self.simple("flatten", Op::Flatten)?;
        }
        let outputs = match units {
            Units::Count(n) => n,
            Units::Classes(_) => self.classes,
        };
        let (name, inputs) = (self.name("fc"), self.shape()[self.last_axis()]);
        let weight = self.weight(&name, &[outputs, inputs])?;
        let bias = bias.then(|| self.vector(&name, "bias", outputs, 0.0));
        self.push(name, Op::Gemm { weight, bias })
    }

    /// A slope per channel of an image, or per feature.
    fn prelu(&mut self) -> Result<(), Misfit> {
        let name = self.name("prelu");
        let shape = match *self.shape() {
            [channels, _, _] => vec![channels, 1, 1],
            _ => self.shape()[self.last_axis()..].to_vec(),
        };
        let slope = self.filled(&name, "slope", &shape, 0.25);
        self.push(name, Op::PRelu { slope })
    }

    fn batch_norm(&mut self) -> Result<(), Misfit> {
        if self.shape().len() == 2 {
            let shape = self.shape();
            return Err(
                format!("normalizes channels, not a sequence {shape:?}; use layer_norm").into(),
            );
        }
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

    fn layer_norm(&mut self) -> Result<(), Misfit> {
        let (name, axis) = (self.name("norm"), self.last_axis());
        let features = self.shape()[axis];
        let op = Op::LayerNormalization {
            axis,
            scale: self.vector(&name, "scale", features, 1.0),
            bias: Some(self.vector(&name, "bias", features, 0.0)),
            epsilon: 1e-5,
        };
        self.push(name, op)
    }
}
