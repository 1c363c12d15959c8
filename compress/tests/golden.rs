//! Images that released versions wrote, decoded forever: `no_std-core/golden/vN.pith` holds every
//! operator, `vN-coded.pith` weights of every form that is not in it, `vN-panels.pith` plain ones in panels, and
//! beside each stand `.in`, inputs one after the other, and `.out`, the outputs, as raw integers.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use compress::encode::{decode, recount};
use no_std_core::panels::Layout;
use no_std_core::{Model, VERSION};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// What a version's images are named after.
const PARTS: [&str; 3] = ["", "-coded", "-panels"];

fn golden(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../no_std-core/golden");
    std::fs::read(folder.join(name)).unwrap()
}

fn integers(name: &str) -> Vec<i8> {
    golden(name).into_iter().map(|byte| byte as i8).collect()
}

#[test]
fn every_released_version_still_gives_its_integers() {
    let all = |version| PARTS.map(|part| format!("v{version}{part}"));
    for name in (1..=VERSION).flat_map(all) {
        let image = golden(&format!("{name}.pith"));
        let model = Model::parse(&image).unwrap();
        let [inputs, outputs] = ["in", "out"].map(|what| integers(&format!("{name}.{what}")));
        let inputs = inputs.chunks_exact(model.input_len());
        let outputs = outputs.chunks_exact(model.output_len());
        assert!(inputs.len() > 0 && inputs.len() == outputs.len());
        for (input, output) in inputs.zip(outputs) {
            assert_eq!(execute(&image, input), output, "{name}");
            assert_eq!(naive(&decode(&model), input), output, "{name}");
        }
    }
}

#[test]
fn the_newest_golden_images_hold_all_there_is() {
    let images = PARTS.map(|part| golden(&format!("v{VERSION}{part}.pith")));
    let models = images.each_ref().map(|image| Model::parse(image).unwrap());
    let operators: BTreeSet<_> = models[0]
        .operators()
        .map(|op| std::mem::discriminant(&op.kind))
        .map(|kind| format!("{kind:?}"))
        .collect();
    assert_eq!(operators.len(), 19, "one of each operator of FORMAT.md");
    let layers = |model| recount(model).expect("what this encoder writes").layers;
    let forms: BTreeSet<String> = models
        .iter()
        .flat_map(layers)
        .map(|layer| layer.encoding)
        .collect();
    for part in [
        "int8", "codebook", "huffman", "bitmap", "runs", "context", "hashed", "vector", "+int4",
        "panels",
    ] {
        assert!(
            forms.iter().any(|f| f.contains(part)),
            "no {part}: {forms:?}"
        );
    }
    let gained = |model: &Model| {
        let linears = model
            .operators()
            .flat_map(|op| op.kind.linears().collect::<Vec<_>>());
        linears.filter(|linear| linear.has_gains()).count()
    };
    assert!(models.iter().map(gained).sum::<usize>() > 0, "no gains");
    let panels = |model: &Model| {
        let operators = model.operators();
        let linears = operators.flat_map(|op| op.kind.linears().collect::<Vec<_>>());
        let layouts = linears.filter_map(|linear| Some(linear.panels()?.layout));
        layouts.collect::<Vec<_>>()
    };
    let layouts: Vec<Layout> = models.iter().flat_map(panels).collect();
    for layout in [Layout::Shared, Layout::Channels] {
        assert!(layouts.contains(&layout), "no {layout:?}");
    }
}
