//! Functions of one element. On a device each is a table of 256 results, so that a new one costs no
//! kernel.

use serde::{Deserialize, Serialize};

/// A function applied to every element. Names and meaning are those of the ONNX operators.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Unary {
    /// `1 / (1 + e^−x)`
    Sigmoid,
    /// `tanh x`
    Tanh,
    /// `min(max(alpha·x + beta, 0), 1)`
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Value at 0.
        beta: f32,
    },
    /// `x · min(max(x/6 + 1/2, 0), 1)`
    HardSwish,
    /// `x`, or `alpha·x` below 0.
    LeakyRelu {
        /// Slope below 0.
        alpha: f32,
    },
    /// `x`, or `alpha·(e^x − 1)` below 0.
    Elu {
        /// Minus the limit at −∞.
        alpha: f32,
    },
    /// `ln(1 + e^x)`
    Softplus,
    /// `x·Φ(x)`, Φ the normal distribution function (Hendrycks & Gimpel 2016).
    Gelu {
        /// `x/2 · (1 + tanh(√(2/π)·(x + 0.044715·x³)))` instead.
        approximate: bool,
    },
    /// `2/√π · ∫e^(−t²)dt` from 0 to `x`.
    Erf,
    /// `e^x`
    Exp,
    /// `√x`; not a number below 0.
    Sqrt,
}

impl Unary {
    /// The ONNX operator's name.
    pub const fn name(self) -> &'static str {
        match self {
            Unary::Sigmoid => "Sigmoid",
            Unary::Tanh => "Tanh",
            Unary::HardSigmoid { .. } => "HardSigmoid",
            Unary::HardSwish => "HardSwish",
            Unary::LeakyRelu { .. } => "LeakyRelu",
            Unary::Elu { .. } => "Elu",
            Unary::Softplus => "Softplus",
            Unary::Gelu { .. } => "Gelu",
            Unary::Erf => "Erf",
            Unary::Exp => "Exp",
            Unary::Sqrt => "Sqrt",
        }
    }

    /// The function by its definition, in double precision.
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Unary::Tanh => x.tanh(),
            Unary::HardSigmoid { alpha, beta } => {
                (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0)
            }
            Unary::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Unary::LeakyRelu { alpha } if x < 0.0 => f64::from(alpha) * x,
            Unary::Elu { alpha } if x < 0.0 => f64::from(alpha) * x.exp_m1(),
            Unary::LeakyRelu { .. } | Unary::Elu { .. } => x,
            // Without overflow for a large x.
            Unary::Softplus => x.max(0.0) + (-x.abs()).exp().ln_1p(),
            Unary::Gelu { approximate: false } => {
                x / 2.0 * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2))
            }
            Unary::Gelu { approximate: true } => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                x / 2.0 * (1.0 + inner.tanh())
            }
            Unary::Erf => libm::erf(x),
            Unary::Exp => x.exp(),
            Unary::Sqrt => x.sqrt(),
        }
    }
}
