//! A run: what the stages work on, and what they may ask for.

use super::{Checkpoints, CompressError, Figures};
use crate::calibrate::calibrate;
use crate::encode::{Coding, EncodeError, Encoded, encode};
use crate::host;
use crate::lower::{Biases, lower};
use crate::passes::choice::is_bound;
use crate::passes::stream::{carry, to_steps};
use crate::scales::tentative;
use crate::settings::Settings;
use no_std_core::Model;
use std::time::Instant;
use trainer::data::Dataset;
use trainer::graph::Graph;
use trainer::train::{
    DeviceChoice, Hook, Progress, TrainConfig, TrainError, distill, error_percent,
};

/// The graph on its way through the stages, with the data they may use.
pub(crate) struct Run<'a> {
    /// What the stages change.
    pub(crate) graph: Graph,
    /// Examples to train on, without those held out; none without data.
    pub(crate) train: Option<&'a Dataset>,
    /// Examples that decide choices; none unless some are held out.
    pub(crate) held_out: Option<&'a Dataset>,
    /// Inputs that ranges are measured on, one after the other; never empty.
    pub(crate) calibration: Vec<f32>,
    /// What goes for all stages.
    pub(crate) settings: &'a Settings,
    /// Networks whose answers training learns from, beside the labels or in their place.
    pub(crate) teachers: Vec<Graph>,
    pub(super) biases: Biases,
    /// Multiply-accumulates of the graph as it came.
    macs: u64,
    checkpoints: &'a Checkpoints,
    /// Name of the stage at work.
    name: String,
    pub(super) figures: Vec<Figures>,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        graph: Graph,
        teachers: &[Graph],
        data: (Option<&'a Dataset>, Option<&'a Dataset>),
        calibration: Vec<f32>,
        settings: &'a Settings,
        checkpoints: &'a Checkpoints,
        macs: u64,
    ) -> Self {
        let brings_integers = graph.values.iter().any(|v| v.quantization.is_some());
        Self {
            graph,
            train: data.0,
            held_out: data.1,
            calibration,
            settings,
            teachers: teachers.to_vec(),
            biases: if brings_integers {
                Biases::Exact
            } else {
                Biases::Rounded
            },
            macs,
            checkpoints,
            name: String::new(),
            figures: Vec::new(),
        }
    }

    /// Trains the graph as far as there is data and `config` asks for epochs; else `hook` has its last
    /// word at once. Epochs are kept and taken up again under the stage's name.
    pub(crate) fn fit(
        &mut self,
        config: &TrainConfig,
        hook: &mut dyn Hook,
    ) -> Result<(), CompressError> {
        match self.train.filter(|_| config.epochs > 0) {
            Some(train) => self.fit_on(train, config, hook),
            None => {
                let last = hook.update(1.0, &mut self.graph, &[]);
                Ok(last.map_err(TrainError::Hook)?)
            }
        }
    }

    /// The same for a part of the stage that is not its last one, under a name of its own.
    pub(crate) fn fit_part(
        &mut self,
        part: &str,
        config: &TrainConfig,
        hook: &mut dyn Hook,
    ) -> Result<(), CompressError> {
        let whole = self.name.clone();
        self.name = format!("{whole}.{part}");
        let done = self.fit(config, hook);
        self.name = whole;
        done
    }

    /// The same on other examples.
    pub(crate) fn fit_on(
        &mut self,
        train: &Dataset,
        config: &TrainConfig,
        hook: &mut dyn Hook,
    ) -> Result<(), CompressError> {
        let config = self.checkpoints.config(config, &self.name);
        let batches = train.len().div_ceil(config.batch.max(1));
        let progress = Progress::new(&self.name, config.epochs, batches);
        let (graph, held_out) = (&mut self.graph, self.held_out);
        let teachers = &self.teachers;
        distill(graph, teachers, train, held_out, &config, hook, progress)?;
        Ok(())
    }

    /// All that a stage may change: network, teachers, multiply-accumulates.
    pub(super) fn state(&self) -> (&Graph, &[Graph], u64) {
        (&self.graph, &self.teachers, self.macs)
    }

    /// Goes on from a state of before.
    pub(super) fn take_up(&mut self, state: (Graph, Vec<Graph>, u64)) {
        (self.graph, self.teachers, self.macs) = state;
    }

    /// Puts another network in the place of this one, which joins the teachers.
    pub(crate) fn replace(&mut self, graph: Graph) {
        self.macs = graph.macs();
        self.teachers
            .push(std::mem::replace(&mut self.graph, graph));
    }

    /// Whether [`fit`](Self::fit) would train.
    pub(crate) fn trains(&self, config: &TrainConfig) -> bool {
        self.train.is_some() && config.epochs > 0
    }

    /// Gives all activations the scales that they need, measured anew: training then runs through the
    /// integers.
    pub(crate) fn calibrate(&mut self) -> Result<(), CompressError> {
        let values = self.graph.values.iter_mut();
        values.for_each(|value| value.quantization = None);
        let method = self.settings.calibration;
        Ok(calibrate(&mut self.graph, &self.calibration, method)?)
    }

    /// Error in percent on the held-out examples, if there are some: of the integers once there are
    /// some.
    pub(crate) fn error(&self) -> Result<Option<f64>, CompressError> {
        let Some(held_out) = self.held_out.filter(|h| h.is_labelled()) else {
            return Ok(None);
        };
        if !self.quantized() {
            let error = error_percent(&self.graph, held_out, DeviceChoice::Cpu)?;
            return Ok(Some(error));
        }
        let encoded = self.encode()?;
        let model = Model::parse(&encoded.bytes).map_err(EncodeError::from)?;
        let error = host::error_percent(&model, &held_out.inputs, &held_out.labels)?;
        Ok(Some(error))
    }

    /// One stage and its figures.
    pub(super) fn stage(
        &mut self,
        name: &str,
        apply: impl FnOnce(&mut Self) -> Result<(), CompressError>,
    ) -> Result<(), CompressError> {
        name.clone_into(&mut self.name);
        let started = Instant::now();
        apply(self)?;
        self.measure(name, started.elapsed().as_secs_f64())
    }

    /// Figures of what a stage has left, which took it so many seconds.
    pub(super) fn measure(&mut self, name: &str, seconds: f64) -> Result<(), CompressError> {
        let figures = Figures {
            name: name.to_owned(),
            seconds,
            bytes: self.bytes_so_far()?,
            value: self.error()?,
        };
        self.figures.push(figures);
        Ok(())
    }

    /// Whether the activations have their scales.
    pub(super) fn quantized(&self) -> bool {
        self.graph.value(self.graph.input).quantization.is_some()
    }

    /// Length of the image, were it written now; 0 where some value cannot be an integer yet.
    fn bytes_so_far(&self) -> Result<usize, CompressError> {
        let encoded = if self.quantized() {
            self.encode()?
        } else {
            match self.encode_graph(&tentative(&self.graph)) {
                Err(CompressError::Lower(_)) => return Ok(0),
                encoded => encoded?,
            }
        };
        Ok(encoded.bytes.len())
    }

    /// The image of the graph, which must have its integers.
    pub(super) fn encode(&self) -> Result<Encoded, CompressError> {
        self.encode_graph(&self.graph)
    }

    fn encode_graph(&self, graph: &Graph) -> Result<Encoded, CompressError> {
        let mut program = if self.settings.stream {
            let mut steps = lower(&to_steps(graph)?, self.biases)?;
            carry(&mut steps);
            steps
        } else {
            lower(graph, self.biases)?
        };
        program.macs = self.macs;
        Ok(encode(&program, self.coding())?)
    }

    fn coding(&self) -> Coding {
        let asked = !self.settings.stages.is_empty() || self.settings.grid < 8;
        let coded = asked || self.graph.parameters.iter().any(is_bound);
        match (coded, self.settings.huffman) {
            (_, Some(true)) | (true, None) => self.settings.coder.into(),
            (true, Some(false)) => Coding::Packed,
            (false, _) => Coding::Plain,
        }
    }
}
