//! Sliding windows: kernel, strides, dilations and padding of one or two axes, read as two. A signal
//! is an image of height 1.

use crate::graph::Window;
use crate::onnx::error::Fault;
use crate::onnx::import::NodeView;
use crate::onnx::value::Computed;

/// Largest kernel, step or padding: enough for any image, far from overflow.
const MAX_EXTENT: i64 = 1 << 16;

/// A value to slide over.
pub(super) struct Image {
    pub(super) channels: usize,
    /// Height and width.
    pub(super) size: [usize; 2],
    /// One or two.
    pub(super) spatial: usize,
}

impl Image {
    /// Of `[batch, channels, length]` or `[batch, channels, height, width]`.
    pub(super) fn of(x: &Computed) -> Result<Self, Fault> {
        match x.shape.as_slice() {
            &[_, channels, length] => Ok(Self {
                channels,
                size: [1, length],
                spatial: 1,
            }),
            &[_, channels, h, w] => Ok(Self {
                channels,
                size: [h, w],
                spatial: 2,
            }),
            shape => Err(Fault::new(
                format!("slides over {shape:?}"),
                "only signals [batch, channels, length] and images [batch, channels, height, \
                 width] are supported (1-D and 2-D)",
            )),
        }
    }

    /// `[channels, height, width]`
    pub(super) fn graph_shape(&self) -> [usize; 3] {
        [self.channels, self.size[0], self.size[1]]
    }

    /// The file's shape of a result of this graph's shape.
    pub(super) fn file_shape(&self, result: &[usize]) -> Vec<usize> {
        let last = &result[result.len() - self.spatial..];
        [1, result[0]].iter().chain(last).copied().collect()
    }

    /// A shape of one or two numbers, as two.
    pub(super) fn kernel(&self, shape: &[usize]) -> Option<[usize; 2]> {
        match *shape {
            [w] if self.spatial == 1 => Some([1, w]),
            [h, w] if self.spatial == 2 => Some([h, w]),
            _ => None,
        }
    }

    /// An attribute of as many numbers as there are spatial axes; `neutral` for the other.
    pub(super) fn pair(
        &self,
        node: &NodeView,
        name: &str,
        neutral: usize,
    ) -> Result<Option<[usize; 2]>, Fault> {
        match node.attributes.ints(name)? {
            None => Ok(None),
            Some(&[w]) if self.spatial == 1 => Ok(Some([neutral, extent(name, w)?])),
            Some(&[h, w]) if self.spatial == 2 => Ok(Some([extent(name, h)?, extent(name, w)?])),
            Some(other) => Err(Fault::new(
                format!("has {name} {other:?}"),
                format!("{} expected", self.spatial),
            )),
        }
    }

    /// Strides and dilations.
    pub(super) fn steps(&self, node: &NodeView) -> Result<([usize; 2], [usize; 2]), Fault> {
        let strides = self.pair(node, "strides", 1)?.unwrap_or([1, 1]);
        let dilation = self.pair(node, "dilations", 1)?.unwrap_or([1, 1]);
        if strides.contains(&0) || dilation.contains(&0) {
            return Err(Fault::new(
                format!("has strides {strides:?}, dilations {dilation:?}"),
                "none can be 0",
            ));
        }
        Ok((strides, dilation))
    }

    /// Padding before and after: top, left, bottom, right.
    pub(super) fn explicit_padding(&self, node: &NodeView) -> Result<[usize; 4], Fault> {
        let pads = node.attributes.ints("pads")?;
        let sides = match (pads, self.spatial) {
            (None, _) => [0; 4],
            (Some(&[left, right]), 1) => [0, left, 0, right],
            (Some(&[top, left, bottom, right]), 2) => [top, left, bottom, right],
            (Some(other), _) => {
                return Err(Fault::new(
                    format!("has pads {other:?}"),
                    format!(
                        "{} are expected, all starts before all ends",
                        2 * self.spatial
                    ),
                ));
            }
        };
        let mut padding = [0; 4];
        for (p, v) in padding.iter_mut().zip(sides) {
            *p = extent("pads", v)?;
        }
        Ok(padding)
    }

    /// The window of a convolution or a pool.
    pub(super) fn window(
        &self,
        node: &NodeView,
        kernel: [usize; 2],
    ) -> Result<(Window, [usize; 2]), Fault> {
        let (stride, dilation) = self.steps(node)?;
        if kernel.contains(&0) {
            return Err(Fault::new(
                format!("has kernel {kernel:?}"),
                "none can be 0",
            ));
        }
        let padding = match auto_pad(node)? {
            AutoPad::Explicit => self.explicit_padding(node)?,
            AutoPad::Valid => [0; 4],
            AutoPad::Same { lower } => self.same_padding(kernel, stride, dilation, lower),
        };
        let ceil_mode = node.attributes.int("ceil_mode", 0)? != 0;
        Ok((
            Window {
                kernel,
                stride,
                padding,
                ceil_mode,
            },
            dilation,
        ))
    }

    /// So that there are `⌈size / stride⌉` outputs; an odd one goes to the end, or to the beginning.
    fn same_padding(
        &self,
        kernel: [usize; 2],
        stride: [usize; 2],
        dilation: [usize; 2],
        lower: bool,
    ) -> [usize; 4] {
        let mut padding = [0; 4];
        for a in 0..2 {
            let extent = dilation[a] * (kernel[a] - 1) + 1;
            let last = (self.size[a].div_ceil(stride[a]) - 1) * stride[a];
            let total = (last + extent).saturating_sub(self.size[a]);
            (padding[a], padding[a + 2]) = halves(total, lower);
        }
        padding
    }
}

/// Two halves; of an odd number the larger is the second, or the first.
pub(super) fn halves(total: usize, lower: bool) -> (usize, usize) {
    let small = total / 2;
    if lower {
        (total - small, small)
    } else {
        (small, total - small)
    }
}

pub(super) enum AutoPad {
    Explicit,
    Valid,
    Same { lower: bool },
}

pub(super) fn auto_pad(node: &NodeView) -> Result<AutoPad, Fault> {
    match node.attributes.string("auto_pad")? {
        None | Some(b"NOTSET" | b"") => Ok(AutoPad::Explicit),
        Some(b"VALID") => Ok(AutoPad::Valid),
        Some(b"SAME_UPPER") => Ok(AutoPad::Same { lower: false }),
        Some(b"SAME_LOWER") => Ok(AutoPad::Same { lower: true }),
        Some(other) => {
            let other = String::from_utf8_lossy(other);
            Err(Fault::new(
                format!("has auto_pad '{}'", other.escape_debug()),
                "use NOTSET, VALID, SAME_UPPER or SAME_LOWER",
            ))
        }
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
