//! Time of an inference on the host, one thread, batch 1, of the networks that CMSIS-NN was measured
//! on: `cargo bench -p benches`. Compare ratios; a shared machine's absolute times mean little.
#![allow(clippy::expect_used, missing_docs)]

use benches::mcu::Inputs;
use benches::networks::NETWORKS;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use edge_runtime::Session;
use no_std_core::Model;

fn inference(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inference");
    for network in &NETWORKS {
        let image = network.image().expect("within the format's limits");
        let model = Model::parse(&image).expect("just encoded");
        let inputs = Inputs::random(&model, 1, 1);
        let input = inputs.iter().next().expect("one");
        let mut arena = vec![0; model.arena_bytes()];
        let mut session = Session::new(&model, &mut arena).expect("long enough");
        group.throughput(Throughput::Elements(model.macs().into()));
        group.bench_function(network.name, |bencher| {
            bencher.iter(|| {
                session.input_mut().copy_from_slice(input);
                session.run();
            })
        });
    }
    group.finish();
}

/// What a device pays once, before its first inference.
fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for network in &NETWORKS {
        let image = network.image().expect("within the format's limits");
        group.throughput(Throughput::Bytes(image.len() as u64));
        group.bench_function(network.name, |bencher| {
            bencher.iter(|| Model::parse(std::hint::black_box(&image)).is_ok())
        });
    }
    group.finish();
}

criterion_group!(latency, inference, parse);
criterion_main!(latency);
