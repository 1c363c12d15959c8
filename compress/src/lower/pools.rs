//! Pools and means.

use super::arrange::{Order, Sides};
use super::layers::{check_window, conv_kind, leading};
use super::linear::Matrix;
use super::view::View;
use super::{LowerError, Lowering, full_range, refused};
use crate::program::Kind;
use no_std_core::tensor::Shape;
use trainer::graph::{Node, Op, Window};

impl Lowering<'_> {
    pub(super) fn pool(&mut self, node: &Node) -> Result<View, LowerError> {
        let (window, dilation, mean) = match &node.op {
            Op::MaxPool { window, dilation } => (window, *dilation, None),
            Op::AveragePool {
                window,
                dilation,
                count_include_pad,
            } => (window, *dilation, Some(*count_include_pad)),
            _ => return Err(refused("is no pool")),
        };
        check_window(window, dilation)?;
        let (x, y) = (self.shape(node.inputs[0]), self.shape(node.output));
        if mean == Some(true) && overhangs(window, dilation, x, y) {
            return Err(refused(
                "averages padding under a window that overhangs it; use ceil_mode 0",
            ));
        }
        let input = self.arrange(node.inputs[0], &Order::image(), Sides::All)?;
        let kind = pool_kind(window, dilation, mean);
        let (order, q) = (Order::image(), self.quantization_of(input));
        let tensor = self.emit(node, input, order.shape(y)?, q, kind);
        Ok(View::packed(tensor, y, &order.axes()))
    }

    /// Over the places of each channel a pool, over the channels a convolution with ones.
    pub(super) fn reduce_mean(&mut self, node: &Node, axes: &[usize]) -> Result<View, LowerError> {
        let (x, y) = (self.shape(node.inputs[0]), self.shape(node.output));
        let view = self.split_view(node.inputs[0])?;
        let natural = self.natural_order(&view, x);
        let wide = |axis: &&usize| x[**axis] > 1;
        let reduced: Vec<usize> = axes.iter().filter(wide).copied().collect();
        if reduced.is_empty() {
            return Ok(view);
        }
        if natural.channels == reduced {
            return self.channel_mean(node, &view);
        }
        let within = |side: &[usize]| !side.is_empty() && side.iter().all(|a| reduced.contains(a));
        let covers = |side: &[usize], axis: &usize| within(side) && side.contains(axis);
        let covered = |axis| covers(&natural.height, axis) || covers(&natural.width, axis);
        let order = if reduced.iter().all(covered) {
            natural
        } else {
            let kept = natural.axes().into_iter();
            Order {
                height: Vec::new(),
                width: reduced.clone(),
                channels: kept.filter(|axis| !reduced.contains(axis)).collect(),
            }
        };
        let input = self.arrange_view(&view, x, &order, Sides::All)?;
        let Shape {
            height,
            width,
            channels,
        } = self.tensors[input].shape;
        let size = |side: &[usize], len: usize| if within(side) { len } else { 1 };
        let kernel = [size(&order.height, height), size(&order.width, width)];
        let window = Window {
            kernel,
            stride: [1, 1],
            ..Window::square(1, 1)
        };
        check_window(&window, [1, 1])?;
        let kind = pool_kind(&window, [1, 1], Some(false));
        let shape = Shape::new(height / kernel[0], width / kernel[1], channels);
        let shape = shape.ok_or_else(|| refused("leaves nothing"))?;
        let tensor = self.emit(node, input, shape, self.quantization_of(input), kind);
        Ok(View::packed(tensor, y, &order.axes()))
    }

    fn channel_mean(&mut self, node: &Node, view: &View) -> Result<View, LowerError> {
        let (x, y) = (self.shape(node.inputs[0]), self.shape(node.output));
        let order = self.natural_order(view, x);
        let input = self.arrange_view(view, x, &order, Sides::All)?;
        let channels = self.tensors[input].shape.channels;
        let own = self.graph.value(node.output).quantization;
        let q = own.unwrap_or_else(|| self.quantization_of(input));
        let ones = Matrix::ones(&node.name, channels, 1.0 / channels as f64);
        let linear = self.linear(&ones, input, q, full_range(q))?;
        let kind = conv_kind(&Window::square(1, 1), [1, 1], 1, linear);
        let tensor = self.emit(node, input, self.with_channels(input, 1)?, q, kind);
        Ok(View::packed(tensor, y, &order.axes()))
    }
}

/// A pool: without a mean, of the largest.
fn pool_kind(window: &Window, dilation: [usize; 2], mean: Option<bool>) -> Kind {
    let window = leading(window, dilation);
    match mean {
        None => Kind::MaxPool(window),
        Some(count_include_pad) => Kind::AveragePool {
            window,
            count_include_pad,
        },
    }
}

/// Whether a last window reaches beyond input and padding.
fn overhangs(window: &Window, dilation: [usize; 2], x: &[usize], y: &[usize]) -> bool {
    (0..2).any(|axis| {
        let kernel = (window.kernel[axis] - 1) * dilation[axis] + 1;
        let end = (y[axis + 1] - 1) * window.stride[axis] + kernel;
        end > x[axis + 1] + window.padding[axis] + window.padding[axis + 2]
    })
}
