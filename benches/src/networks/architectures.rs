//! The networks that CMSIS-NN was measured on.

use super::builder::{Builder, window};
use compress::program::{Cell, Kind};

pub(super) fn dense(b: &mut Builder) -> usize {
    let input = b.vector(784);
    b.dense(input, 300)
}

pub(super) fn lenet_300_100(b: &mut Builder) -> usize {
    let input = b.vector(784);
    let hidden = b.dense(input, 300);
    let hidden = b.dense(hidden, 100);
    b.dense(hidden, 10)
}

pub(super) fn first_conv(b: &mut Builder) -> usize {
    let input = b.tensor([28, 28, 1]);
    b.conv(input, [24, 24, 20], window(5, 1, 0), 1)
}

pub(super) fn second_conv(b: &mut Builder) -> usize {
    let input = b.tensor([12, 12, 20]);
    b.conv(input, [8, 8, 50], window(5, 1, 0), 1)
}

/// Caffe's.
pub(super) fn lenet_5(b: &mut Builder) -> usize {
    let maps = first_conv(b);
    let maps = b.apply(maps, [12, 12, 20], Kind::MaxPool(window(2, 2, 0)));
    let maps = b.conv(maps, [8, 8, 50], window(5, 1, 0), 1);
    let maps = b.apply(maps, [4, 4, 50], Kind::MaxPool(window(2, 2, 0)));
    let hidden = b.dense(maps, 500);
    b.dense(hidden, 10)
}

/// 28 steps of 28 features.
pub(super) fn lstm(b: &mut Builder) -> usize {
    let input = b.tensor([1, 28, 28]);
    b.recurrent(input, Cell::Lstm, 64)
}

/// MLPerf Tiny's keyword spotting: DS-CNN.
pub(super) fn keywords(b: &mut Builder) -> usize {
    let input = b.tensor([49, 10, 1]);
    let mut maps = b.same_conv(input, 64, ([10, 4], 2), 1);
    for _ in 0..4 {
        maps = separable(b, maps, 64, 1);
    }
    classify(b, maps, 12)
}

/// MLPerf Tiny's image classification: ResNet-8.
pub(super) fn resnet_8(b: &mut Builder) -> usize {
    let input = b.tensor([32, 32, 3]);
    let mut maps = b.same_conv(input, 16, ([3; 2], 1), 1);
    for (filters, stride) in [(16, 1), (32, 2), (64, 2)] {
        let inner = b.same_conv(maps, filters, ([3; 2], stride), 1);
        let inner = b.same_conv(inner, filters, ([3; 2], 1), 1);
        if stride > 1 {
            maps = b.same_conv(maps, filters, ([1; 2], stride), 1);
        }
        maps = b.add(maps, inner);
    }
    classify(b, maps, 10)
}

/// MLPerf Tiny's anomaly detection: an autoencoder.
pub(super) fn autoencoder(b: &mut Builder) -> usize {
    let input = b.vector(640);
    let layers = [128, 128, 128, 128, 8, 128, 128, 128, 128, 640];
    layers
        .into_iter()
        .fold(input, |input, rows| b.dense(input, rows))
}

/// MLPerf Tiny's visual wake words: MobileNetV1, a quarter as wide.
pub(super) fn mobilenet(b: &mut Builder) -> usize {
    let input = b.tensor([96, 96, 3]);
    let mut maps = b.same_conv(input, 8, ([3; 2], 2), 1);
    let first = [(16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2)];
    let last = [(256, 2), (256, 1)];
    for (filters, stride) in first.into_iter().chain([(128, 1); 5]).chain(last) {
        maps = separable(b, maps, filters, stride);
    }
    classify(b, maps, 2)
}

/// A convolution by channel, then one of all channels at each place.
fn separable(b: &mut Builder, maps: usize, filters: usize, stride: usize) -> usize {
    let channels = b.channels(maps);
    let maps = b.same_conv(maps, channels, ([3; 2], stride), channels);
    b.same_conv(maps, filters, ([1; 2], 1), 1)
}

/// A dense layer on the mean of all places, which spreads less than what it is of.
fn classify(b: &mut Builder, maps: usize, classes: usize) -> usize {
    let mean = b.average_all(maps);
    b.gain = 4.0;
    b.dense(mean, classes)
}
