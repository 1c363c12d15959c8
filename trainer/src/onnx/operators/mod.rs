//! What each ONNX operator becomes.

mod affine;
mod constants;
mod elementwise;
mod linear;
mod shapes;
mod unary;
mod window;

use super::error::Fault;
use super::import::{Importer, NodeView, Tensor};

/// How an operator is imported.
pub(super) struct Operator {
    pub(super) name: &'static str,
    /// Most inputs it takes.
    pub(super) inputs: usize,
    /// Attributes with a known meaning; any other is refused.
    pub(super) attributes: &'static [&'static str],
    /// Adds what the node computes; returns what its first output stands for.
    pub(super) import: fn(&mut Importer, &NodeView) -> Result<Tensor, Fault>,
}

macro_rules! operators {
    ($($name:ident($inputs:literal) $attributes:expr => $import:path),* $(,)?) => {
        const OPERATORS: &[Operator] = &[$(Operator {
            name: stringify!($name),
            inputs: $inputs,
            attributes: &$attributes,
            import: $import,
        }),*];
    };
}

operators! {
    Add(2) [] => affine::add,
    AveragePool(1) ["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"]
        => window::average_pool,
    BatchNormalization(5) ["epsilon", "momentum", "training_mode", "spatial"] => linear::batch_normalization,
    Cast(1) ["to", "saturate"] => constants::cast,
    Clip(3) ["min", "max"] => elementwise::clip,
    Concat(1024) ["axis"] => constants::concat,
    Constant(0) ["value", "value_float", "value_floats", "value_int", "value_ints"] => constants::constant,
    Conv(3) ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"] => window::conv,
    Div(2) [] => affine::div,
    Dropout(3) ["ratio", "seed"] => shapes::identity,
    Elu(1) ["alpha"] => unary::elu,
    Exp(1) [] => unary::exp,
    Flatten(1) ["axis"] => shapes::flatten,
    Gather(2) ["axis"] => constants::gather,
    Gelu(1) ["approximate"] => unary::gelu,
    Gemm(3) ["alpha", "beta", "transA", "transB"] => linear::gemm,
    GlobalAveragePool(1) [] => window::global_average_pool,
    HardSigmoid(1) ["alpha", "beta"] => unary::hard_sigmoid,
    HardSwish(1) [] => unary::hard_swish,
    Identity(1) [] => shapes::identity,
    LeakyRelu(1) ["alpha"] => unary::leaky_relu,
    MatMul(2) [] => linear::mat_mul,
    MaxPool(1) ["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"]
        => window::max_pool,
    Mul(2) [] => affine::mul,
    ReduceMean(2) ["axes", "keepdims", "noop_with_empty_axes"] => shapes::reduce_mean,
    Relu(1) [] => elementwise::relu,
    Reshape(2) ["allowzero"] => shapes::reshape,
    Shape(1) ["start", "end"] => constants::shape,
    Sigmoid(1) [] => unary::sigmoid,
    Softmax(1) ["axis"] => elementwise::softmax,
    Softplus(1) [] => unary::softplus,
    Sqrt(1) [] => unary::sqrt,
    Sub(2) [] => affine::sub,
    Tanh(1) [] => unary::tanh,
    Transpose(1) ["perm"] => constants::transpose,
    Unsqueeze(2) ["axes"] => constants::unsqueeze,
}

pub(super) fn find(domain: &str, name: &str) -> Result<&'static Operator, Fault> {
    let standard = domain.is_empty() || domain == "ai.onnx";
    let found = OPERATORS.iter().find(|o| standard && o.name == name);
    found.ok_or_else(|| Fault::new("is not supported", way_out(standard, name)))
}

fn way_out(standard: bool, name: &str) -> String {
    match name {
        "QuantizeLinear" | "DequantizeLinear" => {
            "start from the float model, compressing quantizes it".to_owned()
        }
        _ if !standard => "export with standard operators alone".to_owned(),
        _ => {
            let names: Vec<&str> = OPERATORS.iter().map(|o| o.name).collect();
            format!("build the model from {}", names.join(", "))
        }
    }
}
