//! Binary and ternary weights (BinaryConnect, XNOR-Net, Ternary Weight Networks), trained straight
//! through; see [`SignWeights`].

use super::choice::{SkipError, chosen, inner};
use super::codebook::per_tensor_grid;
use crate::pipeline::{CompressError, Effect, Pass, Run};
use crate::settings::SettingError;
use serde::{Deserialize, Serialize};
use trainer::graph::{Graph, ParamId, Parametrization, SignWeights};
use trainer::train::{NoHook, TrainConfig};

/// Two or three values for each layer, and the training that goes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Signs {
    /// Whether each output channel has a scale of its own, rather than the layer.
    pub per_channel: bool,
    /// Whether the first and the last layer are left alone, where there are others between.
    pub inner: bool,
    /// Layers to leave alone, by name; `*` stands for any characters.
    pub skip: Vec<String>,
    /// Training of the weights behind the signs.
    pub train: TrainConfig,
}

impl Default for Signs {
    fn default() -> Self {
        Self {
            per_channel: true,
            inner: true,
            skip: Vec::new(),
            train: TrainConfig::default(),
        }
    }
}

impl Signs {
    /// For a network that somebody trained elsewhere: the command line's choice.
    pub fn continued() -> Self {
        Self {
            train: TrainConfig::continued(),
            ..Self::default()
        }
    }

    /// Trains on behind the signs, which then are the weights.
    fn run(&self, run: &mut Run, ternary: bool) -> Result<(), CompressError> {
        let ids = self.layers(&run.graph)?;
        to_signs(&mut run.graph, &ids, ternary, self.per_channel);
        run.fit(&self.train, &mut NoHook)?;
        for id in ids {
            per_tensor_grid(&mut run.graph, id, 1);
        }
        Ok(())
    }

    /// The layers whose weights become signs.
    ///
    /// # Errors
    /// When a name is no layer's.
    pub fn layers(&self, graph: &Graph) -> Result<Vec<ParamId>, SkipError> {
        let ids = chosen(graph, &self.skip)?;
        Ok(if self.inner { inner(ids, graph) } else { ids })
    }
}

/// Weights of two values, [`Signs`] says how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Binary(pub Signs);

/// Weights of three values, [`Signs`] says how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ternary(pub Signs);

macro_rules! signs_pass {
    ($pass:ident, $ternary:literal) => {
        impl Pass for $pass {
            fn effect(&self) -> Effect {
                Effect::Form
            }

            fn forgets(&self) -> bool {
                true
            }

            fn check(&self) -> Result<(), SettingError> {
                Ok(())
            }

            fn check_graph(&self, graph: &Graph) -> Result<(), CompressError> {
                Ok(self.0.layers(graph).map(drop)?)
            }

            fn training(&self) -> Option<&TrainConfig> {
                Some(&self.0.train)
            }

            fn training_mut(&mut self) -> Option<&mut TrainConfig> {
                Some(&mut self.0.train)
            }

            fn apply(&self, run: &mut Run) -> Result<(), CompressError> {
                self.0.run(run, $ternary)
            }
        }
    };
}

signs_pass!(Binary, false);
signs_pass!(Ternary, true);

/// Lets weights learn on behind their signs. Where the first axis is not the output channels', one
/// scale serves the tensor.
pub fn to_signs(graph: &mut Graph, ids: &[ParamId], ternary: bool, per_channel: bool) {
    for &id in ids {
        let whole = !per_channel || super::codebook::is_transposed(graph, id);
        let parameter = &mut graph.parameters[id.0];
        parameter.grid = None;
        parameter.set_form(Parametrization::Signs(SignWeights {
            values: parameter.latent(),
            ternary,
            channels: if whole { 1 } else { parameter.shape[0] },
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use trainer::arch::Architecture;

    #[test]
    fn the_ends_are_left_alone_unless_asked_for() {
        let architecture = Architecture::resolve("lenet-300-100").expect("built in");
        let mut graph = architecture.build(&[1, 28, 28], 10, 1).expect("fits");
        let middle = Signs::default().layers(&graph).expect("fits");
        let all = Signs {
            inner: false,
            ..Signs::default()
        };
        assert_eq!(middle, all.layers(&graph).expect("fits")[1..2]);
        to_signs(&mut graph, &middle, false, true);
        let signed =
            |p: &trainer::graph::Parameter| matches!(p.parametrization, Parametrization::Signs(_));
        let signed: Vec<_> = graph.parameters.iter().filter(|p| signed(p)).collect();
        assert_eq!(signed.len(), 1);
        // 100 scales, and a sign for each weight.
        let mut values: Vec<u32> = signed[0]
            .materialize()
            .iter()
            .map(|v| v.abs().to_bits())
            .collect();
        values.sort_unstable();
        values.dedup();
        assert_eq!(values.len(), 100);
    }
}
