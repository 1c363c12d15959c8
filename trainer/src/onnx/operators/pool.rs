use super::geometry::Image;
use crate::graph::Op;
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView};
use crate::onnx::value::{Computed, Tensor};

pub(super) fn max_pool(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    pool(importer, node, |image| {
        let (window, dilation) = window(node, image)?;
        Ok(Op::MaxPool { window, dilation })
    })
}

pub(super) fn average_pool(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let count_include_pad = node.attributes.int("count_include_pad", 0)? != 0;
    pool(importer, node, |image| {
        let (window, dilation) = window(node, image)?;
        Ok(Op::AveragePool {
            window,
            dilation,
            count_include_pad,
        })
    })
}

fn window(node: &NodeView, image: &Image) -> Result<(crate::graph::Window, [usize; 2]), Fault> {
    let kernel = image.pair(node, "kernel_shape", 1)?;
    let kernel =
        kernel.ok_or_else(|| Fault::new("has no kernel_shape", "export the model again"))?;
    let (window, dilation) = image.window(node, kernel)?;
    let padding = window.check_pool_padding(dilation);
    padding.map_err(|why| Fault::new(why, "padding must be smaller than the kernel"))?;
    Ok((window, dilation))
}

fn pool(
    importer: &mut Importer,
    node: &NodeView,
    op: impl Fn(&Image) -> Result<Op, Fault>,
) -> Result<Tensor, Fault> {
    importer.each_example(node.value(0)?, |importer, x| {
        let image = Image::of(x)?;
        let id = importer.under(x, &image.graph_shape())?;
        let id = importer.push(op(&image)?, &[id])?;
        let shape = image.file_shape(&importer.graph.value(id).shape);
        Ok(x.seen(id, shape))
    })
}

/// Over all axes behind the channels.
pub(super) fn global_average_pool(
    importer: &mut Importer,
    node: &NodeView,
) -> Result<Tensor, Fault> {
    importer.each_example(node.value(0)?, |importer, x| global(importer, x))
}

/// The mean over all axes from the third on, which stay.
pub(super) fn global(importer: &mut Importer, x: &Computed) -> Result<Tensor, Fault> {
    let shape = match x.shape.as_slice() {
        &[_, c, h, w] => [c, h, w],
        &[_, c, ref rest @ ..] if !rest.is_empty() => [c, 1, rest.iter().product()],
        shape => {
            return Err(Fault::new(
                format!("takes the mean of {shape:?}"),
                "axes are needed behind batch and channels",
            ));
        }
    };
    let id = importer.under(x, &shape)?;
    let id = importer.push(Op::GlobalAveragePool, &[id])?;
    let mut shape = vec![1; x.shape.len()];
    shape[1] = x.shape[1];
    Ok(x.seen(id, shape))
}
