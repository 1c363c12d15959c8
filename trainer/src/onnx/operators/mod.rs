//! What each ONNX operator becomes.

mod arithmetic;
mod constants;
mod convolution;
mod elementwise;
mod geometry;
mod linear;
mod normalization;
mod pad;
mod pool;
mod quantized;
mod recurrent;
mod reduce;
mod resize;
mod select;
mod shapes;
mod unary;

use super::error::Fault;
use super::import::{Importer, NodeView};
use super::value::Tensor;

/// How an operator is imported.
pub(super) struct Operator {
    pub(super) name: &'static str,
    /// Most inputs it takes.
    pub(super) inputs: usize,
    /// Attributes with a known meaning; any other is refused.
    pub(super) attributes: &'static [&'static str],
    /// Whether `import` computes with constants itself; where not, constants alone are computed by
    /// the graph they would become.
    pub(super) own: bool,
    pub(super) import: Import,
}

/// Adds what a node computes; returns what its outputs stand for.
#[derive(Clone, Copy)]
pub(super) enum Import {
    /// Of one output; any other is refused where it is read.
    One(fn(&mut Importer, &NodeView) -> Result<Tensor, Fault>),
    /// Of several.
    Many(fn(&mut Importer, &NodeView) -> Result<Vec<Tensor>, Fault>),
}

macro_rules! operators {
    ($($name:ident($inputs:literal) $attributes:expr => $how:ident $import:path),* $(,)?) => {
        const OPERATORS: &[Operator] = &[$(Operator {
            name: stringify!($name),
            inputs: $inputs,
            attributes: &$attributes,
            own: operators!(@own $how),
            import: operators!(@import $how $import),
        }),*];
    };
    (@own one) => { false };
    (@own many) => { false };
    (@own own) => { true };
    (@own own_many) => { true };
    (@import one $import:path) => { Import::One($import) };
    (@import own $import:path) => { Import::One($import) };
    (@import many $import:path) => { Import::Many($import) };
    (@import own_many $import:path) => { Import::Many($import) };
}

operators! {
    Abs(1) [] => own constants::abs,
    Add(2) [] => own arithmetic::add,
    And(2) [] => own constants::and,
    ArgMax(1) ["axis", "keepdims", "select_last_index"] => one reduce::arg_max,
    AveragePool(1) ["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"]
        => one pool::average_pool,
    BatchNormalization(5) ["epsilon", "momentum", "training_mode", "spatial"]
        => one normalization::batch_normalization,
    Cast(1) ["to", "saturate", "round_mode"] => own constants::cast,
    Ceil(1) [] => own constants::ceil,
    Clip(3) ["min", "max"] => one elementwise::clip,
    Concat(1024) ["axis"] => own shapes::concat,
    Constant(0) ["value", "value_float", "value_floats", "value_int", "value_ints"] => own constants::constant,
    ConstantOfShape(1) ["value"] => own constants::constant_of_shape,
    Conv(3) ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"] => one convolution::conv,
    ConvInteger(4) ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"]
        => one quantized::conv_integer,
    ConvTranspose(3) ["auto_pad", "dilations", "group", "kernel_shape", "output_padding", "output_shape", "pads", "strides"]
        => one convolution::conv_transpose,
    DequantizeLinear(3) ["axis", "block_size", "output_dtype"] => own quantized::dequantize_linear,
    Div(2) [] => own arithmetic::div,
    Dropout(3) ["ratio", "seed"] => own shapes::identity,
    DynamicQuantizeLinear(1) [] => many quantized::dynamic_quantize_linear,
    Elu(1) ["alpha"] => one unary::elu,
    Equal(2) [] => own constants::equal,
    Erf(1) [] => one unary::erf,
    Exp(1) [] => one unary::exp,
    Expand(2) [] => own select::expand,
    Flatten(1) ["axis"] => own shapes::flatten,
    Floor(1) [] => own constants::floor,
    Gather(2) ["axis"] => own select::gather,
    Gelu(1) ["approximate"] => one unary::gelu,
    Gemm(3) ["alpha", "beta", "transA", "transB"] => one linear::gemm,
    GlobalAveragePool(1) [] => one pool::global_average_pool,
    Greater(2) [] => own constants::greater,
    GreaterOrEqual(2) [] => own constants::greater_or_equal,
    GRU(6) ["activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size", "layout", "linear_before_reset"]
        => many recurrent::gru,
    HardSigmoid(1) ["alpha", "beta"] => one unary::hard_sigmoid,
    HardSwish(1) [] => one unary::hard_swish,
    Identity(1) [] => own shapes::identity,
    LayerNormalization(3) ["axis", "epsilon", "stash_type"] => one normalization::layer_normalization,
    LeakyRelu(1) ["alpha"] => one unary::leaky_relu,
    Less(2) [] => own constants::less,
    LessOrEqual(2) [] => own constants::less_or_equal,
    LogSoftmax(1) ["axis"] => one reduce::log_softmax,
    LRN(1) ["alpha", "beta", "bias", "size"] => one normalization::lrn,
    LSTM(8) ["activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size", "input_forget", "layout"]
        => many recurrent::lstm,
    MatMul(2) [] => one linear::mat_mul,
    MatMulInteger(4) [] => one quantized::mat_mul_integer,
    Max(1024) [] => own arithmetic::max,
    MaxPool(1) ["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"]
        => one pool::max_pool,
    Min(1024) [] => own arithmetic::min,
    Mod(2) ["fmod"] => own constants::modulo,
    Mul(2) [] => own arithmetic::mul,
    Neg(1) [] => own arithmetic::neg,
    Not(1) [] => own constants::not,
    Or(2) [] => own constants::or,
    Pad(4) ["mode", "pads", "value"] => one pad::pad,
    Pow(2) [] => own arithmetic::pow,
    PRelu(2) [] => one elementwise::prelu,
    QLinearConv(9) ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"]
        => one quantized::qlinear_conv,
    QLinearMatMul(8) [] => one quantized::qlinear_mat_mul,
    QuantizeLinear(3) ["axis", "block_size", "output_dtype", "precision", "saturate"]
        => one quantized::quantize_linear,
    Range(3) [] => own constants::range,
    Reciprocal(1) [] => own arithmetic::reciprocal,
    ReduceMean(2) ["axes", "keepdims", "noop_with_empty_axes"] => one reduce::reduce_mean,
    ReduceProd(2) ["axes", "keepdims", "noop_with_empty_axes"] => own constants::reduce_prod,
    Relu(1) [] => one elementwise::relu,
    Reshape(2) ["allowzero"] => own shapes::reshape,
    Resize(4) ["antialias", "axes", "coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside",
        "extrapolation_value", "keep_aspect_ratio_policy", "mode", "nearest_mode"] => own resize::resize,
    RNN(6) ["activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size", "layout"]
        => many recurrent::rnn,
    Shape(1) ["start", "end"] => own constants::shape,
    Sigmoid(1) [] => one unary::sigmoid,
    Size(1) [] => own constants::size,
    Slice(5) ["axes", "ends", "starts"] => own select::slice,
    Softmax(1) ["axis"] => one reduce::softmax,
    Softplus(1) [] => one unary::softplus,
    Split(2) ["axis", "num_outputs", "split"] => own_many select::split,
    Sqrt(1) [] => one unary::sqrt,
    Squeeze(2) ["axes"] => own shapes::squeeze,
    Sub(2) [] => own arithmetic::sub,
    Tanh(1) [] => one unary::tanh,
    Tile(2) [] => own select::tile,
    Transpose(1) ["perm"] => own shapes::transpose,
    Unsqueeze(2) ["axes"] => own shapes::unsqueeze,
    Upsample(2) ["height_scale", "mode", "scales", "width_scale"] => own resize::upsample,
    Where(3) [] => own constants::choose,
}

pub(super) fn find(domain: &str, name: &str) -> Result<&'static Operator, Fault> {
    let standard = domain.is_empty() || domain == "ai.onnx";
    let found = OPERATORS.iter().find(|o| standard && o.name == name);
    found.ok_or_else(|| Fault::new("is not supported", way_out(standard)))
}

fn way_out(standard: bool) -> String {
    if !standard {
        return "export with standard operators alone".to_owned();
    }
    let names: Vec<&str> = OPERATORS.iter().map(|o| o.name).collect();
    format!("build the model from {}", names.join(", "))
}
