use crate::graph::{Op, Window};
use crate::onnx::error::Fault;
use crate::onnx::import::{Importer, NodeView, Tensor};

/// Largest kernel, step or padding: enough for any image, far from overflow.
const MAX_EXTENT: i64 = 1 << 16;

pub(super) fn conv(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    let w = node.constant(1)?;
    let &[out_channels, _, kernel_h, kernel_w] = w.shape.as_slice() else {
        return Err(Fault::new(
            format!("has weights of shape {:?}", w.shape),
            "only 2-D convolutions are supported, give the input a height or width of 1",
        ));
    };
    let kernel = [kernel_h, kernel_w];
    let declared = pair(node, "kernel_shape", None)?;
    if w.shape.contains(&0) || declared.is_some_and(|k| k != kernel) {
        return Err(Fault::new(
            format!("has weights {:?} and kernel_shape {declared:?}", w.shape),
            "the file is damaged, export the model again",
        ));
    }
    let dilation = pair(node, "dilations", Some([1, 1]))?.unwrap_or([1, 1]);
    let groups = node.attributes.int("group", 1)?;
    let groups = usize::try_from(groups)
        .map_err(|_| Fault::new(format!("has {groups} groups"), "export the model again"))?;
    let window = window(importer, node, kernel, dilation)?;
    let weight = importer.parameter(&w.name, &w.shape, w.floats()?.to_vec())?;
    let bias = match node.optional(2)? {
        Some(b) if b.shape == [out_channels] => {
            Some(importer.parameter(&b.name, &b.shape, b.floats()?.to_vec())?)
        }
        Some(b) => {
            return Err(Fault::new(
                format!("has biases {:?} for {out_channels} channels", b.shape),
                "the bias is [out_channels]",
            ));
        }
        None => None,
    };
    let op = Op::Conv {
        weight,
        bias,
        window,
        dilation,
        groups,
    };
    importer.push(node, op, &[x])
}

pub(super) fn max_pool(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    let window = pool_window(importer, node)?;
    importer.push(
        node,
        Op::MaxPool {
            window,
            dilation: [1, 1],
        },
        &[x],
    )
}

pub(super) fn average_pool(importer: &mut Importer, node: &NodeView) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    let op = Op::AveragePool {
        dilation: [1, 1],
        window: pool_window(importer, node)?,
        count_include_pad: node.attributes.int("count_include_pad", 0)? != 0,
    };
    importer.push(node, op, &[x])
}

pub(super) fn global_average_pool(
    importer: &mut Importer,
    node: &NodeView,
) -> Result<Tensor, Fault> {
    let x = node.value(0)?;
    importer.push(node, Op::GlobalAveragePool, &[x])
}

fn pool_window(importer: &Importer, node: &NodeView) -> Result<Window, Fault> {
    if pair(node, "dilations", None)?.is_some_and(|d| d != [1, 1]) {
        return Err(Fault::new(
            "pools with dilation",
            "export with dilations of 1",
        ));
    }
    let kernel = pair(node, "kernel_shape", None)?
        .ok_or_else(|| Fault::new("has no kernel_shape", "export the model again"))?;
    let mut window = window(importer, node, kernel, [1, 1])?;
    window.ceil_mode = node.attributes.int("ceil_mode", 0)? != 0;
    let padding = window.check_pool_padding([1, 1]);
    padding.map_err(|why| Fault::new(why, "padding must be smaller than the kernel"))?;
    Ok(window)
}

fn window(
    importer: &Importer,
    node: &NodeView,
    kernel: [usize; 2],
    dilation: [usize; 2],
) -> Result<Window, Fault> {
    let stride = pair(node, "strides", Some([1, 1]))?.unwrap_or([1, 1]);
    let size = image_size(importer, node)?;
    if kernel.contains(&0) || stride.contains(&0) || dilation.contains(&0) {
        return Err(Fault::new(
            format!("has kernel {kernel:?}, strides {stride:?}, dilations {dilation:?}"),
            "none can be 0",
        ));
    }
    let padding = match node.attributes.string("auto_pad")? {
        None | Some(b"NOTSET" | b"") => explicit_padding(node)?,
        Some(b"VALID") => [0; 4],
        Some(b"SAME_UPPER") => same_padding(size, kernel, stride, dilation, false),
        Some(b"SAME_LOWER") => same_padding(size, kernel, stride, dilation, true),
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            return Err(Fault::new(
                format!("has auto_pad '{}'", other.escape_debug()),
                "use NOTSET, VALID, SAME_UPPER or SAME_LOWER",
            ));
        }
    };
    Ok(Window {
        kernel,
        stride,
        padding,
        ceil_mode: false,
    })
}

fn image_size(importer: &Importer, node: &NodeView) -> Result<[usize; 2], Fault> {
    match importer.graph.value(node.value(0)?).shape.as_slice() {
        &[_, h, w] => Ok([h, w]),
        shape => Err(Fault::new(
            format!("slides over {shape:?} (without the batch axis)"),
            "only images [channels, height, width] are supported, give a 1-D signal a height of 1",
        )),
    }
}

/// So that there are `⌈size / stride⌉` outputs; an odd one goes to the end, or to the beginning.
fn same_padding(
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    lower: bool,
) -> [usize; 4] {
    let mut padding = [0; 4];
    for a in 0..2 {
        let extent = dilation[a] * (kernel[a] - 1) + 1;
        let last = (size[a].div_ceil(stride[a]) - 1) * stride[a];
        let total = (last + extent).saturating_sub(size[a]);
        let small = total / 2;
        (padding[a], padding[a + 2]) = if lower {
            (total - small, small)
        } else {
            (small, total - small)
        };
    }
    padding
}

fn explicit_padding(node: &NodeView) -> Result<[usize; 4], Fault> {
    match node.attributes.ints("pads")? {
        None => Ok([0; 4]),
        Some(&[top, left, bottom, right]) => {
            let mut padding = [0; 4];
            for (p, v) in padding.iter_mut().zip([top, left, bottom, right]) {
                *p = extent("pads", v)?;
            }
            Ok(padding)
        }
        Some(other) => Err(Fault::new(
            format!("has pads {other:?}"),
            "four are expected: top, left, bottom, right",
        )),
    }
}

fn pair(
    node: &NodeView,
    name: &str,
    default: Option<[usize; 2]>,
) -> Result<Option<[usize; 2]>, Fault> {
    match node.attributes.ints(name)? {
        None => Ok(default),
        Some(&[h, w]) => Ok(Some([extent(name, h)?, extent(name, w)?])),
        Some(other) => Err(Fault::new(
            format!("has {name} {other:?}"),
            "two are expected: only 2-D images are supported",
        )),
    }
}

fn extent(name: &str, value: i64) -> Result<usize, Fault> {
    match usize::try_from(value) {
        Ok(v) if value <= MAX_EXTENT => Ok(v),
        _ => Err(Fault::new(
            format!("has {name} with {value}"),
            format!("0 to {MAX_EXTENT} are allowed"),
        )),
    }
}
