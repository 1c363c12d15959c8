//! What the fields of layers hold.

use serde::{Deserialize, Serialize};

/// How weights begin; biases begin at zero. Recurrent layers begin as [`Init::Xavier`] has it whatever
/// is said here, and the forget gates of an LSTM with a bias of one (Jozefowicz et al. 2015).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// Normal, variance 2/fan-in (He 2015): for ReLUs.
    #[default]
    He,
    /// Normal, variance 2/(fan-in + fan-out) (Glorot 2010).
    Xavier,
    /// Normal, variance 1/fan-in (LeCun 1998).
    Lecun,
    /// Uniform within ±1/√fan-in.
    Uniform,
}

/// Units of a dense layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number or \"classes\"")]
pub enum Units {
    /// So many.
    Count(usize),
    /// As many as the data has classes.
    Classes(ClassCount),
}

/// The word `classes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassCount {
    /// As many as the data has.
    Classes,
}

/// A size along height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number or [height, width]")]
pub enum Extent {
    /// The same along both.
    Square(usize),
    /// Height and width.
    Each([usize; 2]),
}

impl Extent {
    pub(super) fn sides(self) -> [usize; 2] {
        match self {
            Extent::Square(n) => [n; 2],
            Extent::Each(sides) => sides,
        }
    }
}

/// Padding of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number or \"same\"")]
pub enum Padding {
    /// On all sides.
    Sides(usize),
    /// Such that stride 1 keeps the size; what is odd goes to the end.
    Same(SameSize),
}

/// The word `same`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameSize {
    /// Output as large as the input divided by the stride, rounded up.
    Same,
}

impl Default for Padding {
    fn default() -> Self {
        Padding::Sides(0)
    }
}
