use crate::files::WriteError;
use std::path::PathBuf;

/// Why training or execution stopped.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The loss is no number any more.
    #[error(
        "the loss became {loss} in epoch {epoch}; try a lower learning rate than {learning_rate}"
    )]
    Diverged {
        /// Counted from 1.
        epoch: usize,
        /// NaN or infinite.
        loss: f64,
        /// At that moment.
        learning_rate: f64,
    },
    /// Inputs or labels do not fit the model.
    #[error(
        "the model takes inputs of {model:?}, but the data has {data:?}; take the data or the architecture that fits"
    )]
    InputShape {
        /// Per example.
        model: Vec<usize>,
        /// Per example.
        data: Vec<usize>,
    },
    /// Inputs made otherwise than the model's.
    #[error(
        "the model takes '{}', but the data are '{data}'; give the data the options that the model was trained with",
        model.escape_debug()
    )]
    Meaning {
        /// The model's metadata.
        model: String,
        /// The data's.
        data: String,
    },
    /// Fewer outputs than classes.
    #[error("the model has {outputs} outputs for {classes} classes")]
    Classes {
        /// Elements of the output.
        outputs: usize,
        /// Classes in the data.
        classes: usize,
    },
    /// A model without a weight.
    #[error("model '{}' has nothing to train; add a layer with weights, dense or conv", .0.escape_debug())]
    NoParameters(String),
    /// An operator through which nothing upstream of it could learn.
    #[error(
        "node '{}' ({op}) passes no gradient to the weights before it; train the model without it", node.escape_debug()
    )]
    NoGradient {
        /// The node's name.
        node: String,
        /// Its operator.
        op: &'static str,
    },
    /// Augmentation of what is no image.
    #[error(
        "augment distorts images [channels, height, width], but the data has inputs of {0:?}; leave it out"
    )]
    Augment(Vec<usize>),
    /// No examples to learn from.
    #[error("there are no training examples left after holding {0} out; hold out fewer")]
    NoExamples(usize),
    /// Labels are needed and there are none.
    #[error(
        "the examples have no labels: there is no error to measure, and nothing to learn but what a teacher says of them"
    )]
    Unlabelled,
    /// A teacher that answers something else.
    #[error(
        "teacher '{teacher}' has {outputs} outputs, its student {student}; they must answer alike"
    )]
    Teacher {
        /// Name of its graph.
        teacher: String,
        /// Its outputs.
        outputs: usize,
        /// The student's.
        student: usize,
    },
    /// A setting out of its range.
    #[error("{name} must be {range}, not {value}")]
    Setting {
        /// As on the command line.
        name: &'static str,
        /// What is allowed.
        range: &'static str,
        /// What was given.
        value: String,
    },
    /// A label that is no class.
    #[error("example {example} has label {label}, but there are {classes} classes")]
    Label {
        /// Counted from 0.
        example: usize,
        /// Its label.
        label: u32,
        /// Classes in the data.
        classes: usize,
    },
    /// An output that is no number.
    #[error(
        "the model's output for example {example} is not a number; its weights or the input hold a NaN or an infinity"
    )]
    NotANumber {
        /// Counted from 0.
        example: usize,
    },
    /// The numeric engine panicked; its message is on standard error.
    #[error("the numeric engine failed in epoch {epoch}, for the reason printed above")]
    Engine {
        /// Counted from 1.
        epoch: usize,
    },
    /// A device this program was built without.
    #[error("device '{0}' is not available; build with the feature of that name, or use cpu")]
    Device(String),
    /// Stopped by Ctrl-C.
    #[error("interrupted after {epochs} epochs{}", resume(.checkpoint))]
    Interrupted {
        /// Complete ones.
        epochs: usize,
        /// Where the state was left.
        checkpoint: Option<PathBuf>,
    },
    /// A checkpoint that cannot be used.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        reason: String,
    },
    /// A checkpoint that cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A hook's own reason.
    #[error("{0}")]
    Hook(String),
}

fn resume(checkpoint: &Option<PathBuf>) -> String {
    match checkpoint {
        Some(path) => format!(
            "; {} holds the state, the same command with --resume goes on",
            path.display()
        ),
        None => String::new(),
    }
}
