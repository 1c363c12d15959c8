//! What the windows of a convolution see, as the columns of a matrix.

use burn::tensor::ops::ConvOptions;
use std::ops::Range;

/// One axis of the plane that windows slide along.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    pub(super) input: usize,
    pub(super) output: usize,
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) dilation: usize,
    /// Places before the first input.
    pub(super) padding: usize,
}

impl Axis {
    fn new(input: usize, kernel: usize, options: &ConvOptions<2>, axis: usize) -> Self {
        let (stride, dilation) = (options.stride[axis], options.dilation[axis]);
        let (padding, after) = options.padding[axis];
        let reach = (kernel - 1) * dilation + 1;
        Self {
            input,
            output: (input + padding + after - reach) / stride + 1,
            kernel,
            stride,
            dilation,
            padding,
        }
    }

    /// What an output reads through a tap, unless that is padding.
    pub(super) fn input_of(&self, output: usize, tap: usize) -> Option<usize> {
        let padded = output * self.stride + tap * self.dilation;
        let input = padded.checked_sub(self.padding)?;
        (input < self.input).then_some(input)
    }

    /// The outputs that read inputs through a tap, and the first input that they read.
    pub(super) fn span(&self, tap: usize) -> (Range<usize>, usize) {
        let offset = tap * self.dilation;
        let until = |at: usize| at.saturating_sub(offset).div_ceil(self.stride);
        let end = until(self.input + self.padding).min(self.output);
        let start = until(self.padding).min(end);
        let first = (start * self.stride + offset).saturating_sub(self.padding);
        (start..end, first)
    }
}

/// Rows of outputs that follow each other in an image.
#[derive(Clone, Debug)]
pub(super) struct Run {
    image: usize,
    rows: Range<usize>,
}

/// What lines of columns read.
struct Reading {
    /// Those of the lines that read anything but padding.
    lines: Range<usize>,
    /// The elements of a line that do.
    span: Range<usize>,
    /// Place in the input of the first.
    source: usize,
}

/// Sizes of a convolution over `[images, channels, height, width]` by kernels
/// `[out_channels, channels / groups, height, width]`.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    images: usize,
    /// Of the input.
    channels: usize,
    out_channels: usize,
    groups: usize,
    axes: [Axis; 2],
}

/// Elements of columns that a core's second-level cache holds beside what they are multiplied by.
const CACHED: usize = 1 << 16;

impl Windows {
    /// Of an input and kernels of these shapes; the kernel fits the padded input, as in every graph
    /// that was checked.
    pub(super) fn new(
        [images, channels, height, width]: [usize; 4],
        kernels: [usize; 4],
        options: &ConvOptions<2>,
    ) -> Self {
        Self {
            images,
            channels,
            out_channels: kernels[0],
            groups: options.groups,
            axes: [
                Axis::new(height, kernels[2], options, 0),
                Axis::new(width, kernels[3], options, 1),
            ],
        }
    }

    pub(super) fn groups(&self) -> usize {
        self.groups
    }

    /// Output channels of a group.
    pub(super) fn outputs(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Inputs that one output of a group reads: the height of its columns.
    pub(super) fn depth(&self) -> usize {
        self.channels / self.groups * self.axes[0].kernel * self.axes[1].kernel
    }

    /// Outputs of a block per channel: the width of its columns.
    pub(super) fn width(&self, block: &[Run]) -> usize {
        block.iter().map(|run| self.len(run)).sum()
    }

    fn len(&self, run: &Run) -> usize {
        run.rows.len() * self.axes[1].output
    }

    pub(super) fn input_len(&self) -> usize {
        self.images * self.channels * self.axes[0].input * self.axes[1].input
    }

    /// `[images, channels, height, width]` of the output.
    pub(super) fn output_shape(&self) -> [usize; 4] {
        let [height, width] = self.axes.map(|axis| axis.output);
        [self.images, self.out_channels, height, width]
    }

    /// All outputs of a channel, in blocks whose columns stay in the cache.
    pub(super) fn blocks(&self) -> Vec<Vec<Run>> {
        let [height, width] = self.axes.map(|axis| axis.output);
        let rows = (CACHED / (self.depth() * width).max(1)).max(1);
        let all = self.images * height;
        let block = |start: usize| {
            let end = (start + rows).min(all);
            let run = |image: usize| Run {
                image,
                rows: start.saturating_sub(image * height)..(end - image * height).min(height),
            };
            (start / height..end.div_ceil(height)).map(run).collect()
        };
        (0..all).step_by(rows).map(block).collect()
    }

    /// Where each run of a block lies in the output, channel by channel of a group.
    pub(super) fn outputs_of(
        &self,
        group: usize,
        block: &[Run],
    ) -> impl Iterator<Item = Range<usize>> {
        let [height, width] = self.axes.map(|axis| axis.output);
        let first = group * self.outputs();
        (first..first + self.outputs()).flat_map(move |channel| {
            block.iter().map(move |run| {
                let plane = run.image * self.out_channels + channel;
                let start = (plane * height + run.rows.start) * width;
                start..start + self.len(run)
            })
        })
    }

    /// Writes `[depth, width]`: each input that the windows of a block read, zero where that is
    /// padding.
    pub(super) fn gather(&self, input: &[f32], group: usize, block: &[Run], columns: &mut [f32]) {
        self.each_run(group, block, columns, |lines, reading| {
            let width = self.axes[1].output;
            lines[..reading.lines.start * width].fill(0.0);
            lines[reading.lines.end * width..].fill(0.0);
            self.each_stretch(lines, reading, |stretch, source, stride| {
                let source = &input[source..];
                if stride == 1 {
                    stretch.copy_from_slice(&source[..stretch.len()]);
                } else {
                    let pairs = stretch.iter_mut().zip(source.iter().step_by(stride));
                    pairs.for_each(|(to, from)| *to = *from);
                }
            });
            self.clear_padding(lines, reading);
        });
    }

    /// The transpose of [`Self::gather`]: adds each element to the input that it would be read from,
    /// and forgets those of padding.
    pub(super) fn scatter(
        &self,
        columns: &mut [f32],
        group: usize,
        block: &[Run],
        input: &mut [f32],
    ) {
        self.each_run(group, block, columns, |lines, reading| {
            self.clear_padding(lines, reading);
            self.each_stretch(lines, reading, |stretch, target, stride| {
                let target = &mut input[target..];
                if stride == 1 {
                    let pairs = target[..stretch.len()].iter_mut().zip(stretch);
                    pairs.for_each(|(to, from)| *to += *from);
                } else {
                    let pairs = target.iter_mut().step_by(stride).zip(stretch);
                    pairs.for_each(|(to, from)| *to += *from);
                }
            });
        });
    }

    /// The lines of each run in a block's columns, with what they read.
    fn each_run(
        &self,
        group: usize,
        block: &[Run],
        columns: &mut [f32],
        mut visit: impl FnMut(&mut [f32], &Reading),
    ) {
        let [y_axis, x_axis] = &self.axes;
        let channels = self.channels / self.groups;
        let mut rest = columns;
        for channel in group * channels..(group + 1) * channels {
            for (rows, top) in (0..y_axis.kernel).map(|tap| y_axis.span(tap)) {
                for (span, left) in (0..x_axis.kernel).map(|tap| x_axis.span(tap)) {
                    for run in block {
                        let (lines, others) = rest.split_at_mut(self.len(run));
                        rest = others;
                        let start = rows.start.clamp(run.rows.start, run.rows.end);
                        let end = rows.end.clamp(start, run.rows.end);
                        let plane = (run.image * self.channels + channel) * y_axis.input;
                        let y = top + start.saturating_sub(rows.start) * y_axis.stride;
                        let reading = Reading {
                            lines: start - run.rows.start..end - run.rows.start,
                            span: span.clone(),
                            source: (plane + y) * x_axis.input + left,
                        };
                        visit(lines, &reading);
                    }
                }
            }
        }
    }

    /// Whether lines lie in columns as they do in the input, but for what padding is between them.
    fn keep_their_distance(&self) -> bool {
        let [y_axis, x_axis] = &self.axes;
        (y_axis.stride, x_axis.stride) == (1, 1) && x_axis.input == x_axis.output
    }

    /// The longest stretches of columns that read the input evenly, padding between lines included:
    /// with the place of the first in the input and the stride.
    fn each_stretch(
        &self,
        lines: &mut [f32],
        reading: &Reading,
        mut visit: impl FnMut(&mut [f32], usize, usize),
    ) {
        let [y_axis, x_axis] = &self.axes;
        let Reading { span, source, .. } = reading;
        if span.is_empty() || reading.lines.is_empty() {
            return;
        }
        let places = reading.lines.start * x_axis.output..reading.lines.end * x_axis.output;
        let lines = &mut lines[places];
        if self.keep_their_distance() {
            let end = lines.len() - (x_axis.output - span.end);
            return visit(&mut lines[span.start..end], *source, 1);
        }
        for (i, line) in lines.chunks_exact_mut(x_axis.output).enumerate() {
            let source = source + i * y_axis.stride * x_axis.input;
            visit(&mut line[span.clone()], source, x_axis.stride);
        }
    }

    /// Zero where lines that read anything read padding.
    fn clear_padding(&self, lines: &mut [f32], reading: &Reading) {
        let (width, span) = (self.axes[1].output, &reading.span);
        if span.len() == width {
            return;
        }
        let lines = &mut lines[reading.lines.start * width..reading.lines.end * width];
        for line in lines.chunks_exact_mut(width) {
            line[..span.start].fill(0.0);
            line[span.end..].fill(0.0);
        }
    }
}
