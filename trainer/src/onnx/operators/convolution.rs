use super::geometry::{AutoPad, Image, auto_pad, halves};
use crate::graph::{Op, ParamId, Window};
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView};
use crate::onnx::tensor::Constant;
use crate::onnx::value::{Computed, Tensor};

pub(super) fn conv(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.value(0)?.clone();
    convolve(
        importer,
        node,
        &x,
        node.constant(1)?,
        node.optional(2)?.map(|b| &**b),
    )
}

/// A convolution of `x` by these weights, with the node's attributes.
pub(super) fn convolve(
    importer: &mut Importer,
    node: &NodeView,
    x: &Computed,
    w: &Constant,
    bias: Option<&Constant>,
) -> Result<Tensor, Fault> {
    importer.each_example(x, |importer, x| {
        let image = Image::of(x)?;
        let kernel = kernel(node, &image, w)?;
        let (mut window, dilation) = image.window(node, kernel)?;
        window.ceil_mode = false;
        let op = Op::Conv {
            weight: weight(importer, w, kernel)?,
            bias: bias_of(importer, bias, w.shape[0])?,
            window,
            dilation,
            groups: groups(node)?,
        };
        push(importer, x, &image, op)
    })
}

fn push(importer: &mut Importer, x: &Computed, image: &Image, op: Op) -> Result<Tensor, Fault> {
    let id = importer.under(x, &image.graph_shape())?;
    let id = importer.push(op, &[id])?;
    let shape = image.file_shape(&importer.graph.value(id).shape);
    Ok(Computed::float(id, shape))
}

/// Height and width of the weights, which the node may name too.
fn kernel(node: &NodeView, image: &Image, w: &Constant) -> Result<[usize; 2], Fault> {
    let own = w.shape.get(2..).and_then(|s| image.kernel(s));
    let Some(own) = own.filter(|_| !w.shape.contains(&0)) else {
        return Err(Fault::new(
            format!(
                "has weights of shape {:?} for {} spatial axes",
                w.shape, image.spatial
            ),
            "only 1-D and 2-D convolutions are supported",
        ));
    };
    let declared = image.pair(node, "kernel_shape", 1)?;
    if declared.is_some_and(|k| k != own) {
        return Err(Fault::new(
            format!("has weights {:?} and kernel_shape {declared:?}", w.shape),
            "the file is damaged, export the model again",
        ));
    }
    Ok(own)
}

fn weight(importer: &mut Importer, w: &Constant, kernel: [usize; 2]) -> Result<ParamId, Fault> {
    let shape = [w.shape[0], w.shape[1], kernel[0], kernel[1]];
    importer.on_grid(&w.name, &shape, w.floats()?.to_vec(), w.grid(0))
}

fn bias_of(
    importer: &mut Importer,
    bias: Option<&Constant>,
    channels: usize,
) -> Result<Option<ParamId>, Fault> {
    match bias {
        Some(b) if b.shape == [channels] => Ok(Some(importer.parameter(
            &b.name,
            &b.shape,
            b.floats()?.to_vec(),
        )?)),
        Some(b) => Err(Fault::new(
            format!("has biases {:?} for {channels} channels", b.shape),
            "the bias is [out_channels]",
        )),
        None => Ok(None),
    }
}

fn groups(node: &NodeView) -> Result<usize, Fault> {
    let groups = node.attributes.int("group", 1)?;
    let known = usize::try_from(groups).ok().filter(|&g| g > 0);
    known.ok_or_else(|| Fault::new(format!("has {groups} groups"), "export the model again"))
}

pub(super) fn conv_transpose(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let w = node.constant(1)?;
    importer.each_example(node.value(0)?, |importer, x| {
        let image = Image::of(x)?;
        let kernel = kernel(node, &image, w)?;
        let groups = groups(node)?;
        let (window, dilation, output_padding) = transposed_window(node, &image, kernel)?;
        let op = Op::ConvTranspose {
            weight: weight(importer, w, kernel)?,
            bias: bias_of(
                importer,
                node.optional(2)?.map(|b| &**b),
                w.shape[1].saturating_mul(groups),
            )?,
            window,
            dilation,
            groups,
            output_padding,
        };
        push(importer, x, &image, op)
    })
}

/// The geometry of a transposed convolution: padding may come from the output's size.
fn transposed_window(
    node: &NodeView,
    image: &Image,
    kernel: [usize; 2],
) -> Result<(Window, [usize; 2], [usize; 2]), Fault> {
    let (stride, dilation) = image.steps(node)?;
    let mut output_padding = image.pair(node, "output_padding", 0)?.unwrap_or([0, 0]);
    let output_shape = image.pair(node, "output_shape", 1)?;
    let mode = auto_pad(node)?;
    let target = match (output_shape, &mode) {
        (Some(shape), _) => Some(shape),
        (None, AutoPad::Same { .. }) => {
            Some([image.size[0] * stride[0], image.size[1] * stride[1]])
        }
        _ => None,
    };
    let mut padding = match (&mode, target) {
        (AutoPad::Explicit, None) => image.explicit_padding(node)?,
        _ => [0; 4],
    };
    for (a, &size) in target.iter().flatten().enumerate() {
        let extent = dilation[a] * (kernel[a] - 1) + 1;
        let full = stride[a] * (image.size[a] - 1) + output_padding[a] + extent;
        // Only SAME_UPPER has the odd one at the end.
        let lower = !matches!(mode, AutoPad::Same { lower: false });
        (padding[a], padding[a + 2]) = halves(full.saturating_sub(size), lower);
        output_padding[a] += size.saturating_sub(full);
    }
    let window = Window {
        kernel,
        stride,
        padding,
        ceil_mode: false,
    };
    Ok((window, dilation, output_padding))
}
