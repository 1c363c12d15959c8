use crate::pipeline::CompressError;
use trainer::files::WriteError;
use trainer::train::TrainError;

/// Why a search ends without a file.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// Something in a compression went wrong.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// The model does not run on the data.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// A file of a front cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// One budget is out of reach, whatever the others are.
    #[error(
        "--{flag} {limit} cannot be met: {closest} {what} is the closest of {plans} plans; {way_out}"
    )]
    Unmet {
        /// The budget's flag.
        flag: &'static str,
        /// What it allows.
        limit: f64,
        /// The closest any plan came.
        closest: f64,
        /// Unit, and of what.
        what: &'static str,
        /// Plans looked at.
        plans: usize,
        /// What else there is to do.
        way_out: &'static str,
    },
    /// Each budget can be met, but not all of them at once.
    #[error(
        "the budgets cannot be met together: within the others, {closest} {what} is the closest to --{flag} {limit}; give it more room, or one of the others"
    )]
    Together {
        /// The budget's flag.
        flag: &'static str,
        /// What it allows.
        limit: f64,
        /// The closest any plan within the other budgets came.
        closest: f64,
        /// Unit, and of what.
        what: &'static str,
    },
}
